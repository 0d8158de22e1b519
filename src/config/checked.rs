//! What a sound file says, typed: every name resolved, every unit read, nothing left to refuse.

mod expected;
mod money;
mod providers;
mod rules;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;

use super::diagnostic::Place;
use crate::units::{Confidence, Score, Secret, TaskName};

pub use expected::{Expect, Given, Test};
pub use money::{Budget, BudgetMode, Caller, CallerKey, Cap, Covers, Durability, EstimateBy, HoldFor, LedgerSettings, OnLow, SpentWindow};
pub use providers::{CooldownPolicy, CostSource, Key, Limits, Provider, Proxy, Sandbox, Target, Timeouts};
pub use rules::{
    Bounds, Chain, ConditionPlaces, Conditions, DefaultRule, FallbackOn, Member, ModelPattern, OnCeiling, Pick, Pool, Route, Rule,
    TimeoutChanges, UnsupportedParams, Use,
};

/// A whole configuration. `targets` holds every model of every provider, in file order; rules name them by index.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The files that it is made of, as the user would name them: the main one, then the included ones. [`Place::file`] is an index.
    pub files: Vec<String>,
    pub server: Server,
    pub providers: Vec<Provider>,
    pub targets: Vec<Target>,
    pub rules: Vec<Rule>,
    pub default: DefaultRule,
    pub tests: Vec<Test>,
    /// Those of providers and callers among them, in this order: `budgets:`, providers, callers.
    pub budgets: Vec<Budget>,
    pub callers: Vec<Caller>,
    pub classify: Classify,
    pub ledger: LedgerSettings,
    pub alerts: Alerts,
    pub evals: Vec<Eval>,
}

/// How good a target's answers to one task are: one entry of `evals:`.
#[derive(Clone, Debug)]
pub struct Eval {
    pub task: TaskName,
    /// Index into [`Checked::targets`].
    pub target: usize,
    pub score: Score,
    /// How many answers were looked at.
    pub n: Option<u64>,
    /// When that was.
    pub date: Option<Date>,
    /// Where the target's name stands.
    pub place: Place,
}

/// `classify:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classify {
    pub when: ClassifyWhen,
    /// From here on a guess counts. Default 0.7.
    pub floor: Confidence,
    /// In file order: the first of which a word is there counts.
    pub labels: Vec<OwnLabel>,
}

impl Default for Classify {
    fn default() -> Self {
        Self { when: ClassifyWhen::Needed, floor: Confidence::FLOOR, labels: Vec::new() }
    }
}

/// When the words of a request are looked at that declares no task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassifyWhen {
    Never,
    /// Where some rule asks for a task.
    #[default]
    Needed,
    Always,
}

/// A task of the file's own, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLabel {
    pub name: TaskName,
    /// In lower case; a `*` at an end stands for more letters.
    pub words: Vec<String>,
}

/// `alerts:`: who is told of crossings, refusals, forecasts, disputes and overruns, beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    pub webhook: Option<Webhook>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: http::Uri,
    /// Signs each message (HMAC-SHA-256) where it is there.
    pub secret: Option<Secret>,
}

/// `server:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    /// `callers: open`: the listener serves whoever reaches it.
    pub open: bool,
    /// The whole of a call that is not streamed. Default 10 min.
    pub deadline: Duration,
    /// The whole of a streamed call. Default 30 min.
    pub stream_deadline: Duration,
    /// Most client connections at once. Default 10,000.
    pub connections: NonZeroU32,
    /// Largest request body, in bytes. Default 32 MiB.
    pub body_limit: u64,
    /// How long open requests may run on after a stop. Default 300 s.
    pub drain: Duration,
    /// How long a streamed call may go without content before its status 200 is sent. Default 10 s.
    pub early_head: Option<Duration>,
    /// The state folder, when the file names one.
    pub state: Option<PathBuf>,
    /// Most answers that one call may ask for (`n`). Default 4.
    pub max_n: u32,
    /// What happens to a provider's answer when the client hangs up. Default: cancel.
    pub on_client_disconnect: OnClientDisconnect,
}

/// The built-in settings.
impl Default for Server {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: local(8080),
            admin: local(8081),
            open: false,
            deadline: Duration::from_mins(10),
            stream_deadline: Duration::from_mins(30),
            connections: NonZeroU32::MIN.saturating_add(9_999),
            body_limit: 32 << 20,
            drain: Duration::from_mins(5),
            early_head: Some(Duration::from_secs(10)),
            state: None,
            max_n: 4,
            on_client_disconnect: OnClientDisconnect::Cancel,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnClientDisconnect {
    Cancel,
    Finish,
}
