//! `providers:` as written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::{Patience, Rest, Wait};
use crate::config::codes::Code;
use crate::config::collections::{List, OrOff, Table};
use crate::config::decode::{Findings, Shape, draft, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{Dollars, Flag, HOUR, PerMtok, Percent, Text, Time, TokenCount, Whole, quantity_finding, scalar_schema, words};
use crate::config::tree::{Node, Value};
use crate::units::{Format, Need, QuantityError, Rate};

draft! {
    /// One API endpoint with one key.
    ProviderDraft is "a provider" {
        /// Another provider of this file whose entry is copied; what is written here wins.
        like: Text,
        /// The wire format it speaks: `openai`, or `sandbox` for the offline provider in the binary.
        format: FormatWord,
        /// `https://host/path`, below which `/chat/completions` is found. Plain `http` only to loopback and private addresses, or with `allow_http`.
        base_url: Text,
        /// The key: `${VAR}`, `${file:/path}` or `${credential:name}`; a `?` behind it lets it be missing.
        api_key: Text,
        /// What may be sent per time and at once.
        limits: LimitsDraft,
        /// Bounds on waiting.
        timeouts: TimeoutsDraft,
        /// When a failing target rests, or `off`.
        cooldown: OrOff<CooldownDraft>,
        /// `none`, `env` (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), or the URL of a proxy.
        proxy: Text = "none",
        /// Never speak HTTP/2 to it.
        http1_only: Flag = false,
        /// Allow plain `http` to a public host.
        allow_http: Flag = false,
        /// Its models by the provider's own names.
        models: Table<ModelDraft>,
        /// Sandbox only: time before the first word.
        latency: Time<0, HOUR> = "20ms",
        /// Sandbox only: tokens written each second.
        tokens_per_second: Whole<1, 1_000_000> = 200,
        /// Sandbox only: share of answers that fail.
        failure: Percent = "0%",
        /// Sandbox only: of the chance that decides which answers fail.
        seed: Whole<0, { i64::MAX as u64 }> = 1,
        /// Prices of every model that has none of its own, in US dollars per million tokens.
        usd_per_mtok: PricesDraft,
        /// US dollars for each call, beside the token prices, for every model that has none of its own.
        usd_per_call: Dollars,
        /// Context window of every model that has none of its own: input and output together, in tokens.
        context: TokenCount,
        /// The most that a model writes in one answer, for every model that has none of its own, in tokens.
        max_output: TokenCount,
        /// What the models can do, for every model that does not say. Without it nothing is ruled out.
        can: List<NeedWord>,
        /// Output limit assumed where the call names none, in tokens. 32k for models that reason.
        default_max_output_tokens: TokenCount = "16k",
        /// Output limit that no call may exceed here, in tokens.
        max_output_tokens: TokenCount,
    }
    later [
        "budget", "pace", "token_command", "on_disconnect", "eject_slow", "cost_source", "max_output_tps", "flat_usd", "image_tokens",
        "replay_reasoning",
    ]
}

draft! {
    /// One model of a provider.
    ModelDraft is "a model" {
        /// Prices in US dollars per million tokens. Without them the price is unknown, never free.
        usd_per_mtok: PricesDraft,
        /// US dollars for each call, beside the token prices.
        usd_per_call: Dollars,
        /// Context window: input and output together, in tokens.
        context: TokenCount,
        /// The most that the model writes in one answer, in tokens.
        max_output: TokenCount,
        /// What the model can do. Without it nothing is ruled out.
        can: List<NeedWord>,
        /// What may be sent per time and at once to this model, beside the provider's limits.
        limits: LimitsDraft,
        /// Output limit assumed where the call names none, in tokens. 32k for models that reason.
        default_max_output_tokens: TokenCount = "16k",
        /// Output limit that no call may exceed here, in tokens.
        max_output_tokens: TokenCount,
    }
    later ["like", "budget", "max_output_tps", "flat_usd", "image_tokens", "replay_reasoning"]
}

draft! {
    /// Prices in US dollars per million tokens.
    PricesDraft is "`usd_per_mtok`" {
        /// Input that comes from no cache.
        input(required: "a price that is not known is left out whole: take `usd_per_mtok` out"): PerMtok,
        /// Output, reasoning included.
        output(required: "a price that is not known is left out whole: take `usd_per_mtok` out; embeddings have `output: 0`"): PerMtok,
        /// Input read from the provider's cache; costs what `input` costs where it is not said.
        cache_read: PerMtok,
        /// Input written to the provider's cache; costs what `input` costs where it is not said.
        cache_write: PerMtok,
        /// Input written to the provider's cache for an hour; costs what `cache_write` costs where it is not said.
        cache_write_1h: PerMtok,
        /// Audio input; costs what `input` costs where it is not said.
        audio_input: PerMtok,
        /// Audio output; costs what `output` costs where it is not said.
        audio_output: PerMtok,
        /// Other prices for a whole call whose input is longer, in rising order of `above`.
        tiers: List<TierDraft>,
    }
    later []
}

draft! {
    /// Prices of a whole call whose input is longer than `above`.
    TierDraft is "a price tier" {
        /// Input tokens above which this tier holds.
        above(required: "a tier says from which input on it holds: `above: 200k`"): TokenCount,
        /// Input that comes from no cache.
        input(required: "a tier has an input price of its own"): PerMtok,
        /// Output, reasoning included.
        output(required: "a tier has an output price of its own"): PerMtok,
        /// Input read from the provider's cache.
        cache_read: PerMtok,
    }
    later []
}

draft! {
    /// What may be sent per time and at once.
    LimitsDraft is "`limits`" {
        /// Requests per time, such as `500/min`.
        requests: RateDraft,
        /// Tokens per time, input and output together, such as `200k/min`.
        tokens: RateDraft,
        /// Calls at once.
        concurrent: Whole<1, 1_000_000>,
        /// How long a request may wait for its turn where no other step is left.
        wait: Patience = "0s",
    }
    later []
}

draft! {
    /// Bounds on waiting for a provider; total time is the deadline's.
    TimeoutsDraft is "`timeouts`" {
        /// TCP connect.
        connect: Wait = "2s",
        /// From sending to the first content of a stream. 10 min for models that reason.
        first_content: Wait = "60s",
        /// Between two reads of a stream.
        idle: Wait = "120s",
    }
    later []
}

draft! {
    /// When a failing target rests.
    CooldownDraft is "`cooldown`" {
        /// Failures within 30 s.
        after: Whole<1, 10_000> = 5,
        /// The first rest; each further one is twice as long, up to 5 min.
        rest: Rest = "20s",
    }
    later []
}

words! {
    /// The wire format of a provider.
    FormatWord: Format {
        "openai" => Format::OpenAi,
        "sandbox" => Format::Sandbox,
    }
    later ["anthropic", "gemini"]
}

words! {
    /// Something a call needs from the model that serves it.
    NeedWord: Need {
        "tools" => Need::Tools,
        "vision" => Need::Vision,
        "audio" => Need::Audio,
        "files" => Need::Files,
        "json_schema" => Need::JsonSchema,
        "reasoning" => Need::Reasoning,
    }
    later []
}

/// `500/min`, or `{ rate: 500/min, burst: 50 }`.
#[derive(Debug)]
pub(in crate::config) struct RateDraft;

draft! {
    /// A rate with a burst of its own.
    BurstDraft is "a rate" {
        /// So many per `s`, `min`, `hour` or `day`.
        rate(required: "write `{ rate: 500/min, burst: 50 }`"): PlainRate,
        /// What a full limit lets through at once; one period's amount where it is not said.
        burst: Whole<1, { 1 << 40 }>,
    }
    later []
}

/// `500/min`.
#[derive(Debug)]
pub(in crate::config) struct PlainRate;

scalar_schema!(PlainRate: {
    "type": "string",
    "pattern": r"^[0-9]+(_[0-9]+)*(\.[0-9]+)?[kM]? ?/ ?(s|min|hour|day)$"
});

impl Shape for PlainRate {
    type Value = Rate;

    fn read(node: &Node, findings: &mut Findings) -> Option<Rate> {
        let scalar = scalar(node, "a rate such as `500/min`", findings)?;
        Rate::parse(&scalar.text)
            .map_err(|error| {
                findings.push(
                    rate_finding(node, &scalar.text, &error)
                        .unwrap_or_else(|| quantity_finding(Code::BAD_RATE, node, scalar, "a rate such as `500/min`", &error)),
                );
            })
            .ok()
    }
}

/// A rate whose period has another name here.
fn rate_finding(node: &Node, text: &str, error: &QuantityError) -> Option<Diagnostic> {
    if *error == QuantityError::Zero(text.into()) {
        let finding = Diagnostic::error(Code::BAD_RATE, node.place, format!("`{text}` lets nothing through"));
        return Some(finding.hint("take the provider out of the chains instead, or write a rate above zero"));
    }
    let (count, period) = text.split_once('/')?;
    let period = match period.trim().to_ascii_lowercase().as_str() {
        "second" | "sec" | "seconds" => "s",
        "m" | "minute" | "minutes" => "min",
        "h" | "hr" | "hours" => "hour",
        "d" | "days" => "day",
        _ => return None,
    };
    let message = format!("`{text}` has no period that fits, expected a rate such as `500/min`");
    Some(Diagnostic::error(Code::BAD_RATE, node.place, message).hint(format!("write `{}/{period}`", count.trim())))
}

impl Shape for RateDraft {
    type Value = Rate;

    fn read(node: &Node, findings: &mut Findings) -> Option<Rate> {
        let Value::Map(_) = node.value else {
            return PlainRate::read(node, findings);
        };
        let draft = BurstDraft::read(node, findings)?;
        let rate = *draft.rate.get()?;
        match draft.burst.get() {
            Some(burst) => std::num::NonZeroU64::new(*burst).map(|burst| rate.with_burst(burst)),
            None => draft.burst.is_absent().then_some(rate),
        }
    }
}

impl JsonSchema for RateDraft {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let plain = json!(generator.subschema_for::<PlainRate>());
        let burst = json!(generator.subschema_for::<BurstDraft>());
        json_schema!({ "anyOf": [plain, burst] })
    }
}
