//! Where requests can go: providers and the models that they have.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use crate::units::{
    Format, ModelName, Need, OnDisconnect, Prices, ProviderName, Quirks, Rate, Secret, Share, Speaks, TargetName, Tokenizer, Tokens, Usd,
};

/// Whose figure counts where a provider tells its own cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CostSource {
    #[default]
    Ours,
    Provider,
}

/// One entry of `providers:`.
#[derive(Clone, Debug)]
pub struct Provider {
    pub name: ProviderName,
    pub format: Format,
    /// `http` or `https`, host and optional path; no trailing slash. Absent for the sandbox.
    pub base_url: Option<Uri>,
    pub key: Key,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Absent: failures never rest this provider's targets (`cooldown: off`).
    pub cooldown: Option<CooldownPolicy>,
    pub proxy: Proxy,
    pub http1_only: bool,
    /// Default: stops.
    pub on_disconnect: OnDisconnect,
    /// Default: ours.
    pub cost_source: CostSource,
    /// How the offline provider behaves; present exactly when `format` is the sandbox.
    pub sandbox: Option<Sandbox>,
}

/// Hosts of Azure's models.
const AZURE: [&str; 3] = [".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"];

impl Provider {
    /// Whether Azure serves it, whose keys go under a name of their own: by its host, or because its address names a version of the API,
    /// as nobody else's does.
    #[must_use]
    pub fn is_azure(&self) -> bool {
        let is_at_azure = |url: &Uri| url.query().is_some() || url.host().is_some_and(|host| AZURE.iter().any(|end| host.ends_with(end)));
        self.base_url.as_ref().is_some_and(is_at_azure)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The provider asks for none.
    NotNeeded,
    Present(Secret),
    /// `${VAR}?` and nothing there; what would have been read, for messages: `OPENAI_API_KEY`.
    Missing(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    None,
    /// From `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    Env,
    Url(http::Uri),
}

/// `limits:` of a provider or a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub requests: Option<Rate>,
    pub tokens: Option<Rate>,
    /// Calls at once.
    pub concurrent: Option<NonZeroU32>,
    /// How long a request may wait for its turn where no other step is left. Default: not at all.
    pub wait: Duration,
}

/// Four bounds on waiting; total time is the deadline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect. Default 2 s.
    pub connect: Duration,
    /// From sending to the first content of a stream. Default 60 s, 10 min for models that reason.
    pub first_content: Duration,
    /// Between two reads of a stream. Default 120 s.
    pub idle: Duration,
}

/// When a target rests, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CooldownPolicy {
    /// Failures within 30 s. Default 5.
    pub after: NonZeroU32,
    /// The first rest; each further one is twice as long, up to 5 min. Default 20 s.
    pub rest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Before the first word. Default 20 ms.
    pub latency: Duration,
    /// Default 200.
    pub tokens_per_second: NonZeroU32,
    /// How many answers fail. Default none.
    pub failure: Share,
    /// Of the chance that decides which answers fail. Default 1.
    pub seed: u64,
}

/// One provider and one of its models: what a chain's step names.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: TargetName,
    /// Index into [`Checked::providers`](super::Checked::providers).
    pub provider: usize,
    pub model: ModelName,
    /// Absent: unknown, never free.
    pub prices: Option<Arc<Prices>>,
    /// Dollars per call, beside the token prices.
    pub usd_per_call: Option<Usd>,
    /// What a whole call costs, in place of token prices.
    pub flat_usd: Option<Usd>,
    /// The most that one image counts as input. Absent: unknown, which no hard budget lets through.
    pub image_tokens: Option<Tokens>,
    /// The fastest that the model writes, in tokens per second: bounds what a cut answer can have cost. Default 300.
    pub max_output_tps: NonZeroU32,
    /// Input and output together. Absent: unknown.
    pub context: Option<Tokens>,
    /// The most the model writes in one answer. Absent: unknown.
    pub max_output: Option<Tokens>,
    /// What the model can do. Absent: not said, so nothing is ruled out.
    pub can: Option<Vec<Need>>,
    /// Output limit assumed where the call names none. Default 16k, 32k for models that reason.
    pub default_max_output_tokens: Tokens,
    /// Output limit that no call may exceed here.
    pub max_output_tokens: Option<Tokens>,
    /// Limits of this model alone, beside the provider's.
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Which of its format's APIs for conversations it has.
    pub speaks: Speaks,
    /// How it takes a call that was made for another format.
    pub quirks: Quirks,
    /// How it divides a prompt into tokens, as far as its name tells.
    pub tokenizer: Tokenizer,
}

impl Target {
    #[must_use]
    pub fn reasons(&self) -> bool {
        self.can.as_ref().is_some_and(|can| can.contains(&Need::Reasoning))
    }
}
