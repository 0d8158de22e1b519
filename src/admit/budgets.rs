//! All money that runs, behind one short lock, and the way to the ledger.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::book::{AccountId, Book, Crossed, Denied, Now, Standing, Tell};
use super::meters::Meter;
use super::purse::{OwnBudget, Purse};
use super::queue::Queue;
use super::steps::lock;
use super::timekeeper::Timekeeper;
use crate::config::{Budget, Caller, HoldFor, LedgerSettings};
use crate::units::{
    AdjustedEntry, AttemptId, BudgetName, Clock, DisputeClass, DisputeId, Disputed, Entry, LedgerQueue, NotWritten, Period, Remembered,
    RememberedDispute, ResolvedEntry, TargetName, Usd, WindowKey,
};

/// How long a cancelled attempt's rest stays disputed.
const CANCELLED_FOR: Duration = Duration::from_mins(15);
/// Events that may wait for whoever alerts; what is above is counted.
const MOST_EVENTS: usize = 1_024;

/// Every running counter of money. It outlives rule sets; what it says is what the ledger will say.
#[derive(Clone, Debug)]
pub struct Budgets(Arc<Shared>);

pub(super) struct Shared {
    state: Mutex<State>,
    clock: Clock,
    /// Absent: nothing is written down, and every grant is given (questions about a file).
    queue: Option<LedgerQueue>,
    epoch: u64,
    next: AtomicU64,
    /// Rung when a grant has become durable, or could not be.
    pub(super) granted: Notify,
    /// What may still be spent without a row, in nano-dollars, where the ledger takes none.
    unrecorded: AtomicU64,
    events: mpsc::Sender<MoneyEvent>,
    listener: Mutex<Option<mpsc::Receiver<MoneyEvent>>>,
}

#[derive(Debug)]
pub(super) struct State {
    book: Book,
    time: Timekeeper,
    lines: Vec<Arc<Queue<()>>>,
    paces: BTreeMap<BudgetName, Arc<Meter>>,
    settings: LedgerSettings,
    /// The last grant could not be made durable.
    is_failing: bool,
    /// Posted above holds, in all.
    overrun: Usd,
}

/// Something about money that people want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoneyEvent {
    /// More than one of `warn_at` is used.
    Crossed(Crossed),
    /// A request was refused because a cap leaves too little.
    Refused { budget: BudgetName, period: Period, cap: Usd, used: Usd },
    /// Money that may have been spent.
    Disputed { target: TargetName, class: DisputeClass, amount: Usd },
    /// A provider billed more than was held.
    Overrun { target: TargetName, amount: Usd },
}

/// One window of one budget, for status and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetLevel {
    pub key: WindowKey,
    pub cap: Usd,
    pub posted: Usd,
    pub held: Usd,
    pub disputed: Usd,
    pub granted: Usd,
}

/// An open dispute, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDispute {
    pub id: DisputeId,
    pub class: DisputeClass,
    pub amount: Usd,
    pub until: Option<Timestamp>,
    pub windows: Vec<WindowKey>,
}

impl Budgets {
    /// Goes on where the ledger says that the last run ended.
    #[must_use]
    pub fn new(clock: Clock, queue: LedgerQueue, remembered: &Remembered) -> Self {
        Self::build(clock, Some(queue), remembered)
    }

    /// Without a ledger: everything fits as it would, and nothing is written down.
    #[must_use]
    pub fn offline(clock: Clock) -> Self {
        Self::build(clock, None, &Remembered::default())
    }

