//! The catalogue: known providers and their models, with prices and bounds, each with its source and date.
//!
//! Floor 1. Facts alone, in the binary: what a file says always wins. Read once, on first use.

mod facts;
mod import;
mod names;
mod page;

use std::num::NonZeroU32;
use std::sync::LazyLock;

use crate::units::{Efforts, Format, Glob, Lacks, Need, OnDisconnect, Price, Prices, Replay, Speaks, Thinks, Tokenizer, Tokens};

pub use import::{ImportError, PriceList, PriceRow, read_price_list};
pub use names::{Families, base_name, folded_name, is_same_name, plainer_name};
pub use page::catalogue_page;

/// All that is known.
#[derive(Debug, Default)]
pub struct Catalog {
    /// In order of their names.
    pub providers: Vec<CatalogProvider>,
    /// What each source is, by its short name.
    pub sources: Vec<(String, String)>,
    /// Models that go by several names.
    pub families: Families,
    /// Names of models by the tokenizer that they have.
    tokenizers: Vec<(Tokenizer, Vec<Glob>)>,
}

/// One API that many people use.
#[derive(Debug)]
pub struct CatalogProvider {
    pub name: String,
    /// As the company writes itself.
    pub title: String,
    /// Other names that people have for it.
    pub aliases: Vec<String>,
    /// What it speaks at `base_url`.
    pub format: CatalogFormat,
    pub base_url: String,
    pub base_url_source: String,
    /// Where it speaks `OpenAI`'s format, too, beside its own.
    pub openai_url: Option<String>,
    /// Where it speaks Anthropic's format, too.
    pub anthropic_url: Option<String>,
    /// The environment variable that usually holds its key.
    pub key_variable: String,
    /// Its own page about models and prices.
    pub docs: Option<String>,
    /// What else is to be known of it.
    pub note: Option<String>,
    /// How it bills an answer that was cut, where a source says.
    pub on_disconnect: Option<OnDisconnect>,
    /// The fastest that any of its models writes, in tokens per second, where it is faster than most.
    pub max_output_tps: Option<NonZeroU32>,
    /// What its API does not have, as far as known.
    pub lacks: Lacks,
    /// How many stop sequences a call may have, where that is not four.
    pub most_stops: Option<usize>,
    /// When a stream tells what it used, where a source says.
    pub stream_usage: Option<StreamUsage>,
    /// Whether its models want back what they thought, where a source says.
    pub replay: Option<Replay>,
    /// The newest first.
    pub models: Vec<CatalogModel>,
}

/// A wire format, spoken here or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogFormat {
    OpenAi,
    Anthropic,
    Gemini,
    Cohere,
}

/// When a stream tells what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamUsage {
    /// Asked or not.
    Always,
    /// With `stream_options.include_usage`.
    Asked,
}

/// One model of one provider.
#[derive(Debug)]
pub struct CatalogModel {
    /// As the provider spells it.
    pub name: String,
    /// As people write it, where a source says.
    pub title: Option<String>,
    /// Names that stand for it at this provider, beside other spellings and those of its family.
    pub aliases: Vec<String>,
    /// What stands for each of its names.
    called: Vec<Box<str>>,
    /// Versions that are not this one, for all that their names say: they are priced otherwise.
    pub other_versions: Vec<String>,
    /// Output at the dearest price that it can have: some models bill what they reason apart.
    pub prices: Prices,
    /// What reasoning costs where it is billed apart.
    pub reasoning: Option<Price>,
    pub context: Option<Tokens>,
    pub max_output: Option<Tokens>,
    /// It makes vectors of texts, and no texts.
    pub embeds: bool,
    /// Absent: not said.
    pub can: Option<Vec<Need>>,
    /// How it is asked to reason, where its format has several ways.
    pub thinks: Option<Thinks>,
    /// The words for effort that it takes, where a source says.
    pub efforts: Efforts,
    /// By which APIs it is reached, where that is other than its provider's models usually are.
    pub speaks: Option<Speaks>,
    /// `2026-04-23`, or its month.
    pub released: Option<String>,
    /// Its weights are public.
    pub is_open: bool,
    /// The short name of its source.
    pub source: String,
    /// The day of these facts.
    pub as_of: String,
}

