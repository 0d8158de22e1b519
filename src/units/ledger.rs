//! What those who move money tell the one who writes it down.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use jiff::Timestamp;

use super::{BudgetName, CallerName, Endpoint, Pairs, Period, Prices, RuleName, TargetName, TaskName, Usage, Usd};

/// How many entries may wait to be written. New holds are refused above it; what ends an attempt is always taken.
pub const MOST_WAITING: usize = 100_000;

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

/// Called once, by the ledger's writer, when an entry is safe on disk, or cannot be made safe.
pub type Then = Box<dyn FnOnce(Result<(), NotWritten>) + Send>;

/// The ledger could not write; the words are for logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger cannot be written: {0}")]
pub struct NotWritten(pub String);

/// Takes entries for the ledger, without waiting for disk.
#[derive(Clone, Debug)]
pub struct LedgerQueue(Arc<Tellers>);

/// The ledger's end of the queue; one thread takes from it.
#[derive(Debug)]
pub struct LedgerInbox(Arc<Waiting>);

/// All who tell. Dropped with the last of them.
#[derive(Debug)]
struct Tellers(Arc<Waiting>);

/// What was told and not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    line: Mutex<Line>,
    told: AtomicU64,
    written: AtomicU64,
}

/// Entries stand one behind the other in memory that is used again: one by one on the heap they would be made by one thread and freed by
/// another, which costs both more than the entry itself.
#[derive(Debug, Default)]
struct Line {
    told: VecDeque<Told>,
    /// Somebody waits for one of them.
    is_awaited: bool,
    /// Who takes them; unknown until it has looked for the first time.
    reader: Option<Thread>,
    /// Nobody takes any more.
    is_deaf: bool,
    /// Nobody tells any more.
    is_closed: bool,
}

/// An entry and who waits for it.
pub struct Told {
    pub entry: Entry,
    pub then: Option<Then>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("entry", &self.entry).field("is_awaited", &self.then.is_some()).finish()
    }
}

/// What was found in an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Somebody waits for one of the entries.
    pub is_awaited: bool,
    /// No entry will follow.
    pub is_last: bool,
}

impl LedgerQueue {
    #[must_use]
    pub fn new() -> (Self, LedgerInbox) {
        let waiting = Arc::<Waiting>::default();
        (Self(Arc::new(Tellers(Arc::clone(&waiting)))), LedgerInbox(waiting))
    }

    /// Takes the entry. False where nobody writes any more: the entry is lost, and `then` is dropped without a call.
    #[inline]
    #[expect(clippy::must_use_candidate, reason = "who awaits the entry learns it by other ways, and others have nothing to do about it")]
    pub fn tell(&self, entry: Entry, then: Option<Then>) -> bool {
        let waiting = &*self.0.0;
        let mut line = waiting.line();
        // Counted before it can be taken: whoever reads the count finds this entry at that number or before it.
        waiting.told.fetch_add(1, Ordering::AcqRel);
        if line.is_deaf {
            return false;
        }
        let hurries = then.is_some() && !line.is_awaited;
        line.told.push_back(Told { entry, then });
        if hurries {
            line.is_awaited = true;
            line.wake();
        }
        true
    }

    /// Whether another attempt may be held: false while too much waits to be written.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting() < MOST_WAITING
    }

    /// Entries that wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let (written, told) = (self.written(), self.told());
        usize::try_from(told.saturating_sub(written)).unwrap_or(usize::MAX)
    }

    /// Entries that were told. Once so many are [`written`](Self::written), all of those are on disk.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.0.0.told.load(Ordering::Acquire)
    }

    /// Entries that are on disk, of all that were told.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.0.written.load(Ordering::Acquire)
    }
}

impl Drop for Tellers {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.is_closed = true;
        line.wake();
    }
}

impl LedgerInbox {
    /// Puts everything that waits behind `into`. The thread that asks is unparked when something is told that somebody waits for.
    pub fn take(&self, into: &mut VecDeque<Told>) -> Taken {
        let mut line = self.0.line();
        if line.reader.is_none() {
            line.reader = Some(thread::current());
        }
        if into.is_empty() {
            std::mem::swap(into, &mut line.told);
        } else {
            into.append(&mut line.told);
        }
        Taken { is_awaited: std::mem::take(&mut line.is_awaited), is_last: line.is_closed }
    }

    /// So many entries are on disk, and no longer wait.
    pub fn written(&self, entries: usize) {
        self.0.written.fetch_add(entries as u64, Ordering::AcqRel);
    }
}

impl Drop for LedgerInbox {
    fn drop(&mut self) {
        let left = {
            let mut line = self.0.line();
            line.is_deaf = true;
            std::mem::take(&mut line.told)
        };
        left.into_iter().filter_map(|told| told.then).for_each(|then| then(Err(NotWritten("its writer has ended".into()))));
    }
}

impl Waiting {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn wake(&self) {
        if let Some(reader) = &self.reader {
            reader.unpark();
        }
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn nothing() -> Entry {
        Entry::Granted(Vec::new())
    }

    fn answers() -> (Option<Then>, mpsc::Receiver<Result<(), NotWritten>>) {
        let (tx, rx) = mpsc::channel();
        (Some(Box::new(move |result| tx.send(result).unwrap())), rx)
    }

    #[test]
    fn entries_come_in_order_and_count_until_they_are_written() {
        let (queue, inbox) = LedgerQueue::new();
        let mut taken = VecDeque::new();
        assert!(queue.tell(nothing(), None));
        assert_eq!(inbox.take(&mut taken), Taken { is_awaited: false, is_last: false });
        let (then, _rx) = answers();
        assert!(queue.tell(nothing(), then));
        assert_eq!(inbox.take(&mut taken), Taken { is_awaited: true, is_last: false });
        assert_eq!(taken.iter().map(|told| told.then.is_some()).collect::<Vec<_>>(), [false, true]);
        assert_eq!((queue.told(), queue.written(), queue.waiting()), (2, 0, 2));
        inbox.written(2);
        assert_eq!((queue.written(), queue.waiting()), (2, 0));
        drop(queue);
        assert_eq!(inbox.take(&mut taken), Taken { is_awaited: false, is_last: true });
    }

    #[test]
    fn who_waits_learns_that_nobody_writes() {
        let (queue, inbox) = LedgerQueue::new();
        let (then, waiting) = answers();
        assert!(queue.tell(nothing(), then));
        drop(inbox);
        assert!(waiting.try_recv().unwrap().is_err());
        let (then, late) = answers();
        assert!(!queue.tell(nothing(), then));
        assert_eq!(late.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn an_awaited_entry_wakes_the_writer() {
        let (queue, inbox) = LedgerQueue::new();
        let (tx, rx) = mpsc::channel();
        thread::spawn(move || {
            let mut taken = VecDeque::new();
            while inbox.take(&mut taken).is_awaited || taken.is_empty() {
                tx.send(taken.len()).unwrap();
                thread::park();
            }
        });
        let longest = Duration::from_secs(20);
        assert_eq!(rx.recv_timeout(longest), Ok(0));
        let (then, _rx) = answers();
        assert!(queue.tell(nothing(), then));
        assert_eq!(rx.recv_timeout(longest), Ok(1));
    }
}
