use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Diagnostic;

/// What `tollgate status --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// In force: `7-3f2a9c1b04de`.
    pub revision: String,
    /// SHA-256 of the text in force, in hex.
    pub file_hash: String,
    pub config_path: String,
    /// Where applications are served.
    pub listen: SocketAddr,
    /// Where operators are served.
    pub admin: SocketAddr,
    pub last_reload: LastReload,
    pub providers: Vec<ProviderStatus>,
    pub callers: Vec<CallerStatus>,
    /// Every window of every budget, in file order.
    pub budgets: Vec<BudgetStatus>,
    pub ledger: LedgerStatus,
    /// Open client connections.
    pub connections: u64,
    pub open_streams: u64,
    pub started_at: Timestamp,
    /// Why an older file than the one on disk serves.
    pub degraded: Option<String>,
    pub version: &'static str,
}

/// The last reload that did or refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastReload {
    pub at: Timestamp,
    pub ok: bool,
    /// `start`, `watch`, `poll`, `signal` or `command`.
    pub cause: &'static str,
    pub findings: Vec<Diagnostic>,
    /// The findings as people read them.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProviderStatus {
    pub name: String,
    pub targets: Vec<TargetStatus>,
    pub limits: Vec<LimitStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerStatus {
    pub name: String,
    pub limits: Vec<LimitStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetStatus {
    /// `provider/model`.
    pub name: String,
    /// `ready`, `resting`, `key_down`, `account_down`, `target_down` or `no_key`.
    pub state: String,
    /// When a resting target is tried again.
    pub cooldown_until: Option<Timestamp>,
    /// Absent before the first answer.
    pub ttft_ms: Option<TtftStatus>,
    /// Absent before a prompt was both estimated and counted.
    pub token_ratio: Option<TokenRatioStatus>,
}

/// Tokens that the provider counts for each that was estimated, 0.5 to 2.5, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TokenRatioStatus {
    /// A slow mean, by which limits in tokens are asked.
    pub usual: f64,
    /// The largest of late, by which `calibrated` holds are.
    pub largest: f64,
}

/// One window of one budget. Amounts are dollars, as plain decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BudgetStatus {
    /// `company`, `provider.openai`, `caller.legal`.
    pub name: String,
    /// `hour`, `day`, `week`, `month` or `total`.
    pub window: &'static str,
    pub starts: Timestamp,
    /// Absent: it never ends.
    pub ends: Option<Timestamp>,
    pub cap_usd: String,
    pub spent_usd: String,
    /// Set aside for requests in flight.
    pub held_usd: String,
    /// May have been spent.
    pub disputed_usd: String,
    /// What is spent by its end if it goes on like this; absent where it is too early to say.
    pub forecast_usd: Option<String>,
}

/// The ledger's writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerStatus {
    /// Entries that wait to be written.
    pub queue: usize,
    pub last_commit_ms: u64,
    /// Absent while it writes; else what keeps it from writing.
    pub failing: Option<String>,
    /// Disputes that are open.
    pub disputes: usize,
    /// Dollars billed above what was held, since the start.
    pub overrun_usd: String,
}

/// Time to first content over the last answers, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TtftStatus {
    pub p50: u64,
    pub p99: u64,
}

/// In the limit's own unit: requests, tokens or calls at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitStatus {
    /// `openai.requests`, `openai/gpt-4o.tokens`, `caller.search.requests`.
    pub name: String,
    /// How much is taken now.
    pub level: u64,
    pub remaining: u64,
}