    fn build(clock: Clock, queue: Option<LedgerQueue>, remembered: &Remembered) -> Self {
        let mut book = Book::default();
        book.remember(remembered);
        let state = State {
            book,
            time: Timekeeper::new(clock.wall(), clock.now()),
            lines: Vec::new(),
            paces: BTreeMap::new(),
            settings: LedgerSettings::default(),
            is_failing: false,
            overrun: Usd::ZERO,
        };
        let (events, listener) = mpsc::channel(MOST_EVENTS);
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            clock,
            queue,
            epoch: remembered.epoch,
            next: AtomicU64::new(1),
            granted: Notify::new(),
            unrecorded: AtomicU64::new(0),
            events,
            listener: Mutex::new(Some(listener)),
        }))
    }

    /// The budgets of a new file. What was counted stays counted, whatever the file before said.
    #[must_use]
    pub fn adopt(&self, budgets: &[Budget], callers: &[Caller], settings: &LedgerSettings) -> Purse {
        let own = self.0.with(|state, now| {
            state.settings = settings.clone();
            let adopted: Vec<Vec<AccountId>> = budgets.iter().map(|budget| state.book.adopt(budget, now.wall)).collect();
            let most = adopted.iter().flatten().max().map_or(0, |id| id + 1);
            state.lines.resize_with(state.lines.len().max(most), Arc::default);
            for line in &state.lines {
                // A raised cap may let in who waits.
                line.wake();
            }
            let own = budgets.iter().cloned().zip(adopted).map(|(budget, accounts)| {
                let meter = Arc::clone(state.paces.entry(budget.name.clone()).or_default());
                let pace = meter.adopt(budget.pace, &self.0.clock).map(|limit| (meter, limit));
                let names = budget.covers.callers.as_ref().map(|of| of.iter().map(|index| callers[*index].name.clone()).collect());
                OwnBudget::new(budget, accounts, names, pace)
            });
            own.collect()
        });
        Purse::new(Arc::clone(&self.0), own, settings.clone())
    }

    /// Takes up caps that files before this start had: the next file that has their budgets with other periods exchanges them.
    pub fn had(&self, budgets: &[Budget]) {
        self.0.with(|state, now| {
            for budget in budgets {
                state.book.adopt(budget, now.wall);
            }
        });
    }

    /// Ends a dispute as an operator knows it: `posted` of it was billed. Nothing where it is not open.
    #[must_use]
    pub fn resolve(&self, id: &DisputeId, posted: Usd, reason: &Arc<str>) -> Option<ResolvedEntry> {
        let resolved = self.0.with(|state, now| state.book.resolve(id, posted, now.wall, reason));
        self.0.wake_all();
        resolved
    }

    /// Corrects what was posted in a window that runs; false where there is none.
    #[must_use]
    pub fn adjust(&self, entry: AdjustedEntry) -> bool {
        let is_done = self.0.with(|state, _| state.book.adjust(entry));
        self.0.wake_all();
        is_done
    }

    /// Believes the wall clock, however far it has jumped.
    pub fn accept_clock(&self) {
        let (wall, at) = (self.0.clock.wall(), self.0.clock.now());
        self.0.lock().time.accept(wall, at);
    }

    /// Disputes of earlier runs that the start did not wait for.
    pub fn remember(&self, disputes: &[RememberedDispute]) {
        self.0.with(|state, _| state.book.remember_disputes(disputes));
    }

    /// How many disputes are open.
    #[must_use]
    pub fn open_disputes(&self) -> usize {
        self.0.lock().book.disputes().len()
    }

    #[must_use]
    pub fn disputes(&self) -> Vec<OpenDispute> {
        self.0.with(|state, _| {
            let book = &state.book;
            let open = book.disputes().map(|(id, dispute)| OpenDispute {
                id: id.clone(),
                class: dispute.class,
                amount: dispute.amount,
                until: dispute.until,
                windows: book.windows_of(dispute),
            });
            open.collect()
        })
    }

    /// What providers billed above what was held for it, since the start.
    #[must_use]
    pub fn overrun(&self) -> Usd {
        self.0.lock().overrun
    }

    /// Attempts in flight.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.0.lock().book.open_holds()
    }

    /// Where events about money come out; once.
    #[must_use]
    pub fn events(&self) -> Option<mpsc::Receiver<MoneyEvent>> {
        lock(&self.0.listener).take()
    }

    /// Entries that wait for the ledger's writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.queue.as_ref().map_or(0, LedgerQueue::waiting)
    }

    /// Waits until everything told so far is safe on disk; false where that cannot be.
    pub async fn on_disk(&self) -> bool {
        let Some(queue) = &self.0.queue else { return true };
        let (written, answer) = tokio::sync::oneshot::channel();
        // Nothing is granted by it: it only stands behind what was told.
        queue.tell(Entry::Granted(Vec::new()), Some(Box::new(move |result| drop(written.send(result)))));
        queue.hurry();
        matches!(answer.await, Ok(Ok(())))
    }

    /// What time alone brings: disputes whose time is over, grants that are far ahead. To be called a few times a second.
    pub fn tend(&self) {
        self.0.with(|state, now| state.book.expire(now.wall));
    }

    /// Gives unused grants back, before a clean stop.
    pub fn close(&self) {
        self.0.with(|state, _| state.book.give_back());
    }

    /// An entry that moves no money: how a request ended.
    pub fn note(&self, entry: Entry) {
        if let Some(queue) = &self.0.queue
            && queue.has_room()
        {
            queue.tell(entry, None);
        }
    }
}

