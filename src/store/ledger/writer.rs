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
use crate::units::{Clock, Entry, Heartbeat, LedgerInbox, Moment, NotWritten, Taken, Told};

/// Entries of one commit.
const MOST: usize = 4_096;
/// How long entries gather: nobody pays for waking the thread but who stands still until a commit, and each commit keeps a processor from
/// requests for some hundred microseconds, however few the entries are.
const GATHER: Duration = Duration::from_millis(250);
/// The same behind a commit of so many.
const NAP: Duration = Duration::from_millis(50);
const ENOUGH: usize = 512;
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
        let writer = Writer { ledger, inbox, shared, stop: Arc::clone(&stop), waiting: VecDeque::new(), is_closed: false };
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
        self.handle.thread().unpark();
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
    /// Taken from the inbox, and not on disk yet.
    waiting: VecDeque<Told>,
    /// Nobody can tell anything any more.
    is_closed: bool,
}

impl Writer {
    /// Until it is told to stop and nothing waits, or nobody can tell anything any more. True when all is on disk.
    fn run(mut self) -> bool {
        let (mut nap, mut has_slept) = (GATHER, false);
        loop {
            self.shared.heartbeat.beat();
            // Read before the inbox is: whatever was told before the stop is taken along.
            let stops = self.stop.load(Ordering::Acquire);
            let hurries = self.take() || stops || self.is_closed;
            if hurries && self.waiting.is_empty() {
                break;
            }
            let are_enough = self.waiting.len() >= ENOUGH;
            if hurries || are_enough || (has_slept && !self.waiting.is_empty()) {
                if !self.put() {
                    return false;
                }
                (nap, has_slept) = (if are_enough { NAP } else { GATHER }, false);
            } else {
                std::thread::park_timeout(nap);
                (nap, has_slept) = (GATHER, true);
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

    /// Takes what was told. True when somebody waits for some of it.
    fn take(&mut self) -> bool {
        let Taken { is_awaited, is_last } = self.inbox.take(&mut self.waiting);
        self.is_closed |= is_last;
        is_awaited
    }

    /// Commits the first of those that wait, however long it takes. False: it never can be.
    fn put(&mut self) -> bool {
        let began = Clock::System.now();
        let mut wait = FIRST_WAIT;
        let count = self.waiting.len().min(MOST);
        // A checkpoint that failed behind the last commit asks for new descriptors too.
        let mut failed = self.ledger.is_poisoned;
        let entered = loop {
            let entries = self.waiting.iter().take(count).map(|told| &told.entry);
            let tried = if failed { self.ledger.resume(entries) } else { commit(&mut self.ledger, &self.shared, entries) };
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
                    self.wait(wait, began, &error);
                    if is_lost {
                        self.set_state(LedgerState::Damaged(error.to_string()));
                        return false;
                    }
                    wait = (wait * 2).min(LAST_WAIT);
                }
            }
        };
        if failed {
            tracing::info!(entries = count, waiting = self.waiting.len() - count, "the ledger is written again");
            self.set_state(LedgerState::Writing);
        }
        self.tell(&entered);
        true
    }

    /// Tells who waits how it ended.
    fn tell(&mut self, entered: &[Entered]) {
        let mut ignored = 0;
        for (told, entered) in self.waiting.iter_mut().zip(entered) {
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
            if let Some(then) = told.then.take() {
                then(result);
            }
        }
        drop(self.waiting.drain(..entered.len()));
        if self.waiting.is_empty() {
            // What a long wait for the disk took.
            self.waiting.shrink_to(MOST);
        }
        if ignored > 0 {
            tracing::warn!(entries = ignored, "entries came twice, or are about nothing that is known");
        }
        self.shared.ignored.fetch_add(ignored, Ordering::Relaxed);
        self.shared.written.fetch_add(entered.len() as u64, Ordering::Relaxed);
        self.inbox.written(entered.len());
    }

    /// Lets time pass, and tells those who have waited long enough that they wait in vain. What comes meanwhile is kept.
    fn wait(&mut self, long: Duration, began: Moment, error: &LedgerError) {
        let until = Clock::System.now().plus(long);
        while until.since(Clock::System.now()) > Duration::ZERO {
            std::thread::sleep(NAP.min(until.since(Clock::System.now())));
            self.shared.heartbeat.beat();
            self.take();
            if Clock::System.now().since(began) >= PATIENCE {
                let thens = self.waiting.iter_mut().filter_map(|told| told.then.take());
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

fn commit<'e>(ledger: &mut Ledger, shared: &Shared, entries: impl Iterator<Item = &'e Entry>) -> Result<Vec<Entered>, LedgerError> {
    let began = Clock::System.now();
    let entered = ledger.write(entries)?;
    let took = Clock::System.now().since(began);
    shared.last_commit_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    Ok(entered)
}
