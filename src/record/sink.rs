//! Records on their way out: lines of JSON that gather in memory, and a thread that writes them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use memchr::{memchr_iter, memrchr};

use super::{Record, line};

/// Lines that may wait. What comes beyond is dropped and counted.
const WAITING: u64 = 100_000;
/// About so many bytes are written at once, always whole lines.
const BATCH: usize = 64 * 1024;
/// How long the thread lets lines gather while they keep coming: nobody pays for waking it.
const GATHER: Duration = Duration::from_millis(250);
/// The same behind a batch or more.
const NAP: Duration = Duration::from_millis(50);
/// After so many empty rounds it sleeps until it is woken.
const EMPTY_ROUNDS: u32 = 4;

thread_local! {
    /// The line that is being made. Whoever hands a record over makes its line: sent as they are, its parts would be freed by another
    /// thread than made them, which costs both more than the writing.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where records go. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Sink(Arc<Tellers>);

/// All who hand records over. Dropped with the last of them.
#[derive(Debug)]
struct Tellers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    count: u64,
    is_closed: bool,
    /// Who writes, while it sleeps until it is woken.
    sleeper: Option<Thread>,
}

impl Sink {
    /// Starts the thread that writes to `writer`.
    pub fn to(writer: impl Write + Send + 'static) -> (Self, SinkThread) {
        let (done_tx, done) = channel();
        let shared = Arc::<Shared>::default();
        let thread = Lines { writer, shared: Arc::clone(&shared), is_broken: false };
        let handle = std::thread::spawn(move || {
            // Hung up when the thread is through, whichever way.
            let _done: Sender<Infallible> = done_tx;
            thread.run();
        });
        let sink = Self(Arc::new(Tellers(shared)));
        (sink.clone(), SinkThread { sink, handle, done })
    }

