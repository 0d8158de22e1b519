//! The file as it is written: every key known, a place on every value, nothing resolved yet.

mod budget;
mod caller;
mod chain;
mod classify;
mod conditions;
mod evals;
mod include;
mod ledger;
mod prices;
mod provider;
mod rule;
mod test;

pub(super) use budget::{BudgetDraft, CoversDraft, TermsDraft};
pub(super) use caller::{CallerDraft, CallersDraft, KeyDraft};
pub(super) use chain::{ChainDraft, MemberDraft, PickBy, PoolDraft, StepDraft, WaitsDraft};
pub(super) use classify::ClassifyDraft;
pub(super) use conditions::ConditionsDraft;
pub(super) use evals::{Evals, ScoreDraft, ScoreNumber};
pub(super) use include::{IncludePath, IncludedDraft, include_path};
pub(super) use ledger::{AlertsDraft, LedgerDraft};
pub(super) use prices::PriceListDraft;
pub(super) use provider::{CooldownDraft, LimitsDraft, ModelDraft, PricesDraft, ProviderDraft, Providers, TimeoutsDraft};
pub(super) use rule::{DefaultDraft, RouteDraft, RuleDraft, UnsupportedParamsWord};
pub(super) use test::{ExpectDraft, GivenDraft, TestDraft};

use super::checked::OnClientDisconnect;
use super::codes::Code;
use super::collections::{List, OrOff, Table, empty_item, no_list};
use super::decode::{Findings, Shape, draft, not_yet};
use super::shapes::{Address, DAY, FalseYet, HOUR, MINUTE, SECOND, Size, Text, Time, TokenCount, Whole, Zone, scalar_schema, words};
use super::tree::{Node, Value};
use super::{decode, diagnostic::Diagnostic};

/// How long a call may take in all.
pub(super) type Deadline = Time<1, { 7 * DAY }>;

draft! {
    /// Rules that match a request to an ordered chain of providers.
    FileDraft is "the file" {
        /// Version of this file format.
        version(required: "the first line of settings is `version: 1`"): Version,
        /// Addresses, bounds and time limits of the daemon.
        server: ServerDraft,
        /// Changes to built-in defaults, for every provider and rule.
        defaults: DefaultsDraft,
        /// Further files below this file's folder, by path or pattern: `[rules/*.yaml, evals.yaml]`. Each holds `providers`,
        /// `budgets`, `callers`, `chains`, `rules`, `tests`, `prices` and `evals`. Rules count in this order: those of this file, then each included file in the order of the list, the files
        /// of a pattern sorted by name, then `default`.
        include[such as ["rules/*.yaml", "evals.yaml"]]: List<IncludePath>,
        /// API endpoints by name, each with its key and models.
        providers[such as { "openai": { "format": "openai", "base_url": "https://api.openai.com/v1", "api_key": "${OPENAI_API_KEY}?", "models": { "gpt-4o": {} } } }]: Providers,
        /// Caps on spend across providers, by name. Those of one provider or caller stand beside its other settings.
        budgets[such as { "company": { "cap": ["$2_000/month", "$150/day"], "warn_at": ["50%", "80%", "95%"] } }]: Table<BudgetDraft>,
        /// Who may ask, by name, each with the hash of its key; or `open`, which serves whoever reaches the listener. Without it only
        /// loopback is served.
        callers: CallersDraft,
        /// Named chains, for reuse by rules.
        chains[such as { "thrifty": ["openai/gpt-4o-mini", "house/llama3.2"] }]: Table<ChainDraft>,
        /// The first rule in file order that matches decides.
        rules: Each<RuleDraft>,
        /// What happens when no rule matches: `refuse`, or a chain.
        default(required: "write `default: refuse` or `default: { chain: [provider/model] }`"): DefaultDraft,
        /// Requests and what must become of them: a file that fails one of them is refused.
        tests: Each<TestDraft>,
        /// How the task of a request is recognised that declares none; `off` leaves it `unknown`.
        classify: OrOff<ClassifyDraft>,
        /// How spend is written down.
        ledger: LedgerDraft,
        /// Who is told of budgets that are nearly used up, refusals, disputes and overruns, beside the log.
        alerts: AlertsDraft,
        /// An imported price list; mostly in an included file of its own.
        prices: PriceListDraft,
        /// How good each target's answers are, by task: what pools with `pick: best` go by. `tollgate bench --write` writes it into an
        /// included file of its own.
        evals[such as { "coding": { "openai/gpt-4o": { "score": 9.4, "n": 164, "date": "2026-06-01" } } }]: Evals,
    }
    later ["publish", "otlp", "log"]
    schema {
        "allOf": [
            { "properties": {
                "providers": { "propertyNames": { "pattern": NAME, "not": { "const": "auto" } } },
                "budgets": { "propertyNames": { "pattern": NAME, "not": { "pattern": r"^(provider|caller)\." } } },
                "chains": { "propertyNames": { "pattern": NAME, "not": { "enum": ["auto", "requested"] } } },
                "evals": { "propertyNames": { "pattern": NAME } }
            } },
            { "anyOf": [{ "required": ["providers"] }, { "required": ["include"] }] },
            // A listener that other machines reach has callers.
            {
                "if": {
                    "required": ["server"],
                    "properties": { "server": { "required": ["listen"], "properties": { "listen": { "not": { "pattern": r"^(127\.|\[::1\]:)" } } } } }
                },
                "then": { "required": ["callers"], "properties": { "callers": { "anyOf": [{ "const": "open" }, { "type": "object", "minProperties": 1 }] } } }
            },
            // The same thing is said in one place.
            { "not": both("deadline") },
            { "not": both("stream_deadline") }
        ]
    }
}