/// What the binary knows.
#[must_use]
pub fn catalog() -> &'static Catalog {
    // A test proves that they can be read.
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| facts::read(facts::TEXT).unwrap_or_default());
    &CATALOG
}

impl Catalog {
    /// A provider by its name or an alias of it, in any case.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&CatalogProvider> {
        let is_called = |provider: &&CatalogProvider| {
            provider.name.eq_ignore_ascii_case(name) || provider.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
        };
        self.providers.iter().find(is_called)
    }

    /// How a model of this name divides text, whoever serves it. Absent: not known.
    #[must_use]
    pub fn tokenizer(&self, model: &str) -> Option<Tokenizer> {
        let name = model.rsplit('/').next()?.to_ascii_lowercase();
        let has = |(_, names): &&(Tokenizer, Vec<Glob>)| names.iter().any(|glob| glob.matches(&name));
        self.tokenizers.iter().find(has).map(|(tokenizer, _)| *tokenizer)
    }

    /// Every model that a name may mean, with its provider: `provider/model` names one, a model alone those of all providers.
    /// Where no name is spelled so, what stands around it is taken off, until one is.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<(&CatalogProvider, &CatalogModel)> {
        let one = name.split_once('/').and_then(|(provider, model)| {
            let provider = self.provider(provider)?;
            Some((provider, provider.model(model)?))
        });
        if let Some(one) = one {
            return vec![one];
        }
        let mut name = name;
        loop {
            let found: Vec<_> = self.providers.iter().filter_map(|provider| Some((provider, provider.model(name)?))).collect();
            match plainer_name(name) {
                Some(plainer) if found.is_empty() => name = plainer,
                _ => return found,
            }
        }
    }
}

impl CatalogProvider {
    /// A model by its name in any spelling, another name of it, or one of its dated versions.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&CatalogModel> {
        let called = |name: &str| {
            let family = catalog().families.family_name(name);
            self.models.iter().find(|model| model.called.contains(&family))
        };
        let exact = self.models.iter().find(|model| model.name == name);
        exact.or_else(|| called(name)).or_else(|| called(base_name(name)?).filter(|model| !model.is_not(name)))
    }

    /// The format and address by which this version can use it.
    #[must_use]
    pub fn reachable(&self) -> Option<(Format, &str)> {
        match self.format {
            CatalogFormat::OpenAi => Some((Format::OpenAi, &self.base_url)),
            CatalogFormat::Anthropic => Some((Format::Anthropic, &self.base_url)),
            _ => self.openai_url.as_deref().map(|url| (Format::OpenAi, url)),
        }
    }
}

impl CatalogProvider {
    /// Where it speaks a format.
    #[must_use]
    pub fn url_of(&self, format: Format) -> Option<&str> {
        let (own, other) = match format {
            Format::OpenAi => (CatalogFormat::OpenAi, self.openai_url.as_deref()),
            Format::Anthropic => (CatalogFormat::Anthropic, self.anthropic_url.as_deref()),
            Format::Gemini => (CatalogFormat::Gemini, None),
            Format::Sandbox => return None,
        };
        if self.format == own { Some(&self.base_url) } else { other }
    }
}

impl CatalogModel {
    /// Whether a name is this very model's, in whatever spelling.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.called.contains(&catalog().families.family_name(name))
    }

    /// Whether a name is that of a version which is not this one.
    #[must_use]
    pub fn is_not(&self, name: &str) -> bool {
        self.other_versions.iter().any(|other| is_same_name(other, name))
    }
}

impl CatalogModel {
    /// What a call may need of it; absent: not said. Few sources speak of files, so they go where pictures go.
    #[must_use]
    pub fn serves(&self) -> Option<Vec<Need>> {
        if self.embeds {
            return Some(Vec::new());
        }
        let mut can = self.can.clone()?;
        if can.contains(&Need::Vision) && !can.contains(&Need::Files) {
            can.push(Need::Files);
        }
        Some(can)
    }
}

impl CatalogFormat {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Cohere => "cohere",
        }
    }
}

#[cfg(test)]
mod tests;