    /// Hands a record over. Never waits for the writer: when too much waits, or the queue is closed, the record is dropped and counted.
    pub fn write(&self, record: &Record) {
        let shared = &*self.0.0;
        let is_taken = LINE.with_borrow_mut(|line| {
            line.clear();
            line::write(record, line);
            shared.take(line)
        });
        if !is_taken {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records lost so far: the queue was full or closed, or the writer failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.0.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Tellers {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Shared {
    /// Puts a line behind those that wait; false where there is no room for it.
    fn take(&self, line: &[u8]) -> bool {
        let mut waiting = self.waiting();
        if waiting.is_closed || waiting.count >= WAITING {
            return false;
        }
        waiting.lines.extend_from_slice(line);
        waiting.lines.push(b'\n');
        waiting.count += 1;
        waiting.wake();
        true
    }

    /// Takes no more lines.
    fn close(&self) {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        waiting.wake();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn wake(&mut self) {
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.unpark();
        }
    }
}

/// The writing thread. It ends when it is told to, or when it and every [`Sink`] are dropped.
#[derive(Debug)]
pub struct SinkThread {
    sink: Sink,
    handle: JoinHandle<()>,
    done: Receiver<Infallible>,
}

impl SinkThread {
    /// Takes no more records and waits until all that came before are written, at most `within`. False: the writer still hangs.
    /// Blocks the calling thread.
    #[must_use]
    pub fn finish(self, within: Duration) -> bool {
        self.sink.0.0.close();
        self.handle.thread().unpark();
        self.done.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }
}

/// The thread's own part.
struct Lines<W> {
    writer: W,
    shared: Arc<Shared>,
    /// The last write failed, perhaps within a line.
    is_broken: bool,
}

impl<W: Write> Lines<W> {
    fn run(mut self) {
        let (mut lines, mut empty) = (Vec::new(), 0);
        loop {
            let (is_closed, sleeps) = {
                let mut waiting = self.shared.waiting();
                std::mem::swap(&mut lines, &mut waiting.lines);
                waiting.count = 0;
                empty = if lines.is_empty() { empty + 1 } else { 0 };
                let sleeps = empty > EMPTY_ROUNDS && !waiting.is_closed;
                waiting.sleeper = sleeps.then(std::thread::current);
                (waiting.is_closed, sleeps)
            };
            if lines.is_empty() && is_closed {
                return;
            }
            self.write(&lines);
            let nap = if lines.len() >= BATCH { NAP } else { GATHER };
            lines.clear();
            // What a writer that hung let gather.
            lines.shrink_to(16 * BATCH);
            if sleeps {
                std::thread::park();
            } else if !is_closed {
                std::thread::park_timeout(nap);
            }
        }
    }

    fn write(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let most = lines.len().min(BATCH);
            let end = memrchr(b'\n', &lines[..most]).or_else(|| memchr_iter(b'\n', lines).next()).map_or(lines.len(), |at| at + 1);
            let (batch, rest) = lines.split_at(end);
            if let Err(error) = self.send(batch) {
                self.shared.dropped.fetch_add(memchr_iter(b'\n', batch).count() as u64, Ordering::Relaxed);
                if !self.is_broken {
                    tracing::warn!(%error, "records cannot be written");
                }
                self.is_broken = true;
            } else {
                self.is_broken = false;
            }
            lines = rest;
        }
    }

    fn send(&mut self, batch: &[u8]) -> std::io::Result<()> {
        if self.is_broken {
            // Ends the line that the failure may have cut.
            self.writer.write_all(b"\n")?;
        }
        self.writer.write_all(batch)?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::super::tests::record;
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Each write first waits to be told whether it may go on or must fail; once nobody is left to tell, all go on.
    struct Gated(Written, mpsc::Receiver<io::Result<()>>);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.recv().unwrap_or(Ok(()))?;
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ids(written: &Written) -> Vec<String> {
        let bytes = written.0.lock().unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_record_is_one_line_in_order() {
        let written = Written::default();
        let (sink, thread) = Sink::to(written.clone());
        for number in 0..1_000 {
            sink.write(&record(&number.to_string()));
        }
        assert!(thread.finish(LONG));
        assert_eq!(ids(&written), (0..1_000).map(|number: i32| number.to_string()).collect::<Vec<_>>());
        assert_eq!(sink.dropped(), 0);
        sink.write(&record("late"));
        assert_eq!(sink.dropped(), 1);
    }

    #[test]
    fn l23_a_blocked_writer_blocks_nobody() {
        let (written, (gate, asked)) = (Written::default(), mpsc::channel());
        let (sink, thread) = Sink::to(Gated(written.clone(), asked));
        let too_many = WAITING + 5_000;
        for _ in 0..too_many {
            sink.write(&record("x"));
        }
        let dropped = sink.dropped();
        assert!(dropped > 0 && dropped <= 5_000, "{dropped}");
        drop(gate);
        assert!(thread.finish(LONG));
        assert_eq!(u64::try_from(ids(&written).len()).unwrap() + sink.dropped(), too_many);
    }

    #[test]
    fn a_writer_that_hangs_does_not_hang_the_end() {
        let (gate, asked) = mpsc::channel();
        let (sink, thread) = Sink::to(Gated(Written::default(), asked));
        sink.write(&record("x"));
        assert!(!thread.finish(Duration::from_millis(50)));
        drop(gate);
    }

    #[test]
    fn a_failed_write_is_counted_and_the_next_line_stands_alone() {
        let (written, (gate, asked)) = (Written::default(), mpsc::channel());
        let (sink, thread) = Sink::to(Gated(written.clone(), asked));
        sink.write(&record("lost"));
        gate.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        while sink.dropped() == 0 {
            std::thread::yield_now();
        }
        sink.write(&record("kept"));
        drop(gate);
        assert!(thread.finish(LONG));
        assert_eq!((ids(&written), sink.dropped()), (vec!["kept".to_owned()], 1));
        assert!(written.0.lock().unwrap().starts_with(b"\n"));
    }

    #[test]
    fn the_thread_ends_with_the_last_sink() {
        let written = Written::default();
        let (sink, thread) = Sink::to(written.clone());
        sink.write(&record("x"));
        let SinkThread { sink: own, handle, .. } = thread;
        drop((sink, own));
        handle.thread().unpark();
        handle.join().unwrap();
        assert_eq!(ids(&written), ["x"]);
    }
}
