//! A changed file's way into force: noticed, left to settle, read, checked, adopted; refused, the old rule set stays.
//!
//! Floor 5. What checking and adopting mean is plugged in ([`Hooks`]); this module decides when, how often and what is told.

mod boot;
mod include;
mod settle;
mod source;
mod turn;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use boot::{First, first, included_by, read_file};
pub use source::Source;

use crate::config::{Diagnostic, Sources};
use crate::store::History;
use crate::units::{Clock, Heartbeat};
use include::Included;
use settle::{Settle, Settled};
use turn::{State, Turn};
use watch::{Look, Secrets, Watch};

/// How often the file is looked at when nothing hints at a change.
const POLL: Duration = Duration::from_secs(2);
/// How often the task says that it is alive.
const BEAT: Duration = Duration::from_millis(500);
/// Shortest time between two looks, so that a busy directory costs little.
const LOOKS_APART: Duration = Duration::from_millis(10);
/// How often a file that changes while it is read is read again, and how long after.
const TORN_READS: usize = 10;
const TORN_WAIT: Duration = Duration::from_millis(100);

/// Why a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The daemon started.
    Start,
    /// An event in a watched directory.
    Watch,
    /// The slow look that needs no event.
    Poll,
    /// SIGHUP.
    Signal,
    /// `tollgate reload`. Loads a file that looks half-written, too.
    Command,
}

impl Cause {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Watch => "watch",
            Self::Poll => "poll",
            Self::Signal => "signal",
            Self::Command => "command",
        }
    }

    /// A person asked, so that an unchanged file is read with fresh secrets all the same.
    fn is_asked_for(self) -> bool {
        matches!(self, Self::Signal | Self::Command)
    }
}

/// A sound file.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    pub value: T,
    /// Files whose content went into the value; a change of one loads the file again.
    pub secrets: Vec<PathBuf>,
    /// Warnings only.
    pub findings: Vec<Diagnostic>,
    /// The findings as people read them; empty or ending in a line break.
    pub text: String,
}

/// A file that was not loaded.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// The findings as people read them, ending in a line break.
    pub text: String,
    pub findings: Vec<Diagnostic>,
    /// Files that were looked at for secrets; a change of one tries the file again.
    pub secrets: Vec<PathBuf>,
}

/// What others are told while a file is on its way.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// A text is about to be checked; an `Ended` follows.
    Begun,
    /// A load ended, or a file was refused. Not told when nothing changed and nobody asked.
    Ended(&'a Verdict),
    /// Whether the file is there; told when that changes.
    Present(bool),
}

/// Checks a configuration.
pub type Load<T> = Box<dyn Fn(&Sources) -> Result<Loaded<T>, Refused> + Send + Sync>;
/// Compares the text of a file in force with a new one.
pub type IsHalfWritten = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;
/// Compares the value in force with a new one.
pub type Losses<T> = Box<dyn Fn(&T, &T) -> Vec<String> + Send + Sync>;
/// Takes a value, its revision number and its content hash.
pub type Adopt<T> = Box<dyn Fn(&T, u64, &str) + Send + Sync>;

/// What a reload needs of the floors it does not know. All run on a blocking thread, one at a time.
pub struct Hooks<T> {
    /// Checks a configuration, the comparison with what cannot change in a running daemon (listeners) included.
    pub load: Load<T>,
    /// Whether the second text looks like the first, not yet written to its end.
    pub is_half_written: IsHalfWritten,
    /// What the second has no more, by name: `provider openai-eu`.
    pub losses: Losses<T>,
    /// Puts a value in force under its number and content hash. The same number again means the same text with fresh secrets.
    pub adopt: Adopt<T>,
    pub notice: Box<dyn Fn(Notice<'_>) + Send + Sync>,
}

impl<T> fmt::Debug for Hooks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// How a reload ended, for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// False: refused, ignored or failed; the running revision goes on.
    pub ok: bool,
    /// True: another text is in force now.
    pub changed: bool,
    /// The revision in force afterwards: `7-3f2a9c1b04de`.
    pub revision: String,
    /// What `tollgate reload` prints; ends in a line break.
    pub text: String,
    pub findings: Vec<Diagnostic>,
    /// What the new file has no more, by name.
    pub removed: Vec<String>,
}

/// The last reload that did or refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastReload {
    pub at: Timestamp,
    pub ok: bool,
    pub cause: Cause,
    /// The revision in force afterwards.
    pub revision: String,
    /// [`sources_hash`](crate::store::sources_hash) of the files in force.
    pub file_hash: String,
    pub findings: Vec<Diagnostic>,
    pub text: String,
}

/// The one that reloads. Clones are handles to the same.
#[derive(Debug)]
pub struct Reloader<T>(Arc<Inner<T>>);

impl<T> Clone for Reloader<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<T> {
    path: PathBuf,
    clock: Clock,
    history: History,
    hooks: Hooks<T>,
    /// Held for a whole reload: there is one at a time.
    state: Arc<tokio::sync::Mutex<State<T>>>,
    told: Mutex<Told>,
    is_draining: AtomicBool,
    hints: Arc<Notify>,
    has_signal: AtomicBool,
    heartbeat: Heartbeat,
}

/// What may be asked at any time, also while a reload runs.
#[derive(Clone, Debug)]
struct Told {
    last: LastReload,
    degraded: Option<String>,
    /// Those that count, each as it looked when it was last read or found missing.
    secrets: Secrets,
    /// What the file on disk includes, as it looked when it was last read.
    included: Included,
}

