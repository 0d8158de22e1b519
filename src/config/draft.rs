//! The file as it is written: every key known, a place on every value, nothing resolved yet.

mod chain;
mod include;
mod provider;
mod rule;
mod test;

pub(super) use chain::{ChainDraft, MemberDraft, StepDraft, WaitsDraft};
pub(super) use include::{IncludePath, IncludedDraft, include_path};
pub(super) use provider::{CooldownDraft, LimitsDraft, ModelDraft, PricesDraft, ProviderDraft, TimeoutsDraft};
pub(super) use rule::{ConditionsDraft, DefaultDraft, RouteDraft, RuleDraft};
pub(super) use test::{ExpectDraft, GivenDraft, TestDraft};

use super::checked::OnClientDisconnect;
use super::codes::Code;
use super::collections::{List, OrOff, Table};
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
        /// Further files below this file's folder, by path or pattern: `[rules/*.yaml, evals.yaml]`. Each holds `providers`, `chains`
        /// and `rules`. Rules count in this order: those of this file, then each included file in the order of the list, the files
        /// of a pattern sorted by name, then `default`.
        include: List<IncludePath>,
        /// API endpoints by name, each with its key and models.
        providers: Table<ProviderDraft>,
        /// `open` serves whoever reaches the listener; without it only loopback is served.
        callers: Callers,
        /// Named chains, for reuse by rules.
        chains: Table<ChainDraft>,
        /// The first rule in file order that matches decides.
        rules: Each<RuleDraft>,
        /// What happens when no rule matches: `refuse`, or a chain.
        default(required: "write `default: refuse` or `default: { chain: [provider/model] }`"): DefaultDraft,
        /// Requests and what must become of them: a file that fails one of them is refused.
        tests: Each<TestDraft>,
    }
    later ["budgets", "evals", "publish", "classify", "alerts", "otlp", "log", "ledger"]
}

draft! {
    /// Addresses, bounds and time limits of the daemon.
    ServerDraft is "`server`" {
        /// Where applications connect: IP address and port.
        listen: Address = "127.0.0.1:8080",
        /// Where metrics and control are served: IP address and port, never that of `listen`.
        admin: Address = "127.0.0.1:8081",
        /// Time zone of budget windows, an IANA name.
        timezone: Zone = "UTC",
        /// The most that a whole call may take, streamed or not. Without it 10 min, and 30 min streamed.
        deadline: Deadline = "10m",
        /// The most that a streamed call may take.
        stream_deadline: Deadline = "30m",
        /// Most client connections at once.
        connections: Whole<1, 1_000_000> = 10_000,
        /// Largest request body, in bytes or as `16MiB`.
        body_limit: Size<1_024, { 1 << 30 }> = "32MiB",
        /// How long open requests may run on after a stop.
        drain: Time<0, DAY> = "300s",
        /// How long a streamed call may go without content before its status 200 is sent, or `off`.
        early_head: OrOff<Time<1, HOUR>> = "10s",
        /// The state folder.
        state: Text,
        /// Most answers that one call may ask for (`n`).
        max_n: Whole<1, 128> = 4,
        /// What happens to a provider's answer when the client hangs up: `cancel` or `finish`.
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
    DefaultsDraft is "`defaults`" {
        /// The most that a whole call may take, streamed or not. Without it 10 min, and 30 min streamed.
        deadline: Deadline = "10m",
        /// The most that a streamed call may take.
        stream_deadline: Deadline = "30m",
        /// Bounds on waiting for a provider.
        timeouts: TimeoutsDraft,
        /// When a failing target rests, or `off`.
        cooldown: OrOff<CooldownDraft>,
        /// Output limit assumed where the call names none, in tokens. Without it 16k, and 32k for models that reason.
        default_max_output_tokens: TokenCount = "16k",
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
        let message = format!("this tollgate reads version `1` of the file, found `{}`", scalar.text);
        findings.push(Diagnostic::error(Code::UNSUPPORTED_VERSION, node.place, message).hint("write `version: 1`"));
        None
    }
}

/// `callers: open`; entries are for a later version.
#[derive(Debug)]
pub(super) struct Callers;

scalar_schema!(Callers: { "const": "open" });

impl Shape for Callers {
    type Value = ();

    fn read(node: &Node, findings: &mut Findings) -> Option<()> {
        if matches!(node.value, Value::Map(_)) {
            findings.push(
                not_yet(node.label, "`callers` with entries").hint("take it out, or write `callers: open` to serve whoever connects"),
            );
            return None;
        }
        super::shapes::word(node, &["open"], &[], findings).map(|_| ())
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
            _ => {
                findings.push(not_yet(node.label, "a list with proxies in it"));
                None
            }
        }
    }
}

/// A list that may be empty. An item that is wrong leaves the others to be looked at.
#[derive(Debug)]
pub(super) struct Each<S>(std::marker::PhantomData<S>);

impl<S: Shape> Shape for Each<S> {
    type Value = Vec<decode::At<S::Value>>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        match &node.value {
            Value::List(items) => {
                Some(items.iter().filter_map(|item| S::read(item, findings).map(|value| decode::At { place: item.place, value })).collect())
            }
            _ => List::<S>::read(node, findings),
        }
    }
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
