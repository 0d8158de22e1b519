//! What those who move money tell the one who writes it down.

mod queue;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{BudgetName, CallerName, Endpoint, Pairs, Period, Prices, RuleName, TargetName, TaskName, Usage, Usd};

pub use queue::{LedgerInbox, LedgerQueue, MOST_WAITING, NotWritten, Taken, Then, Told};

/// One attempt, for good: which start of the daemon made it, and its number in that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// Counts the starts of the daemon on this state folder, from 1.
    pub epoch: u64,
    pub number: u64,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// One stretch of one window of one budget: what counters are kept by. Budget, period and start say which one it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    pub budget: BudgetName,
    pub period: Period,
    pub starts: Timestamp,
    /// When the next one begins. Absent: never. Kept with the counters, so that a changed calendar opens no new stretch before it.
    pub ends: Option<Timestamp>,
}

/// What is known of a request when its first attempt is sent; shared by all its entries.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    pub request_id: Arc<str>,
    pub accepted: Timestamp,
    pub endpoint: Endpoint,
    pub rule: Option<RuleName>,
    pub caller: Option<CallerName>,
    pub tags: Pairs,
    pub labels: Pairs,
    pub task: TaskName,
    pub revision: Arc<str>,
}

/// An attempt is about to be sent, and this much is held for it.
#[derive(Clone, Debug)]
pub struct HeldEntry {
    pub id: AttemptId,
    pub at: Timestamp,
    pub request: Arc<RequestFacts>,
    /// Which attempt of its request it is, from 1.
    pub attempt: u32,
    pub target: TargetName,
    pub hold: Usd,
    /// The windows that admitted it. None where no budget covers it.
    pub windows: Arc<[WindowKey]>,
}

/// How an attempt ended, for money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// Nothing was billed: the hold is released.
    Void,
    /// The provider told the usage, and it is priced.
    Usage,
    /// The provider told its own cost, and the file says that it counts.
    ProviderCost,
    /// What was observed until it was cut.
    Observed,
    /// Complete, but without a usage that can be believed: bounds are counted.
    Estimated,
    /// Nobody knows what the provider billed: all of it is disputed.
    Unknown,
}

impl Basis {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Usage => "usage",
            Self::ProviderCost => "provider_cost",
            Self::Observed => "observed",
            Self::Estimated => "estimated",
            Self::Unknown => "unknown",
        }
    }
}

/// Why money is disputed: it may have been spent, and counts until that is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisputeClass {
    /// Cut after sending; nobody knows what the provider billed.
    Ambiguous,
    /// Cancelled by the client or by us.
    Cancelled,
    /// A grant that a crash left unexplained.
    Crash,
}

impl DisputeClass {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::Cancelled => "cancelled",
            Self::Crash => "crash",
        }
    }
}

/// What stays counted of an attempt after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disputed {
    pub class: DisputeClass,
    pub amount: Usd,
    /// When it is released by itself. Absent: with its window's end.
    pub until: Option<Timestamp>,
}

/// An attempt has ended.
#[derive(Clone, Debug)]
pub struct SettledEntry {
    pub id: AttemptId,
    pub at: Timestamp,
    pub basis: Basis,
    pub posted: Usd,
    pub disputed: Option<Disputed>,
    pub usage: Option<Usage>,
    /// The prices that it was counted with; absent where there were none.
    pub prices: Option<Arc<Prices>>,
    /// What the provider itself says that it costs.
    pub provider_cost: Option<Usd>,
    /// Of docs/errors.md; absent: none.
    pub fault: Option<&'static str>,
    /// How far it came: `P0` to `P4`.
    pub phase: &'static str,
    pub upstream_status: Option<u16>,
    pub ttft: Option<Duration>,
    pub duration: Duration,
    pub served_model: Option<Arc<str>>,
}

/// A request has ended.
#[derive(Clone, Debug)]
pub struct EndedEntry {
    pub at: Timestamp,
    pub request: Arc<RequestFacts>,
    /// One word of the closed list of outcomes: `ok`, `fell_back`, `refused`, `failed`, `cut_off`, `hung_up`.
    pub outcome: &'static str,
    pub status: u16,
    pub code: Option<Arc<str>>,
    /// The attempt that gave the answer.
    pub served: Option<AttemptId>,
    pub attempts: u32,
    pub duration: Duration,
}

/// A dispute has ended: some of it was billed, the rest was not.
#[derive(Clone, Debug)]
pub struct ResolvedEntry {
    pub id: DisputeId,
    pub at: Timestamp,
    pub posted: Usd,
    pub released: Usd,
    /// `time`, `window`, or what the operator wrote.
    pub reason: Arc<str>,
}

/// What a dispute is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisputeId {
    Attempt(AttemptId),
    /// What was granted to the run of that epoch in this window, and cannot be explained.
    Crash(u64, WindowKey),
}

/// As commands and answers name it: `3.1042`, `2@company.month@2026-11-01T00:00:00Z`.
impl fmt::Display for DisputeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(id) => id.fmt(f),
            Self::Crash(epoch, key) => write!(f, "{epoch}@{}.{}@{}", key.budget, key.period, key.starts),
        }
    }
}

/// An operator's correction of what was posted, as a row of its own.
#[derive(Clone, Debug)]
pub struct AdjustedEntry {
    pub at: Timestamp,
    pub window: WindowKey,
    pub amount: Usd,
    /// True: less was spent than the ledger says.
    pub is_credit: bool,
    pub reason: Arc<str>,
}

/// One entry of the ledger. It becomes rows in the order in which it was told.
#[derive(Clone, Debug)]
pub enum Entry {
    Held(HeldEntry),
    Settled(SettledEntry),
    Ended(EndedEntry),
    Resolved(ResolvedEntry),
    Adjusted(AdjustedEntry),
    /// From here on so much may be held or spent in each of these windows; with less than before, the rest is given back.
    Granted(Vec<(WindowKey, Usd)>),
    /// The budget goes on under another name; its rows stay its own.
    Renamed {
        was: BudgetName,
        name: BudgetName,
    },
}

/// What the ledger remembers at a start, after it has made a crash's leftovers into disputes.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// The number of this start.
    pub epoch: u64,
    pub windows: Vec<RememberedWindow>,
    pub disputes: Vec<RememberedDispute>,
}

/// A window that has not ended, or that open disputes count in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedWindow {
    pub key: WindowKey,
    pub posted: Usd,
    /// The sum of the open disputes that count here.
    pub disputed: Usd,
}

/// An open dispute: `amount` counts in each of `windows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedDispute {
    pub id: DisputeId,
    pub class: DisputeClass,
    pub amount: Usd,
    pub until: Option<Timestamp>,
    pub windows: Vec<WindowKey>,
    /// Absent for a crash.
    pub target: Option<TargetName>,
}