/// A name, as the schema knows it.
const NAME: &str = "^[a-z0-9][a-z0-9._-]{0,63}$";
/// `provider/model`, as the schema knows it.
const TARGET: &str = r"^[a-z0-9][a-z0-9._-]{0,63}/[^\s]{1,256}$";

/// A setting under `server` and under `defaults`.
fn both(key: &str) -> serde_json::Value {
    serde_json::json!({
        "required": ["server", "defaults"],
        "properties": { "server": { "required": [key] }, "defaults": { "required": [key] } }
    })
}

draft! {
    /// Addresses, bounds and time limits of the daemon.
    ServerDraft is "`server`" such as { "listen": "127.0.0.1:8080", "admin": "127.0.0.1:8081" } {
        /// Where applications connect: IP address and port.
        listen: Address = "127.0.0.1:8080",
        /// Where metrics and control are served: IP address and port, never that of `listen`.
        admin[such as "127.0.0.1:8081"]: Address = "127.0.0.1:8081",
        /// Time zone of budget windows, an IANA name.
        timezone: Zone = "UTC",
        /// The most that a whole call may take, streamed or not. Without it 10 min, and 30 min streamed.
        deadline[such as "5m"]: Deadline = "10m",
        /// The most that a streamed call may take.
        stream_deadline[such as "20m"]: Deadline = "30m",
        /// Most client connections at once.
        connections[such as "2k"]: Whole<1, 1_000_000> = 10_000,
        /// Largest request body.
        body_limit: Size<1_024, { 1 << 30 }> = "32MiB",
        /// How long open requests may run on after a stop.
        drain: Time<0, DAY> = "300s",
        /// How long a streamed call may go without content before its status 200 is sent.
        early_head: OrOff<Time<1, HOUR>> = "10s",
        /// The folder for what outlives the daemon: accepted files and its lock. Without it `./state`, or systemd's state folder.
        state[such as "/var/lib/tollgate"]: Text,
        /// Most answers that one call may ask for (`n`).
        max_n[such as 1]: Whole<1, 128> = 4,
        /// What happens to a provider's answer when the client hangs up: `cancel` ends it, `finish` lets it run to its end for the record.
        on_client_disconnect: OnClientDisconnectWord = "cancel",
        /// Not yet supported: `false` is all it may say.
        propagate_trace: FalseYet = false,
        /// Not yet supported: `false` is all it may say.
        expose_upstream_ratelimits: FalseYet = false,
        /// Not yet supported: an empty list is all it may say.
        trusted_proxies: NoneYet,
    }
    later []
}

