//! `providers:` as written.

mod words;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value as Json, json};

use super::budget::OwnBudget;
use super::conditions::EffortWord;
use super::{NAME, Patience, Rest, Wait};
use crate::catalog::catalog;
use crate::config::codes::Code;
use crate::config::collections::{List, OrOff, Rows, Table};
use crate::config::decode::{Findings, Shape, draft, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{Dollars, Flag, HOUR, Pace, PerMtok, Percent, Text, Time, TokenCount, Whole, quantity_finding, scalar_schema};
use crate::config::tree::{Entry, Node, Value};
use crate::units::{QuantityError, Rate};

pub(in crate::config) use words::NeedWord;
use words::{CostSourceWord, FormatWord, LackWord, OnDisconnectWord, ReplayWord, SpeaksWord};

draft! {
    /// One API endpoint with one key. Under a name of the catalogue, `{}` says it all.
    ProviderDraft is "a provider"
    such as { "format": "openai", "base_url": "https://api.openai.com/v1", "api_key": "${OPENAI_API_KEY}?", "models": { "gpt-4o": {} } } {
        /// Another provider of this file whose entry is copied, or one of the catalogue; what is written here wins.
        /// Limits and budgets that are copied count for each entry by itself.
        like[such as "openai"]: Text,
        /// The wire format it speaks: `openai`, `anthropic`, `gemini`, or `sandbox` for the offline provider in the binary. The catalogue knows that of many.
        format: FormatWord,
        /// Address, known for names of the catalogue: `https://host/path`, below which `/chat/completions` is found, `/v1/messages` for `format: anthropic`, or `/models/…:generateContent` for `format: gemini`. Azure's take the version of the API: `https://NAME.openai.azure.com/openai/v1`, or `https://NAME.openai.azure.com?api-version=2024-10-21` for deployments named like the models. Plain `http` only to loopback and private addresses, or with `allow_http`.
        base_url[such as "https://api.openai.com/v1"]: Text,
        /// The key, in its usual variable for names of the catalogue: `${VAR}`, `${file:/path}` or `${credential:name}`; a `?` behind it lets it be missing.
        api_key[such as "${OPENAI_API_KEY}?"]: Text,
        /// What may be sent per time and at once.
        limits: LimitsDraft,
        /// What may be spent here. A step whose budget is used up is left out, and the next one serves.
        budget: OwnBudget,
        /// Smooths spending here; it is never the cap.
        pace: Pace,
        /// Bounds on waiting.
        timeouts: TimeoutsDraft,
        /// When a failing target rests.
        cooldown: OrOff<CooldownDraft>,
        /// `none`, `env` (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), or the URL of a proxy.
        proxy[such as "http://proxy.internal:3128"]: Text = "none",
        /// Never speak HTTP/2 to it.
        http1_only: Flag = false,
        /// Allow plain `http` to a public host.
        allow_http: Flag = false,
        /// How an answer is billed that is cut: `stops` bills what was written until then, `finishes` all of it.
        on_disconnect: OnDisconnectWord = "stops",
        /// Whose figure counts where the provider tells its own cost.
        cost_source: CostSourceWord = "ours",
        /// Its models by the provider's own names. Without it those of the catalogue; with it these alone, and what chains name.
        models[such as { "gpt-4o": { "context": "128k", "max_output": "16k" } }]: Table<ModelDraft>,
        /// Sandbox only: time before the first word.
        latency[such as "300ms"]: Time<0, HOUR> = "20ms",
        /// Sandbox only: tokens written each second.
        tokens_per_second[such as 1_000]: Whole<1, 1_000_000> = 200,
        /// Sandbox only: share of answers that fail.
        failure: Percent = "0%",
        /// Sandbox only: where the chance begins that decides which answers fail; the same seed fails the same answers.
        seed[such as 7]: Whole<0, { i64::MAX as u64 }> = 1,
        /// Prices of every model that has none of its own, in US dollars per million tokens. Without them a price is unknown, never free.
        usd_per_mtok: PricesDraft,
        /// US dollars for each call, beside the token prices, for every model that has none of its own.
        usd_per_call[such as "$0.005"]: Dollars,
        /// Context window of every model that has none of its own: input and output together, in tokens. Without it a prompt is never
        /// too long.
        context[such as "128k"]: TokenCount,
        /// The most that a model writes in one answer, for every model that has none of its own, in tokens.
        max_output: TokenCount,
        /// What the models can do, for every model that does not say. Without it nothing is ruled out.
        can: List<NeedWord>,
        /// The APIs by which the models are reached, for every model that does not say: `chat` completions, `responses`, or both. Only the
        /// `openai` format has two. Without it `chat`, and both at OpenAI itself.
        speaks: List<SpeaksWord>,
        /// What of OpenAI's format its API does not have, for every model that does not say: calls that cannot do without are not sent there,
        /// and the rest is left out of them. `nothing` where the catalogue says otherwise.
        lacks: List<LackWord>,
        /// The most stop sequences that a call may have, for every model that does not say. Without it a translated call has at most 4.
        max_stops[such as 4]: Whole<1, 1_000>,
        /// The words for reasoning effort that a model takes, for every model that does not say: a translated call has the nearest.
        efforts: List<EffortWord>,
        /// Whether a model gets back in `reasoning_content` what it thought earlier, for every model that does not say: with the turns in
        /// which it called `tools`, or `always`.
        replay_reasoning: ReplayWord = "off",
        /// Output limit assumed where the call names none, in tokens. 32k for models that reason.
        default_max_output_tokens: TokenCount = "16k",
        /// Output limit that no call may exceed here, in tokens.
        max_output_tokens[such as "4k"]: TokenCount,
        /// The fastest that a model writes, in tokens per second, for every model that has none of its own: bounds what a cut answer can cost.
        max_output_tps: Whole<1, 1_000_000> = 300,
        /// What a whole call costs in place of token prices, for every model that has none of its own.
        flat_usd[such as "$0.04"]: Dollars,
        /// The most that one image counts as input, for every model that has none of its own, in tokens.
        image_tokens[such as "2k"]: TokenCount,
    }
    later ["token_command", "eject_slow"]
    schema {
        "allOf": [
            { "properties": {
                "like": { "pattern": NAME },
                "api_key": { "anyOf": [
                    { "pattern": r"^\$\{([A-Za-z0-9_]+|file:/[^{}]+|credential:[A-Za-z0-9_@-][A-Za-z0-9_.@-]*)\}\??$" },
                    // A secret in plain text: a warning of `check`, and nothing that looks like a reference of another program.
                    { "pattern": "^[!-~]+$", "not": { "pattern": r"\$\{|^\$?[A-Z0-9_]+$|^env:|^os\.environ/" } }
                ] },
                "base_url": { "pattern": URL, "not": { "pattern": NOBODY } },
                "proxy": { "pattern": r"^(none|env|https?://[^\s?#{}]+)$" },
                "models": { "propertyNames": { "pattern": r"^[^\s]{1,256}$" } }
            } },
            { "properties": { "models": { "minProperties": 1 } } },
            {
                "if": { "required": ["format"], "properties": { "format": { "const": "sandbox" } } },
                "then": { "properties": { "base_url": false, "api_key": false, "proxy": false, "http1_only": false, "allow_http": false } }
            },
            {
                "if": { "required": ["format"], "properties": { "format": { "enum": ["openai", "anthropic", "gemini"] } } },
                "then": { "properties": { "latency": false, "tokens_per_second": false, "failure": false, "seed": false } }
            },
            {
                "if": { "required": ["format"], "properties": { "format": { "enum": ["anthropic", "gemini"] } } },
                "then": { "properties": { "speaks": false } }
            },
            // Plain http leads to this machine or a private network, or says that it is meant.
            {
                "if": { "required": ["base_url"], "properties": { "base_url": { "pattern": PUBLIC_HTTP } }, "not": { "required": ["like"] } },
                "then": { "required": ["allow_http"], "properties": { "allow_http": { "const": true } } }
            }
        ]
    }
}

/// A URL without user, query, fragment or reference, which names no single call.
const URL: &str =
    r"^https?://(?!.*/(chat/completions|completions|embeddings|models)/*$)[^\s@?#{}/][^\s@?#{}]*(\?api-version=[A-Za-z0-9.-]+)?$";
/// A URL whose host nobody means: unspecified, link-local, a metadata service, or a number in a spelling of its own.
const NOBODY: &str = r"^https?://(0\.0\.0\.0|169\.254\.|\[fe[89ab]|\[::\]|\[::ffff:169\.254\.|metadata(\.google\.internal)?\.?([:/]|$)|instance-data\.?([:/]|$)|0x|[0-9]+([:/]|$))";
const PUBLIC_HTTP: &str = r"^http://(?!127\.|10\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|localhost\.?([:/]|$)|[^:/]*\.localhost\.?([:/]|$)|\[::1\]|\[f[cd]|\[::ffff:)";

draft! {
    /// One model of a provider.
    ModelDraft is "a model" such as { "context": "128k", "max_output": "16k" } {
        /// Prices in US dollars per million tokens. Without them the price is unknown, never free.
        usd_per_mtok: PricesDraft,
        /// US dollars for each call, beside the token prices.
        usd_per_call[such as "$0.005"]: Dollars,
        /// Context window: input and output together, in tokens. Without it a prompt is never too long.
        context[such as "128k"]: TokenCount,
        /// The most that the model writes in one answer, in tokens.
        max_output: TokenCount,
        /// What the model can do. Without it nothing is ruled out.
        can: List<NeedWord>,
        /// The APIs by which the model is reached: `chat` completions, `responses`, or both. Only the `openai` format has two.
        speaks: List<SpeaksWord>,
        /// What of OpenAI's format the model does not have: calls that cannot do without are not sent there, and the rest is left out of
        /// them. `nothing` where the catalogue says otherwise.
        lacks: List<LackWord>,
        /// The most stop sequences that a call may have. Without it a translated call has at most 4.
        max_stops[such as 4]: Whole<1, 1_000>,
        /// The words for reasoning effort that the model takes: a translated call has the nearest.
        efforts: List<EffortWord>,
        /// Whether the model gets back in `reasoning_content` what it thought earlier: with the turns in which it called `tools`, or
        /// `always`.
        replay_reasoning: ReplayWord = "off",
        /// What may be sent per time and at once to this model, beside the provider's limits.
        limits: LimitsDraft,
        /// Output limit assumed where the call names none, in tokens. 32k for models that reason.
        default_max_output_tokens: TokenCount = "16k",
        /// Output limit that no call may exceed here, in tokens.
        max_output_tokens[such as "4k"]: TokenCount,
        /// The fastest that the model writes, in tokens per second: bounds what a cut answer can cost.
        max_output_tps: Whole<1, 1_000_000> = 300,
        /// What a whole call costs in place of token prices.
        flat_usd[such as "$0.04"]: Dollars,
        /// The most that one image counts as input, in tokens. Without it a hard budget lets no image through.
        image_tokens[such as "2k"]: TokenCount,
    }
    later ["like", "budget"]
}

draft! {
    /// Prices in US dollars per million tokens.
    PricesDraft is "`usd_per_mtok`" such as { "input": 2.5, "output": 10 } {
        /// Input that comes from no cache.
        input(required: "a price that is not known is left out whole: take `usd_per_mtok` out"): PerMtok,
        /// Output, reasoning included.
        output(required: "a price that is not known is left out whole: take `usd_per_mtok` out; embeddings have `output: 0`")[such as 10]: PerMtok,
        /// Input read from the provider's cache; costs what `input` costs where it is not said.
        cache_read[such as 1.25]: PerMtok,
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
    TierDraft is "a price tier" such as { "above": "200k", "input": 5, "output": 15 } {
        /// Input tokens above which this tier holds.
        above(required: "a tier says from which input on it holds: `above: 200k`")[such as "200k"]: TokenCount,
        /// Input that comes from no cache.
        input(required: "a tier has an input price of its own"): PerMtok,
        /// Output, reasoning included.
        output(required: "a tier has an output price of its own"): PerMtok,
        /// Input read from the provider's cache; costs what `input` costs where it is not said.
        cache_read[such as 1.25]: PerMtok,
    }
    later []
}

draft! {
    /// What may be sent per time and at once.
    LimitsDraft is "`limits`" such as { "requests": "500/min", "tokens": "200k/min", "concurrent": 64 } {
        /// Requests per time. Without it there is no such limit.
        requests: RateDraft,
        /// Tokens per time, input and output together. Without it there is no such limit.
        tokens[such as "200k/min"]: RateDraft,
        /// Calls at once. Without it there is no such limit.
        concurrent[such as 64]: Whole<1, 1_000_000>,
        /// How long a request may wait for its turn where no other step is left.
        wait[such as "2s"]: Patience = "0s",
    }
    later []
}

draft! {
    /// Bounds on waiting for a provider; total time is the deadline's.
    TimeoutsDraft is "`timeouts`" such as { "connect": "2s", "first_content": "30s", "idle": "60s" } {
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
    CooldownDraft is "`cooldown`" such as { "after": 5, "rest": "20s" } {
        /// Failures within 30 s.
        after: Whole<1, 10_000> = 5,
        /// The first rest; each further one is twice as long, up to 5 min.
        rest: Rest = "20s",
    }
    later []
}

/// `500/min`, or `{ rate: 500/min, burst: 50 }`.
#[derive(Debug)]
pub(in crate::config) struct RateDraft;

draft! {
    /// A rate with a burst of its own.
    BurstDraft is "a rate" such as { "rate": "500/min", "burst": 50 } {
        /// So many per `s`, `min`, `hour` or `day`.
        rate(required: "write `{ rate: 500/min, burst: 50 }`"): PlainRate,
        /// What a full limit lets through at once; one period's amount where it is not said.
        burst[such as 50]: Whole<1, { 1 << 40 }>,
    }
    later []
}

/// `500/min`.
#[derive(Debug)]
pub(in crate::config) struct PlainRate;

scalar_schema!(PlainRate: {
    "type": "string",
    "pattern": r"^(?=[^/]*[1-9])(?!0[0-9])[0-9]{1,15}(_[0-9]+)*(\.[0-9]+)?[kM]? ?/ ?(s|min|hour|day)$"
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

    fn spelling() -> String {
        "A count per `s`, `min`, `hour` or `day`; `k` is a thousand, `M` a million.".into()
    }

    fn example() -> serde_json::Value {
        "500/min".into()
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

    fn spelling() -> String {
        format!("{} `{{ rate: 500/min, burst: 50 }}` sets what a full limit lets through at once.", PlainRate::spelling())
    }

    fn example() -> serde_json::Value {
        PlainRate::example()
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

/// `providers:` as written.
#[derive(Debug)]
pub(in crate::config) struct Providers;

impl Shape for Providers {
    type Value = Rows<ProviderDraft>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        let Value::Map(entries) = &node.value else {
            return Table::<ProviderDraft>::read(node, findings);
        };
        // A setting that slipped out of its entry: what is in it says nothing about a provider.
        let (slipped, named): (Vec<Entry>, Vec<Entry>) = entries.iter().cloned().partition(is_setting);
        for entry in &slipped {
            let message = format!("`{}` is a setting of a provider, and stands where their names stand", entry.key);
            let finding = Diagnostic::error(Code::KEY_DOES_NOT_APPLY, entry.value.label, message);
            findings.push(finding.hint("check the indentation: it belongs below the provider's name, two columns to the right"));
        }
        let rest = Node { value: Value::Map(named), ..node.clone() };
        let rows = Table::<ProviderDraft>::read(&rest, findings);
        if slipped.is_empty() { rows } else { None }
    }

    fn filler() -> String {
        "{}".into()
    }
}

/// Whether an entry of `providers` is a setting by its name, and no provider by what it holds.
fn is_setting(entry: &Entry) -> bool {
    let names_provider = |inner: &Entry| matches!(inner.key.as_str(), "format" | "base_url" | "api_key" | "like" | "models");
    let is_provider = matches!(&entry.value.value, Value::Map(inner) if inner.is_empty() || inner.iter().any(names_provider));
    ProviderDraft::KEYS.contains(&entry.key.as_str()) && !is_provider
}

impl JsonSchema for Providers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Table::<ProviderDraft>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut table = Table::<ProviderDraft>::json_schema(generator);
        let known: Map<String, Json> = catalog()
            .providers
            .iter()
            .map(|known| {
                let models = known.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
                (known.name.clone(), json!({ "description": format!("{}: {models}.", known.title) }))
            })
            .collect();
        let aliases = catalog().providers.iter().flat_map(|known| &known.aliases).map(|alias| (alias.clone(), json!(true)));
        let known: Map<String, Json> = known.into_iter().chain(aliases).collect();
        // A name that nobody knows, without another entry to copy, says all that it needs itself.
        let whole = json!({ "anyOf": [
            { "required": ["like"] },
            { "required": ["format", "models"], "properties": { "format": { "const": "sandbox" } } },
            { "required": ["format", "base_url", "models"] }
        ] });
        table.insert("allOf".into(), json!([{ "properties": known, "additionalProperties": whole }]));
        table
    }
}
