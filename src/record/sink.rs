//! Records on their way out: a bounded queue, and a thread that writes JSON lines in batches.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Record;

/// Records that may wait. What comes beyond is dropped and counted.
const WAITING: u64 = 100_000;
/// A batch is written when it has so many bytes, or when nothing more waits.
const BATCH: usize = 64 * 1024;
/// How long the thread lets records gather while they keep coming: nobody pays for waking it.
const GATHER: Duration = Duration::from_millis(20);
/// After so many empty rounds it sleeps until it is woken.
const EMPTY_ROUNDS: u32 = 50;

/// Where records go. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Sink {
    tx: Sender<Message>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: AtomicU64,
    dropped: AtomicU64,
    is_closed: AtomicBool,
}

#[derive(Debug)]
enum Message {
    Record(Box<Record>),
    Stop,
}

impl Sink {
    /// Starts the thread that writes to `writer`.
    pub fn to(writer: impl Write + Send + 'static) -> (Self, SinkThread) {
        let (tx, rx) = channel();
        let (done_tx, done) = channel();
        let state = Arc::<State>::default();
        let thread = Lines { writer, rx, state: Arc::clone(&state), batch: Vec::with_capacity(BATCH), in_batch: 0, is_broken: false };
        let handle = std::thread::spawn(move || {
            // Hung up when the thread is through, whichever way.
            let _done: Sender<Infallible> = done_tx;
            thread.run();
        });
        let sink = Self { tx, state };
        (sink.clone(), SinkThread { sink, handle, done })
    }

    /// Hands a record over. Never blocks: when the queue is full, or closed, the record is dropped and counted.
    pub fn write(&self, record: Box<Record>) {
        let is_full = self.state.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING;
        if is_full || self.state.is_closed.load(Ordering::Acquire) || self.tx.send(Message::Record(record)).is_err() {
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records lost so far: the queue was full or closed, or the writer failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
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
        self.sink.state.is_closed.store(true, Ordering::Release);
        // A thread that is gone has nothing left to write.
        let is_running = self.sink.tx.send(Message::Stop).is_ok();
        self.handle.thread().unpark();
        !is_running || self.done.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }
}

/// The thread's own part.
struct Lines<W> {
    writer: W,
    rx: Receiver<Message>,
    state: Arc<State>,
    batch: Vec<u8>,
    in_batch: u64,
    /// The last write failed, perhaps within a line.
    is_broken: bool,
}

impl<W: Write> Lines<W> {
    fn run(mut self) {
        let mut empty = 0;
        loop {
            let next = if empty < EMPTY_ROUNDS {
                self.rx.try_recv()
            } else {
                // All lines are out already, so sleeping keeps nothing back.
                self.rx.recv().map_err(|_| TryRecvError::Disconnected)
            };
            match next {
                Ok(Message::Record(record)) => {
                    empty = 0;
                    self.state.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.add(&record);
                }
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    empty += 1;
                    self.write();
                    std::thread::park_timeout(GATHER);
                }
            }
        }
        self.write();
    }

    fn add(&mut self, record: &Record) {
        let length = self.batch.len();
        if serde_json::to_writer(&mut self.batch, record).is_err() {
            self.batch.truncate(length);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.batch.push(b'\n');
        self.in_batch += 1;
        if self.batch.len() >= BATCH {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.in_batch == 0 {
            return;
        }
        if let Err(error) = self.send() {
            self.state.dropped.fetch_add(self.in_batch, Ordering::Relaxed);
            if !self.is_broken {
                tracing::warn!(%error, "records cannot be written");
            }
            self.is_broken = true;
        } else {
            self.is_broken = false;
        }
        self.batch.clear();
        self.in_batch = 0;
    }

    fn send(&mut self) -> std::io::Result<()> {
        if self.is_broken {
            // Ends the line that the failure may have cut.
            self.writer.write_all(b"\n")?;
        }
        self.writer.write_all(&self.batch)?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, mpsc};

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
            sink.write(record(&number.to_string()));
        }
        assert!(thread.finish(LONG));
        assert_eq!(ids(&written), (0..1_000).map(|number: i32| number.to_string()).collect::<Vec<_>>());
        assert_eq!(sink.dropped(), 0);
        sink.write(record("late"));
        assert_eq!(sink.dropped(), 1);
    }

    #[test]
    fn l23_a_blocked_writer_blocks_nobody() {
        let (written, (gate, asked)) = (Written::default(), mpsc::channel());
        let (sink, thread) = Sink::to(Gated(written.clone(), asked));
        let too_many = WAITING + 5_000;
        for _ in 0..too_many {
            sink.write(record("x"));
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
        sink.write(record("x"));
        assert!(!thread.finish(Duration::from_millis(50)));
        drop(gate);
    }

    #[test]
    fn a_failed_write_is_counted_and_the_next_line_stands_alone() {
        let (written, (gate, asked)) = (Written::default(), mpsc::channel());
        let (sink, thread) = Sink::to(Gated(written.clone(), asked));
        sink.write(record("lost"));
        gate.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        while sink.dropped() == 0 {
            std::thread::yield_now();
        }
        sink.write(record("kept"));
        drop(gate);
        assert!(thread.finish(LONG));
        assert_eq!((ids(&written), sink.dropped()), (vec!["kept".to_owned()], 1));
        assert!(written.0.lock().unwrap().starts_with(b"\n"));
    }

    #[test]
    fn the_thread_ends_with_the_last_sink() {
        let written = Written::default();
        let (sink, thread) = Sink::to(written.clone());
        sink.write(record("x"));
        let SinkThread { sink: own, handle, .. } = thread;
        drop((sink, own));
        handle.thread().unpark();
        handle.join().unwrap();
        assert_eq!(ids(&written), ["x"]);
    }
}
