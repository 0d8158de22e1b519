use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

/// Lines that may wait. What comes beyond is dropped and counted.
const WAITING: usize = 8_192;

/// Log lines on their way to a thread that writes them, so that a reader who stands still holds nothing up.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    tx: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Answered when all lines before it are written.
    Flush(std::sync::mpsc::Sender<()>),
}

impl Queue {
    pub(super) fn to(writer: impl Write + Send + 'static) -> (Self, QueueThread) {
        let (tx, rx) = sync_channel(WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let count = Arc::clone(&dropped);
        std::thread::spawn(move || write_lines(writer, &rx, &count));
        (Self { tx: tx.clone(), dropped }, QueueThread(tx))
    }
}

/// Takes one line at a time, as the log writes them.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.tx.try_send(Message::Line(line.to_vec())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writing thread. It ends with the process.
#[derive(Debug)]
pub(super) struct QueueThread(SyncSender<Message>);

impl QueueThread {
    /// Waits until all lines so far are written, at most `within`.
    pub(super) fn finish(self, within: Duration) {
        let (done_tx, done) = channel();
        // A full queue means a reader who stands still: there is nothing to wait for.
        if self.0.try_send(Message::Flush(done_tx)).is_ok() {
            done.recv_timeout(within).ok();
        }
    }
}

fn write_lines(mut writer: impl Write, rx: &Receiver<Message>, dropped: &AtomicU64) {
    for message in rx {
        match message {
            // Nobody is left to be told of a log that cannot be written.
            Message::Line(line) => drop(writer.write_all(&line)),
            Message::Flush(done) => {
                writer.flush().ok();
                done.send(()).ok();
            }
        }
        let lines = dropped.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "the log was not read in time, lines are missing");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes nothing until it is unlocked.
    #[derive(Clone, Default)]
    struct Held(Arc<Mutex<Vec<u8>>>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn l23_a_log_that_nobody_reads_holds_nobody_up_and_counts_what_it_drops() {
        let held = Held::default();
        let (mut queue, thread) = Queue::to(held.clone());
        let taken = held.0.lock().unwrap();
        for _ in 0..WAITING + 100 {
            queue.write_all(b"line\n").unwrap();
        }
        // One line may be in the writer's hands.
        let dropped = queue.dropped.load(Ordering::Relaxed);
        assert!((99..=100).contains(&dropped), "{dropped}");
        thread.finish(Duration::from_millis(1));
        drop(taken);
        while held.0.lock().unwrap().len() < WAITING * 5 {
            std::thread::yield_now();
        }
        assert_eq!(held.0.lock().unwrap().len() % 5, 0);
    }
}
