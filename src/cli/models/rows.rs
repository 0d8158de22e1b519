use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::value::RawValue;

use super::File;
use crate::catalog::{CatalogModel, CatalogProvider, catalog};
use crate::config::{Key, PriceFrom, Target, price_origin};
use crate::units::{Need, Price, Prices, Tokens};

/// One model of one provider.
#[derive(Debug)]
pub(super) struct Row {
    /// `provider/model`, as a chain names it.
    pub(super) target: String,
    /// By the provider's name, and by the catalogue's where that is another.
    of: Vec<String>,
    pub(super) prices: Option<Prices>,
    pub(super) context: Option<u64>,
    pub(super) max_output: Option<u64>,
    /// Absent: not said.
    pub(super) can: Option<Vec<Need>>,
    /// It makes vectors of texts, and no texts.
    pub(super) embeds: bool,
    aliases: BTreeSet<String>,
    source: String,
    /// Absent for the user's own figures.
    pub(super) date: Option<String>,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A target of the routing file whose key is there, or that needs none.
    Ready,
    /// A target without its key.
    NoKey,
    /// Known, and no target of the routing file.
    Elsewhere,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NoKey => "no key",
            Self::Elsewhere => "-",
        }
    }
}

/// The targets of the file, then what the catalogue knows besides. With a name, what it means: first the targets in the order in which
/// a client gets them that asks for it, then the others, the cheapest first.
pub(super) fn all(file: Option<&File>, name: Option<&str>) -> Vec<Row> {
    let mut rows: Vec<Row> = file.into_iter().flat_map(|file| targets(file, name)).collect();
    let known: Vec<(&CatalogProvider, &CatalogModel)> = match name {
        Some(name) => {
            let mut named = catalog().named(name);
            named.sort_by_key(|(_, model)| (model.prices.output, model.prices.input));
            named
        }
        None => catalog().providers.iter().flat_map(|of| of.models.iter().map(move |model| (of, model))).collect(),
    };
    let listed: BTreeSet<String> = rows.iter().map(|row| row.target.clone()).collect();
    rows.extend(known.into_iter().map(|(of, model)| of_catalogue(of, model)).filter(|row| !listed.contains(&row.target)));
    rows
}

fn targets(file: &File, name: Option<&str>) -> Vec<Row> {
    let targets = file.rules.targets();
    match name {
        Some(name) => file.rules.targets_named(name).iter().map(|at| of_target(file, &targets[*at])).collect(),
        None => targets.iter().map(|target| of_target(file, target)).collect(),
    }
}

fn of_target(file: &File, target: &Target) -> Row {
    let provider = file.rules.providers().get(target.provider);
    let own = provider.map(|provider| provider.name.to_string()).unwrap_or_default();
    let origin = price_origin(file.rules.providers(), target, &file.lists);
    let source = match origin.from {
        PriceFrom::Nowhere => "no price",
        PriceFrom::File => file.name.as_str(),
        PriceFrom::Imported | PriceFrom::BuiltIn => origin.source().unwrap_or("imported"),
    };
    let has_no_key = provider.is_some_and(|provider| matches!(provider.key, Key::Missing(_)));
    Row {
        target: target.name.to_string(),
        of: [Some(own.clone()), catalog().provider(&own).map(|known| known.name.clone())].into_iter().flatten().collect(),
        prices: target.prices.as_deref().cloned(),
        context: target.context.map(Tokens::count),
        max_output: target.max_output.map(Tokens::count),
        can: target.can.clone(),
        embeds: origin.built_in.is_some_and(|model| model.embeds),
        aliases: aliases(target.model.as_str(), origin.built_in),
        source: source.to_owned(),
        date: origin.as_of().map(str::to_owned),
        state: if has_no_key { State::NoKey } else { State::Ready },
    }
}

fn of_catalogue(of: &CatalogProvider, model: &CatalogModel) -> Row {
    Row {
        target: format!("{}/{}", of.name, model.name),
        of: vec![of.name.clone()],
        prices: Some(model.prices.clone()),
        context: model.context.map(Tokens::count),
        max_output: model.max_output.map(Tokens::count),
        can: model.serves(),
        embeds: model.embeds,
        aliases: aliases(&model.name, Some(model)),
        source: model.source.clone(),
        date: Some(model.as_of.clone()),
        state: State::Elsewhere,
    }
}

/// Other names of a model, beside other spellings of its own.
fn aliases(name: &str, known: Option<&CatalogModel>) -> BTreeSet<String> {
    let own = crate::catalog::folded_name(name);
    let family = catalog().families.names(name).filter(|other| *other != own).map(str::to_owned);
    family.chain(known.into_iter().flat_map(|known| known.aliases.iter().cloned())).collect()
}

/// As `--json` prints it. Prices are numbers of exactly as many digits as they have.
#[derive(Serialize)]
pub(super) struct Told<'r> {
    target: &'r str,
    usd_per_mtok: Option<ToldPrices>,
    context: Option<u64>,
    max_output: Option<u64>,
    can: Option<Vec<&'static str>>,
    embeds: bool,
    aliases: &'r BTreeSet<String>,
    source: &'r str,
    date: Option<&'r str>,
    /// Absent where it is no target of the routing file.
    state: Option<&'static str>,
}

#[derive(Serialize)]
struct ToldPrices {
    input: Box<RawValue>,
    output: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_1h: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_input: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tiers: Vec<ToldTier>,
}

#[derive(Serialize)]
struct ToldTier {
    above: u64,
    input: Box<RawValue>,
    output: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read: Option<Box<RawValue>>,
}

impl Row {
    /// Whether it is a provider's, by a name or an alias of it.
    pub(super) fn is_of(&self, provider: &str) -> bool {
        let known = catalog().provider(provider).map(|known| known.name.as_str());
        self.of.iter().any(|of| of.eq_ignore_ascii_case(provider) || Some(of.as_str()) == known)
    }

    pub(super) fn provider(&self) -> &str {
        self.target.split('/').next().unwrap_or_default()
    }

    pub(super) fn json(&self) -> anyhow::Result<Told<'_>> {
        Ok(Told {
            target: &self.target,
            usd_per_mtok: self.prices.as_ref().map(told).transpose()?,
            context: self.context,
            max_output: self.max_output,
            can: self.can.as_ref().map(|can| can.iter().map(|need| need.as_str()).collect()),
            embeds: self.embeds,
            aliases: &self.aliases,
            source: &self.source,
            date: self.date.as_deref(),
            state: match self.state {
                State::Ready => Some("ready"),
                State::NoKey => Some("no_key"),
                State::Elsewhere => None,
            },
        })
    }
}

fn told(prices: &Prices) -> serde_json::Result<ToldPrices> {
    let optional = |price: Option<Price>| price.map(exact).transpose();
    let tiers = prices.tiers.iter().map(|tier| {
        Ok(ToldTier {
            above: tier.above.count(),
            input: exact(tier.input)?,
            output: exact(tier.output)?,
            cache_read: optional(tier.cache_read)?,
        })
    });
    Ok(ToldPrices {
        input: exact(prices.input)?,
        output: exact(prices.output)?,
        cache_read: optional(prices.cache_read)?,
        cache_write: optional(prices.cache_write)?,
        cache_write_1h: optional(prices.cache_write_1h)?,
        audio_input: optional(prices.audio_input)?,
        audio_output: optional(prices.audio_output)?,
        tiers: tiers.collect::<serde_json::Result<_>>()?,
    })
}

fn exact(price: Price) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(price.per_mtok().plain())
}
