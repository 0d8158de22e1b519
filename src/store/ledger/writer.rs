//! The thread that writes: it gathers entries, commits them together, and goes on when the disk does.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::books::Entered;
use super::{Ledger, LedgerError};
use crate::units::{Clock, Heartbeat, LedgerInbox, Moment, NotWritten, Told};

/// Entries of one commit.
const MOST: usize = 4_096;
/// How often new entries are looked for while they keep coming, so that nobody pays for waking the thread.
const LOOK: Duration = Duration::from_millis(2);
/// So many looks let entries gather that nobody waits for; after as many in vain the thread sleeps until it is woken.
const LOOKS: u32 = 10;
/// The longest sleep.
const NAP: Duration = Duration::from_millis(50);
/// The waits between two tries grow from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(4);
/// Who waits for a commit is told after so long that it fails. The entry itself waits on.
const PATIENCE: Duration = Duration::from_secs(1);

/// How the writing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerState {
    Writing,
    /// The disk refuses; the words are the last error's. Entries wait.
    Failing(String),
    /// The file is no longer what was written, which no waiting mends: the thread has ended, and what was told is lost.
    Damaged(String),
    /// The thread has ended, as it was told or in a panic: what is told now is lost.
    Ended,
}

/// Looks at the writer from outside. Clones look at the same.
#[derive(Clone, Debug)]
pub struct LedgerWatch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<LedgerState>,
    last_commit_us: AtomicU64,
    written: AtomicU64,
    ignored: AtomicU64,
    heartbeat: Heartbeat,
}

impl LedgerWatch {
    #[must_use]
    pub fn state(&self) -> LedgerState {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long the last commit took. Zero before the first.
    #[must_use]
    pub fn last_commit(&self) -> Duration {
        Duration::from_micros(self.shared.last_commit_us.load(Ordering::Relaxed))
    }

    /// Entries that are safe on disk, of this run.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Entries that came twice, or were about nothing that is known.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.shared.ignored.load(Ordering::Relaxed)
    }

    /// Beats while the thread lives, at least twenty times a second but for the length of a commit.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.shared.heartbeat.clone()
    }
}

/// The writing thread.
#[derive(Debug)]
pub struct LedgerThread {
    watch: LedgerWatch,
    stop: Arc<AtomicBool>,
    handle: JoinHandle<bool>,
    done: Receiver<Infallible>,
}

impl LedgerThread {
    pub(super) fn start(ledger: Ledger, inbox: LedgerInbox) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(LedgerState::Writing),
            last_commit_us: AtomicU64::new(0),
            written: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            heartbeat: Heartbeat::default(),
        });
        let (watch, stop) = (LedgerWatch { shared: Arc::clone(&shared) }, Arc::<AtomicBool>::default());
        let (done_tx, done) = channel();
        let writer = Writer { ledger, inbox, shared, stop: Arc::clone(&stop), backlog: VecDeque::new(), is_closed: false };
        let handle = std::thread::spawn(move || {
            // Hung up when the thread is through, whichever way.
            let _done: Sender<Infallible> = done_tx;
            let _ended = Ended(Arc::clone(&writer.shared));
            writer.run()
        });
        Self { watch, stop, handle, done }
    }

    #[must_use]
    pub fn watch(&self) -> LedgerWatch {
        self.watch.clone()
    }

    /// Writes what was told so far, closes the file and waits for that, at most `within`. False: the disk did not take it.
    /// Blocks the calling thread.
    #[must_use]
    pub fn finish(self, within: Duration) -> bool {
        self.stop.store(true, Ordering::Release);
        let is_through = self.done.recv_timeout(within) == Err(RecvTimeoutError::Disconnected);
        is_through && self.handle.join().is_ok_and(|is_written| is_written)
    }
}

/// Tells that the thread is gone, in a panic too.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, LedgerState::Damaged(_)) {
            *state = LedgerState::Ended;
        }
    }
}

struct Writer {
    ledger: Ledger,
    inbox: LedgerInbox,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    /// Taken from the inbox while the disk refused.
    backlog: VecDeque<Told>,
    /// Nobody can tell anything any more.
    is_closed: bool,
}

