//! The way from many threads to the one that writes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use super::Entry;

/// How many entries may wait to be written. New holds are refused above it; what ends an attempt is always taken.
pub const MOST_WAITING: usize = 100_000;

/// So many wake the writer: by the time that it would look by itself there could be no room.
const MANY: usize = MOST_WAITING / 10;

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

    /// Takes the entry. False where nobody writes any more: the entry is lost, and `then` is dropped without a call. The writer comes to
    /// an entry with a `then` when it next looks, within a quarter of a second: who cannot wait so long [`hurry`](Self::hurry)s it.
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
        line.is_awaited |= then.is_some();
        line.told.push_back(Told { entry, then });
        if line.told.len() == MANY {
            line.wake();
        }
        true
    }

    /// Wakes the writer: somebody stands still until what was told is on disk.
    pub fn hurry(&self) {
        self.0.0.line().wake();
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
    /// Puts everything that waits behind `into`. The thread that asks is unparked when somebody hurries it.
    pub fn take(&self, into: &mut VecDeque<Told>) -> Taken {
        let mut line = self.0.line();
        if line.reader.is_none() {
            line.reader = Some(thread::current());
        }
        // Of what stands there and what is told, the less is moved: whoever tells something waits meanwhile.
        if into.len() < line.told.len() {
            std::mem::swap(into, &mut line.told);
            while let Some(told) = line.told.pop_back() {
                into.push_front(told);
            }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::units::BudgetName;

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
    fn what_is_taken_stands_behind_what_was_taken_before() {
        let (queue, inbox) = LedgerQueue::new();
        let mut taken = VecDeque::new();
        let renamed = |number: u64| Entry::Renamed {
            was: BudgetName::parse("was").unwrap(),
            name: BudgetName::parse(&format!("b{number}")).unwrap(),
        };
        let mut number = 0;
        // More than there are, fewer, and as many.
        for count in [2, 3, 1, 6, 0, 12, 30] {
            for _ in 0..count {
                queue.tell(renamed(number), None);
                number += 1;
            }
            inbox.take(&mut taken);
            let names =
                taken.iter().map(|told| if let Entry::Renamed { name, .. } = &told.entry { name.to_string() } else { String::new() });
            assert!(names.eq((0..number).map(|number| format!("b{number}"))), "{taken:?}");
        }
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

    const LONGEST: Duration = Duration::from_secs(20);

    /// A writer that looks once, and again whenever it is woken: how many entries it found each time.
    fn looks(inbox: LedgerInbox) -> mpsc::Receiver<usize> {
        let (tx, rx) = mpsc::channel();
        thread::spawn(move || {
            let mut taken = VecDeque::new();
            loop {
                let is_last = inbox.take(&mut taken).is_last;
                if tx.send(taken.len()).is_err() || is_last {
                    return;
                }
                thread::park();
            }
        });
        assert_eq!(rx.recv_timeout(LONGEST), Ok(0));
        rx
    }

    #[test]
    fn who_stands_still_wakes_the_writer() {
        let (queue, inbox) = LedgerQueue::new();
        let looks = looks(inbox);
        let (then, _rx) = answers();
        assert!(queue.tell(nothing(), then));
        queue.hurry();
        assert_eq!(looks.recv_timeout(LONGEST), Ok(1));
    }

    #[test]
    fn many_entries_wake_the_writer() {
        let (queue, inbox) = LedgerQueue::new();
        let looks = looks(inbox);
        for _ in 0..MANY {
            assert!(queue.tell(nothing(), None));
        }
        assert_eq!(looks.recv_timeout(LONGEST), Ok(MANY));
    }
}