draft! {
    /// Changes to built-in defaults, for every provider and rule.
    DefaultsDraft is "`defaults`" such as { "timeouts": { "first_content": "45s" } } {
        /// The most that a whole call may take, streamed or not. Without it 10 min, and 30 min streamed.
        deadline[such as "5m"]: Deadline = "10m",
        /// The most that a streamed call may take.
        stream_deadline[such as "20m"]: Deadline = "30m",
        /// Bounds on waiting for a provider.
        timeouts: TimeoutsDraft,
        /// When a failing target rests.
        cooldown: OrOff<CooldownDraft>,
        /// Output limit assumed where the call names none, in tokens. Without it 16k, and 32k for models that reason.
        default_max_output_tokens[such as "8k"]: TokenCount = "16k",
        /// What becomes of a target whose format lacks fields that an answer can do without, for every rule that does not say.
        unsupported_params: UnsupportedParamsWord = "warn",
    }
    later []
}

words! {
    /// `on_client_disconnect`.
    OnClientDisconnectWord: OnClientDisconnect {
        "cancel" => OnClientDisconnect::Cancel,
        "finish" => OnClientDisconnect::Finish,
    }
    later []
}

/// `version: 1`.
#[derive(Debug)]
pub(super) struct Version;

scalar_schema!(Version: { "const": 1 });

impl Shape for Version {
    type Value = ();

    fn read(node: &Node, findings: &mut Findings) -> Option<()> {
        let scalar = decode::scalar(node, "`1`", findings)?;
        if scalar.text == "1" && !scalar.is_quoted {
            return Some(());
        }
        let found = if scalar.is_quoted { format!("\"{}\"", scalar.text) } else { scalar.text.clone() };
        let message = format!("this tollgate reads version `1` of the file, found `{found}`");
        findings.push(Diagnostic::error(Code::UNSUPPORTED_VERSION, node.place, message).hint("write `version: 1`"));
        None
    }

    fn example() -> serde_json::Value {
        1.into()
    }
}

/// An empty list.
#[derive(Debug)]
pub(super) struct NoneYet;

scalar_schema!(NoneYet: { "type": "array", "maxItems": 0 });

impl Shape for NoneYet {
    type Value = ();

    fn read(node: &Node, findings: &mut Findings) -> Option<()> {
        match &node.value {
            Value::List(items) if items.is_empty() => Some(()),
            Value::Scalar(_) => {
                findings.push(no_list(node).hint("write `[]`"));
                None
            }
            _ => {
                findings.push(not_yet(node.label, "a list with proxies in it"));
                None
            }
        }
    }

    fn example() -> serde_json::Value {
        serde_json::json!([])
    }
}

/// A list that may be empty. An item that is wrong leaves the others to be looked at.
#[derive(Debug)]
pub(super) struct Each<S>(std::marker::PhantomData<S>);

impl<S: Shape> Shape for Each<S> {
    type Value = Vec<decode::At<S::Value>>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        match &node.value {
            Value::List(items) => Some(items.iter().filter_map(|item| one_of_each::<S>(item, findings)).collect()),
            Value::Map(entries) => {
                let first = entries.first().map(|entry| entry.key.as_str()).filter(|key| *key != "name").unwrap_or("…");
                findings.push(no_list(node).hint(format!("each is an item of the list and says its name: `- name: {first}`")));
                None
            }
            _ => List::<S>::read(node, findings),
        }
    }

    fn example() -> serde_json::Value {
        serde_json::json!([S::example()])
    }

    fn filler() -> String {
        "[]".into()
    }
}

fn one_of_each<S: Shape>(item: &Node, findings: &mut Findings) -> Option<decode::At<S::Value>> {
    if matches!(item.value, Value::Nothing) {
        findings.push(empty_item(item));
        return None;
    }
    S::read(item, findings).map(|value| decode::At { place: item.place, value })
}

impl<S: Shape> schemars::JsonSchema for Each<S> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("EachOf{}", S::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let items = generator.subschema_for::<S>();
        schemars::json_schema!({ "type": "array", "items": items })
    }
}

/// One second to an hour, in the steps that timeouts of providers take.
pub(super) type Wait = Time<1, HOUR>;
/// How long a request may stand in line for a limit.
pub(super) type Patience = Time<0, { 10 * MINUTE }>;
/// How long a target rests first.
pub(super) type Rest = Time<SECOND, DAY>;