impl Shared {
    /// Runs `act` under the lock, then tells the ledger what came of it, in order.
    pub(super) fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut State, Now) -> T) -> T {
        let (wall, at) = (self.clock.wall(), self.clock.now());
        let mut state = self.lock();
        let now = state.time.read(wall, at);
        if let Some(queue) = &self.queue {
            state.book.written(queue.written(), at);
        }
        let done = act(&mut state, now);
        for tell in state.book.take_told() {
            self.tell(&mut state, tell);
        }
        if let Some(queue) = &self.queue {
            state.book.told(queue.told());
        }
        done
    }

    fn tell(self: &Arc<Self>, state: &mut State, Tell { entry, raise }: Tell) {
        let Some(queue) = &self.queue else {
            // Where nothing is written, every grant is as good as written.
            if let Some(raise) = raise {
                let at = self.clock.now();
                state.book.granted(raise, true, at);
            }
            return;
        };
        let Some(raise) = raise else {
            queue.tell(entry, None);
            return;
        };
        let shared = Arc::clone(self);
        let then = Box::new(move |written: Result<(), NotWritten>| shared.answered(raise, &written));
        if !queue.tell(entry, Some(then)) {
            state.is_failing = true;
            let at = self.clock.now();
            state.book.granted(raise, false, at);
        }
    }

    /// A request stands still until a grant is durable. Others that are asked for while there is something left of the last wait until the
    /// writer looks: it would take the processor from the very request that has asked.
    pub(super) fn hurry(&self) {
        if let Some(queue) = &self.queue {
            queue.hurry();
        }
    }

    /// The ledger's writer says what became of a grant.
    fn answered(self: &Arc<Self>, raise: super::book::Raise, written: &Result<(), NotWritten>) {
        if let Err(error) = written {
            tracing::error!(%error, "a grant could not be made durable");
        }
        self.with(|state, now| {
            state.is_failing = written.is_err();
            state.book.granted(raise, written.is_ok(), now.at);
        });
        self.granted.notify_waiters();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn next_id(&self) -> AttemptId {
        AttemptId { epoch: self.epoch, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn queue(&self) -> Option<&LedgerQueue> {
        self.queue.as_ref()
    }

    /// Whether another attempt's rows can be taken. Where no hard budget looks, a little may go without.
    pub(super) fn takes_rows(&self, is_hard: bool, amount: Usd, most: Usd) -> bool {
        let Some(queue) = &self.queue else { return true };
        if queue.has_room() {
            return true;
        }
        let within = |spent: u64| Some(spent.saturating_add(amount.nano())).filter(|sum| *sum <= most.nano());
        !is_hard && self.unrecorded.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    pub(super) fn line(&self, account: AccountId) -> Arc<Queue<()>> {
        Arc::clone(&self.lock().lines[account])
    }

    fn wake_all(&self) {
        for line in &self.lock().lines {
            line.wake();
        }
    }

    pub(super) fn happened(&self, event: MoneyEvent) {
        static FULL: OnceLock<()> = OnceLock::new();
        if self.events.try_send(event).is_err() && self.queue.is_some() {
            FULL.get_or_init(|| tracing::warn!("more happens to money than alerts are taken for; some are left out"));
        }
    }
}

impl State {
    pub(super) fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    /// Whether somebody waits already for one of these, whom nobody may pass but the one who has the turn there.
    pub(super) fn blocked(&self, accounts: &[AccountId], turn: Option<AccountId>) -> Option<AccountId> {
        accounts.iter().copied().find(|account| Some(*account) != turn && self.lines[*account].blocked().is_some())
    }

    pub(super) fn wake(&self, accounts: &[AccountId]) {
        for account in accounts {
            self.lines[*account].wake();
        }
    }

    pub(super) fn add_overrun(&mut self, amount: Usd) {
        self.overrun = self.overrun.plus(amount);
    }

    /// Until when a dispute of that class counts; nothing: until its windows end.
    pub(super) fn disputed(&self, class: DisputeClass, amount: Usd, wall: Timestamp) -> Disputed {
        let hold_for = match (self.settings.hold_for, class) {
            (HoldFor::Window, _) => None,
            (HoldFor::For(_), DisputeClass::Cancelled) => Some(CANCELLED_FOR),
            (HoldFor::For(longest), DisputeClass::Ambiguous | DisputeClass::Crash) => Some(longest),
        };
        let until = hold_for.map(|hold_for| wall.saturating_add(hold_for).unwrap_or(Timestamp::MAX));
        Disputed { class, amount, until }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }
}

impl BudgetLevel {
    /// What is left beside all that is spent, held and disputed.
    #[must_use]
    pub fn rest(&self) -> Usd {
        self.cap.minus(self.posted).minus(self.held).minus(self.disputed)
    }
}

impl From<Standing> for BudgetLevel {
    fn from(Standing { key, cap, posted, held, disputed, granted }: Standing) -> Self {
        Self { key, cap, posted, held, disputed, granted }
    }
}

impl Denied {
    /// The account that says no.
    pub(super) fn account(self) -> Option<AccountId> {
        match self {
            Self::Exceeded { account, .. } | Self::Busy { account, .. } | Self::ClockSuspect { account } => Some(account),
            Self::NotGranted => None,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
