//! The facts as the binary carries them, read into types.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;

use super::{Catalog, CatalogFormat, CatalogModel, CatalogProvider, Families, StreamUsage};
use crate::units::{Effort, Glob, Lack, Need, OnDisconnect, Price, Prices, QuantityError, Replay, Speaks, Thinks, Tier, Tokenizer, Tokens};

pub(super) const TEXT: &str = include_str!("facts.json");

/// Why facts cannot be used: the provider or model, and what is wrong there.
#[derive(Debug, thiserror::Error)]
pub(super) enum FactsError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("{of}: {error}")]
    Price { of: String, error: QuantityError },
    #[error("{of}: there is no word `{word}`")]
    Word { of: String, word: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    sources: BTreeMap<String, String>,
    /// Names of one model each, the first of which stands for all.
    #[serde(default)]
    families: Vec<Vec<String>>,
    /// Which names have which tokenizer; the first that fits counts.
    #[serde(default)]
    tokenizers: Vec<TokenizerFacts>,
    providers: Vec<ProviderFacts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizerFacts {
    tokenizer: String,
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderFacts {
    name: String,
    title: String,
    #[serde(default)]
    aliases: Vec<String>,
    format: String,
    url: String,
    url_source: String,
    openai_url: Option<String>,
    anthropic_url: Option<String>,
    key: String,
    docs: Option<String>,
    note: Option<String>,
    on_disconnect: Option<String>,
    max_output_tps: Option<NonZeroU32>,
    #[serde(default)]
    lacks: Vec<String>,
    most_stops: Option<usize>,
    stream_usage: Option<String>,
    replay_reasoning: Option<String>,
    models: Vec<ModelFacts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFacts {
    name: String,
    title: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    other_versions: Vec<String>,
    usd_per_mtok: PriceFacts,
    context: Option<u64>,
    max_output: Option<u64>,
    #[serde(default)]
    embeds: bool,
    can: Option<Vec<String>>,
    thinks: Option<String>,
    #[serde(default)]
    efforts: Vec<String>,
    speaks: Option<Vec<String>>,
    released: Option<String>,
    #[serde(default)]
    open: bool,
    source: String,
    as_of: String,
}

/// Decimal texts, so that no price passes through a binary fraction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFacts {
    input: String,
    output: String,
    cache_read: Option<String>,
    cache_write: Option<String>,
    reasoning: Option<String>,
    audio_input: Option<String>,
    audio_output: Option<String>,
    #[serde(default)]
    tiers: Vec<TierFacts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierFacts {
    above: u64,
    input: String,
    output: String,
    cache_read: Option<String>,
}

pub(super) fn read(text: &str) -> Result<Catalog, FactsError> {
    let file: File = serde_json::from_str(text)?;
    let families = Families::new(&file.families);
    let providers = file.providers.into_iter().map(|facts| provider(facts, &families)).collect::<Result<_, _>>()?;
    let tokenizers = file.tokenizers.into_iter().map(tokenizer).collect::<Result<_, _>>()?;
    Ok(Catalog { providers, sources: file.sources.into_iter().collect(), families, tokenizers })
}

fn tokenizer(facts: TokenizerFacts) -> Result<(Tokenizer, Vec<Glob>), FactsError> {
    let names = facts.names.iter().map(|name| Glob::new(name)).collect();
    let tokenizer = Tokenizer::parse(&facts.tokenizer);
    tokenizer.map(|tokenizer| (tokenizer, names)).ok_or(FactsError::Word { of: "tokenizers".into(), word: facts.tokenizer })
}

fn provider(facts: ProviderFacts, families: &Families) -> Result<CatalogProvider, FactsError> {
    let format = match facts.format.as_str() {
        "openai" => CatalogFormat::OpenAi,
        "anthropic" => CatalogFormat::Anthropic,
        "gemini" => CatalogFormat::Gemini,
        "cohere" => CatalogFormat::Cohere,
        word => return Err(FactsError::Word { of: facts.name, word: word.into() }),
    };
    let unknown = |word: &str| FactsError::Word { of: facts.name.clone(), word: word.into() };
    let on_disconnect = match facts.on_disconnect.as_deref() {
        None => None,
        Some("stops") => Some(OnDisconnect::Stops),
        Some("finishes") => Some(OnDisconnect::Finishes),
        Some("unknown") => Some(OnDisconnect::Unknown),
        Some(word) => return Err(unknown(word)),
    };
    let stream_usage = match facts.stream_usage.as_deref() {
        None => None,
        Some("always") => Some(StreamUsage::Always),
        Some("asked") => Some(StreamUsage::Asked),
        Some(word) => return Err(unknown(word)),
    };
    let replay = facts.replay_reasoning.as_ref().map(|word| Replay::parse(word).ok_or_else(|| unknown(word))).transpose()?;
    let lacks = facts.lacks.iter().map(|word| Lack::parse(word).ok_or_else(|| unknown(word))).collect::<Result<_, _>>()?;
    Ok(CatalogProvider {
        on_disconnect,
        max_output_tps: facts.max_output_tps,
        lacks,
        most_stops: facts.most_stops,
        stream_usage,
        replay,
        models: facts.models.into_iter().map(|facts| model(facts, families)).collect::<Result<_, _>>()?,
        name: facts.name,
        title: facts.title,
        aliases: facts.aliases,
        format,
        base_url: facts.url,
        base_url_source: facts.url_source,
        openai_url: facts.openai_url,
        anthropic_url: facts.anthropic_url,
        key_variable: facts.key,
        docs: facts.docs,
        note: facts.note,
    })
}

fn model(facts: ModelFacts, families: &Families) -> Result<CatalogModel, FactsError> {
    let (prices, reasoning) = prices(&facts.usd_per_mtok).map_err(|error| FactsError::Price { of: facts.name.clone(), error })?;
    let word = |word: &String| Need::parse(word).ok_or_else(|| FactsError::Word { of: facts.name.clone(), word: word.clone() });
    let can = facts.can.as_ref().map(|can| can.iter().map(word).collect::<Result<Vec<_>, _>>()).transpose()?;
    let thinks = |word: &String| Thinks::parse(word).ok_or_else(|| FactsError::Word { of: facts.name.clone(), word: word.clone() });
    let thinks = facts.thinks.as_ref().map(thinks).transpose()?;
    let effort = |word: &String| Effort::parse(word).ok_or_else(|| FactsError::Word { of: facts.name.clone(), word: word.clone() });
    let efforts = facts.efforts.iter().map(effort).collect::<Result<_, _>>()?;
    let speaks = |word: &String| match word.as_str() {
        "chat" => Ok(Speaks::Chat),
        "responses" => Ok(Speaks::Responses),
        _ => Err(FactsError::Word { of: facts.name.clone(), word: word.clone() }),
    };
    let speaks = facts.speaks.as_ref().map(|words| words.iter().map(speaks).collect::<Result<Vec<_>, _>>()).transpose()?;
    Ok(CatalogModel {
        called: std::iter::once(&facts.name).chain(&facts.aliases).map(|name| families.family_name(name)).collect(),
        name: facts.name,
        title: facts.title,
        aliases: facts.aliases,
        other_versions: facts.other_versions,
        embeds: facts.embeds,
        prices,
        reasoning,
        context: facts.context.map(Tokens::new),
        max_output: facts.max_output.map(Tokens::new),
        can,
        thinks,
        efforts,
        speaks: speaks.and_then(|words| words.into_iter().reduce(Speaks::and)),
        released: facts.released,
        is_open: facts.open,
        source: facts.source,
        as_of: facts.as_of,
    })
}

fn prices(facts: &PriceFacts) -> Result<(Prices, Option<Price>), QuantityError> {
    let optional = |text: &Option<String>| text.as_deref().map(str::parse::<Price>).transpose();
    let reasoning = optional(&facts.reasoning)?;
    let tier = |tier: &TierFacts| {
        Ok(Tier {
            above: Tokens::new(tier.above),
            input: tier.input.parse()?,
            output: tier.output.parse()?,
            cache_read: optional(&tier.cache_read)?,
        })
    };
    let prices = Prices {
        input: facts.input.parse()?,
        // A hold must never be below the bill, and which part of an answer is reasoning is known only after it.
        output: facts.output.parse::<Price>()?.max(reasoning.unwrap_or_default()),
        cache_read: optional(&facts.cache_read)?,
        cache_write: optional(&facts.cache_write)?,
        audio_input: optional(&facts.audio_input)?,
        audio_output: optional(&facts.audio_output)?,
        tiers: facts.tiers.iter().map(tier).collect::<Result<_, QuantityError>>()?,
        ..Prices::default()
    };
    Ok((prices, reasoning))
}
