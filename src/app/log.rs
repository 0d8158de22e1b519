mod queue;

use std::io::IsTerminal;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use queue::{Queue, QueueThread};

/// How long the last lines may take to leave.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The running log.
#[derive(Debug)]
pub(super) struct Log(QueueThread);

/// Starts the log: text on a terminal, the journal where systemd has connected standard error to it, JSON lines elsewhere.
/// `TOLLGATE_LOG` sets the level, as in `debug` or `tollgate::flow=trace`; `info` without it. A second call changes nothing.
pub(super) fn start() -> Log {
    let filter = EnvFilter::try_from_env("TOLLGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let (queue, thread) = Queue::to(std::io::stderr());
    let lines = move || queue.clone();
    let started = if std::io::stderr().is_terminal() {
        registry.with(tracing_subscriber::fmt::layer().with_writer(lines).with_target(false)).try_init()
    } else if let Some(journal) = journal() {
        registry.with(journal).try_init()
    } else {
        registry.with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(lines)).try_init()
    };
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
    Log(thread)
}

impl Log {
    /// Waits until what was logged so far is written, at most a second.
    pub(super) fn finish(self) {
        self.0.finish(LAST_LINES);
    }
}

/// The journal, when standard error is the stream that systemd connected to it.
fn journal() -> Option<tracing_journald::Layer> {
    use std::os::unix::fs::MetadataExt;
    let stated = std::env::var("JOURNAL_STREAM").ok()?;
    let (device, inode) = stated.split_once(':')?;
    let stderr = std::fs::metadata("/proc/self/fd/2").ok()?;
    let is_ours = device.parse() == Ok(stderr.dev()) && inode.parse() == Ok(stderr.ino());
    is_ours.then(tracing_journald::layer)?.ok()
}