impl<T: Send + 'static> Reloader<T> {
    /// Takes over after the first file came into force, and keeps that file in the history. `path` is absolute.
    #[must_use]
    pub fn new(path: PathBuf, clock: Clock, history: History, hooks: Hooks<T>, first: First<T>) -> Self {
        let (state, told) = State::begin(first, &history, &clock);
        Self(Arc::new(Inner {
            path,
            clock,
            history,
            hooks,
            state: Arc::new(tokio::sync::Mutex::new(state)),
            told: Mutex::new(told),
            is_draining: AtomicBool::new(false),
            hints: Arc::default(),
            has_signal: AtomicBool::new(false),
            heartbeat: Heartbeat::default(),
        }))
    }

    /// Reads the file now and answers what came of it. Waits for a reload that is under way; a caller that stops waiting stops nothing.
    pub async fn reload(&self, cause: Cause) -> Verdict {
        self.reload_with(cause, cause.is_asked_for(), None).await.unwrap_or_else(|| self.0.unsettled(cause))
    }

    /// Asks for a reload soon: SIGHUP. Many become few.
    pub fn hang_up(&self) {
        self.0.has_signal.store(true, Ordering::Release);
        self.0.hints.notify_one();
    }

    /// From now on every reload is ignored.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn status(&self) -> LastReload {
        self.0.told().last.clone()
    }

    /// Why the daemon serves an older file than the one on disk; present after a start on the last good file, until a reload succeeds.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        self.0.told().degraded.clone()
    }

    /// Beats while [`run`](Self::run) turns.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.0.heartbeat.clone()
    }

    /// Watches until stopped: events, the poll and SIGHUP.
    pub async fn run(&self, stop: CancellationToken) {
        let watch = Watch::new(self.0.path.clone(), Arc::clone(&self.0.hints));
        self.run_with(watch, POLL, stop).await;
    }

    async fn run_with(&self, watch: Watch, poll: Duration, stop: CancellationToken) {
        let watch = Arc::new(Mutex::new(watch));
        let mut settle = Settle::new(self.look(&watch, true).await, self.0.told().secrets.clone());
        let mut hangups = signal(SignalKind::hangup()).inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be listened to")).ok();
        let mut poll = tokio::time::interval(poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await.is_some(),
                    None => std::future::pending().await,
                }
            };
            let due = settle.due();
            let mut cause = Cause::Watch;
            tokio::select! {
                () = stop.cancelled() => return,
                _ = beat.tick() => {
                    self.0.heartbeat.beat();
                    continue;
                }
                _ = hangup => cause = Cause::Signal,
                _ = poll.tick() => cause = Cause::Poll,
                () = self.0.hints.notified() => tokio::time::sleep_until(looked + LOOKS_APART).await,
                () = tokio::time::sleep_until(due.unwrap_or(looked)), if due.is_some() => {}
            }
            let refresh = cause == Cause::Poll;
            if self.0.has_signal.swap(false, Ordering::AcqRel) {
                cause = Cause::Signal;
            }
            let (secrets, included) = self.counting();
            settle.learn(secrets, included);
            let look = self.look(&watch, refresh).await;
            looked = Instant::now();
            settle.seen(cause, look, looked);
            if let Some(ripe) = settle.ripe(looked) {
                let again = ripe.secrets_changed || ripe.cause.is_asked_for();
                if self.reload_with(ripe.cause, again, Some(ripe.settled.clone())).await.is_none() {
                    settle.again(&ripe, Instant::now());
                }
            }
        }
    }

    /// The secrets and included files that count now.
    fn counting(&self) -> (Secrets, Included) {
        let told = self.0.told();
        (told.secrets.clone(), told.included.clone())
    }

    async fn look(&self, watch: &Arc<Mutex<Watch>>, refresh: bool) -> Look {
        let (secrets, included) = self.counting();
        loop {
            let (watching, secrets, patterns) = (Arc::clone(watch), secrets.clone(), included.patterns.clone());
            let look = tokio::task::spawn_blocking(move || {
                watching.lock().unwrap_or_else(PoisonError::into_inner).look(secrets.keys(), patterns, refresh)
            });
            match look.await {
                Ok(look) => return look,
                // The watcher's own thread is gone, or the runtime is about to be.
                Err(error) => tracing::error!(%error, "looking at the file failed"),
            }
            watch.lock().unwrap_or_else(PoisonError::into_inner).renew();
            tokio::time::sleep(POLL).await;
        }
    }

    /// `again`: the same text is read with fresh secrets. `settled`: how the files looked when they had come to rest; where they look
    /// otherwise by now, or are others, they are not read, and there is no verdict.
    async fn reload_with(&self, cause: Cause, again: bool, settled: Option<Settled>) -> Option<Verdict> {
        let mut state = Arc::clone(&self.0.state).lock_owned().await;
        for _ in 0..TORN_READS {
            if self.0.is_draining.load(Ordering::Acquire) {
                return Some(self.0.ignored(cause));
            }
            let (inner, settled) = (Arc::clone(&self.0), settled.clone());
            // The lock goes along, so that a caller who stops waiting does not let the next one in early.
            let turn = tokio::task::spawn_blocking(move || {
                let turn = inner.turn(&mut state, cause, again, settled.as_ref());
                (state, turn)
            });
            state = match turn.await {
                Ok((_, Turn::Done(verdict))) => return Some(verdict),
                Ok((_, Turn::MovedOn)) => return None,
                Ok((state, Turn::Torn)) => state,
                Err(error) => return Some(self.0.broken(cause, &error)),
            };
            tokio::time::sleep(TORN_WAIT).await;
        }
        Some(self.0.unsettled(cause))
    }
}

impl<T> Inner<T> {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `path` as the watcher needs it: absolute, its links kept.
pub fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

#[cfg(test)]
fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tollgate-reload-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[cfg(test)]
mod tests;
