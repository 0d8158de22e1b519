//! A provider and a target with every default, for the tests of higher floors.

use std::time::Duration;

use super::{CooldownPolicy, CostSource, Key, Limits, Provider, Proxy, Target, Timeouts};
use crate::units::{Format, ModelName, OnDisconnect, ProviderName, Quirks, Speaks, TargetName, Tokenizer, Tokens};

const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(2), first_content: Duration::from_mins(1), idle: Duration::from_mins(2) };

impl Provider {
    pub(crate) fn sample(name: &str) -> Self {
        Self {
            name: ProviderName::parse(name).unwrap(),
            format: Format::OpenAi,
            base_url: Some(http::Uri::from_static("http://127.0.0.1:9/v1")),
            key: Key::NotNeeded,
            limits: Limits::default(),
            timeouts: TIMEOUTS,
            cooldown: Some(CooldownPolicy { after: 5.try_into().unwrap(), rest: Duration::from_secs(20) }),
            proxy: Proxy::None,
            http1_only: false,
            on_disconnect: OnDisconnect::default(),
            cost_source: CostSource::default(),
            sandbox: None,
        }
    }
}

impl Target {
    /// A target of the provider with the index `provider`.
    pub(crate) fn sample(name: &str, provider: usize) -> Self {
        let name = TargetName::parse(name).unwrap();
        Self {
            provider,
            model: ModelName::parse(name.model()).unwrap(),
            name,
            prices: None,
            usd_per_call: None,
            flat_usd: None,
            image_tokens: None,
            max_output_tps: 300.try_into().unwrap(),
            context: None,
            max_output: None,
            can: None,
            default_max_output_tokens: Tokens::new(16_000),
            max_output_tokens: None,
            limits: Limits::default(),
            timeouts: TIMEOUTS,
            speaks: Speaks::default(),
            quirks: Quirks::default(),
            tokenizer: Tokenizer::default(),
        }
    }
}