impl Writer {
    /// Until it is told to stop and nothing waits, or nobody can tell anything any more. True when all is on disk.
    fn run(mut self) -> bool {
        let mut batch = Vec::new();
        let mut empty = 0;
        while !self.is_through() {
            self.shared.heartbeat.beat();
            self.gather(&mut batch, &mut empty);
            if !batch.is_empty() {
                if !self.put(&mut batch) {
                    return false;
                }
                empty = 0;
            }
        }
        match self.ledger.close() {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the ledger was not closed as it should be");
                false
            }
        }
    }

    fn is_through(&mut self) -> bool {
        if self.is_closed || self.stop.load(Ordering::Acquire) {
            // Whatever was told before the stop is taken along.
            self.backlog.extend(std::iter::from_fn(|| self.inbox.try_next()));
            return self.backlog.is_empty();
        }
        false
    }

    /// Takes what is to be written together: at once where somebody waits for it, otherwise after a while.
    fn gather(&mut self, batch: &mut Vec<Told>, empty: &mut u32) {
        if *empty >= LOOKS && self.backlog.is_empty() {
            match self.inbox.next(NAP) {
                Ok(told) => batch.push(told),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    self.is_closed = true;
                    return;
                }
            }
        }
        for _ in 0..LOOKS {
            let room = MOST.saturating_sub(batch.len());
            let next = || self.backlog.pop_front().or_else(|| self.inbox.try_next());
            batch.extend(std::iter::from_fn(next).take(room));
            let hurries = batch.len() >= MOST || batch.iter().any(|told| told.then.is_some()) || self.stop.load(Ordering::Acquire);
            if hurries {
                return;
            }
            if batch.is_empty() {
                *empty += 1;
            }
            if batch.is_empty() && *empty >= LOOKS {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Commits a batch, however long it takes. False: it never can be.
    fn put(&mut self, batch: &mut Vec<Told>) -> bool {
        let began = Clock::System.now();
        let mut wait = FIRST_WAIT;
        // A checkpoint that failed behind the last commit asks for new descriptors too.
        let mut failed = self.ledger.is_poisoned;
        let entered = loop {
            let tried = if failed { self.ledger.resume(batch.iter().map(|told| &told.entry)) } else { self.commit(batch) };
            match tried {
                Ok(entered) => break entered,
                Err(error) => {
                    if !failed || self.state_changes(&error) {
                        tracing::error!(%error, alert = error.alert(), "the ledger cannot be written, entries wait");
                    }
                    // Proved through new descriptors, and long enough for whatever heals by itself.
                    let is_lost = failed && error.is_damage() && Clock::System.now().since(began) >= PATIENCE;
                    failed = true;
                    self.set_state(LedgerState::Failing(error.to_string()));
                    self.wait(wait, began, batch, &error);
                    if is_lost {
                        self.set_state(LedgerState::Damaged(error.to_string()));
                        return false;
                    }
                    wait = (wait * 2).min(LAST_WAIT);
                }
            }
        };
        if failed {
            tracing::info!(entries = batch.len(), waiting = self.backlog.len(), "the ledger is written again");
            self.set_state(LedgerState::Writing);
        }
        self.tell(batch, &entered);
        true
    }

    fn commit(&mut self, batch: &[Told]) -> Result<Vec<Entered>, LedgerError> {
        let began = Clock::System.now();
        let entered = self.ledger.write(batch.iter().map(|told| &told.entry))?;
        let took = Clock::System.now().since(began);
        self.shared.last_commit_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(entered)
    }

    /// Tells who waits how it ended.
    fn tell(&mut self, batch: &mut Vec<Told>, entered: &[Entered]) {
        let count = batch.len();
        let mut ignored = 0;
        for (told, entered) in batch.drain(..).zip(entered) {
            let result = match entered {
                Entered::Refused(why) => Err(NotWritten((*why).to_owned())),
                Entered::Ignored => {
                    ignored += 1;
                    Ok(())
                }
                Entered::Yes => Ok(()),
            };
            if let Err(refused) = &result {
                tracing::error!(error = %refused, entry = ?told.entry, "an entry cannot be written");
            }
            if let Some(then) = told.then {
                then(result);
            }
        }
        if ignored > 0 {
            tracing::warn!(entries = ignored, "entries came twice, or are about nothing that is known");
        }
        self.shared.ignored.fetch_add(ignored, Ordering::Relaxed);
        self.shared.written.fetch_add(count as u64, Ordering::Relaxed);
        self.inbox.written(count);
    }

    /// Lets time pass, and tells those who have waited long enough that they wait in vain. What comes meanwhile is kept.
    fn wait(&mut self, long: Duration, began: Moment, batch: &mut [Told], error: &LedgerError) {
        let until = Clock::System.now().plus(long);
        while until.since(Clock::System.now()) > Duration::ZERO {
            std::thread::sleep(NAP.min(until.since(Clock::System.now())));
            self.shared.heartbeat.beat();
            self.backlog.extend(std::iter::from_fn(|| self.inbox.try_next()));
            if Clock::System.now().since(began) >= PATIENCE {
                let thens = batch.iter_mut().chain(&mut self.backlog).filter_map(|told| told.then.take());
                thens.for_each(|then| then(Err(NotWritten(error.to_string()))));
            }
        }
    }

    fn set_state(&self, state: LedgerState) {
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Whether this is another error than the last.
    fn state_changes(&self, error: &LedgerError) -> bool {
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) != LedgerState::Failing(error.to_string())
    }
}
