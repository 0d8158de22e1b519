//! Builds every part once, wires them together, owns the tasks, drains on SIGTERM.
//!
//! Floor 6.

mod alerts;
mod engine;
mod exchanged;
mod file;
mod ledger;
mod listeners;
mod log;
mod notify;
mod probes;
mod serve;
mod status;
mod write;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::admit::{Budgets, Failures};
use crate::config::Checked;
use crate::control::{self, BadQuestion, Control, Peer, ReloadAnswer, Side};
use crate::flow::{self, Parts, Question, Running};
use crate::record::{Sink, SinkThread};
use crate::reload::{self, Cause, Hooks, Notice, Reloader, Verdict};
use crate::rules::{Live, Revision, RuleSet};
use crate::server::{Admin, Drain, Load, Server, serve_socket, watch_memory};
use crate::store::{History, Learned, Ledger, LedgerError, LedgerState, LedgerThread, LedgerWatch, Lock, Unlocked};
use crate::units::{Clock, Heartbeat, LedgerQueue};

use crate::upstream::Resolver;
use exchanged::exchanged;

use listeners::Listeners;
use notify::Notifier;

pub use engine::OwnEngine;
pub use file::{Checking, as_written, check, check_file, check_sources, offline, state_folder, style_for_people};
pub use serve::serve;
pub use write::Staged;

/// How long the ledger's last rows may take.
const LEDGER_END: Duration = Duration::from_secs(10);
/// How often money is tended that nobody asks about.
const TEND: Duration = Duration::from_millis(200);
/// How often what was learned of tokens is kept.
const KEEP: Duration = Duration::from_mins(1);
/// How often the ledger's writer is looked after.
const LEDGER_LOOK: Duration = Duration::from_millis(200);
/// How long a cut stream's last words may take to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a daemon is started with.
pub struct Options {
    pub config: PathBuf,
    /// Everything that outlives the process.
    pub state: PathBuf,
    /// Serve the last accepted file when the one on disk is refused.
    pub may_fall_back: bool,
    /// Where the control socket is; absent: there is none.
    pub control: Option<PathBuf>,
    /// Where records go, one JSON line each.
    pub records: Box<dyn Write + Send>,
    pub resolver: Resolver,
    pub clock: Clock,
}

impl Options {
    #[must_use]
    pub fn new(config: PathBuf, state: PathBuf, records: Box<dyn Write + Send>) -> Self {
        Self { config, state, may_fall_back: false, control: None, records, resolver: Resolver::System, clock: Clock::System }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("config", &self.config).field("state", &self.state).finish_non_exhaustive()
    }
}

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum Unstarted {
    /// The findings, as people read them.
    #[error("{0}")]
    Config(String),
    #[error("the state folder {0} cannot be used: {1}")]
    State(PathBuf, std::io::Error),
    #[error("the state folder {} belongs to another daemon{}", .state.display(), .owner.map(|pid| format!(", process {pid}")).unwrap_or_default())]
    Busy { state: PathBuf, owner: Option<u32> },
    #[error("{0:#}")]
    Listen(anyhow::Error),
    #[error("{0}")]
    Ledger(LedgerError),
    #[error("the control socket {0} cannot be opened: {1}")]
    Control(PathBuf, std::io::Error),
}

/// A running daemon.
pub struct App {
    parts: Arc<Parts>,
    live: Arc<Live<Running>>,
    reloader: Reloader<Checked>,
    drain: Drain,
    load: Arc<Load>,
    listen: SocketAddr,
    admin: SocketAddr,
    config: PathBuf,
    started: Timestamp,
    accepting: Heartbeat,
    notifier: Notifier,
    /// Ends the watcher and the probes, which nobody waits for.
    stop: CancellationToken,
    /// Cancelled when every dispute of earlier runs is known.
    disputes_read: CancellationToken,
    sink: Mutex<Option<SinkThread>>,
    ledger: Mutex<Option<LedgerThread>>,
    /// How the ledger's writing goes.
    written: LedgerWatch,
    /// Where it is kept how providers count prompts.
    learned: Arc<Mutex<Learned>>,
    lock: Mutex<Option<Lock>>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("listen", &self.listen).field("admin", &self.admin).finish_non_exhaustive()
    }
}

impl App {
    /// Reads the file, opens the sockets and begins to serve.
    pub async fn start(options: Options) -> Result<Arc<Self>, Unstarted> {
        let Options { config, state, may_fall_back, control, records, resolver, clock } = options;
        file::writable(&state).map_err(|error| Unstarted::State(state.clone(), error))?;
        let lock = Lock::take(&state).map_err(|unlocked| match unlocked {
            Unlocked::Held(owner) => Unstarted::Busy { state: state.clone(), owner },
            Unlocked::Failed(error) => Unstarted::State(state.clone(), error),
        })?;
        let history = History::open(&state).map_err(|error| Unstarted::State(state.clone(), error))?;
        let path = std::path::absolute(&config).map_err(|error| Unstarted::State(config.clone(), error))?;
        let first = reload::first(&path, &history, may_fall_back, |sources| file::load(&config, sources, None))
            .map_err(|refused| Unstarted::Config(refused.text))?;
        if !first.loaded.text.is_empty() {
            tracing::warn!(findings = first.loaded.text, "the file has warnings");
        }
        file::tell_old_prices(&first.sources, &first.loaded.value, clock.wall());
        let server = first.loaded.value.server.clone();
        let listeners = Listeners::open(&server).await.map_err(Unstarted::Listen)?;
        let address = |listener: &tokio::net::TcpListener| listener.local_addr().map_err(|error| Unstarted::Listen(error.into()));
        let (listen, admin) = (address(&listeners.applications)?, address(&listeners.admin)?);
        let (sink, sink_thread) = Sink::to(records);
        let (ledger, remembered) = Ledger::open(&state, clock.wall(), first.loaded.value.ledger.hold_for).map_err(Unstarted::Ledger)?;
        let unread = ledger.unread().map_err(Unstarted::Ledger)?;
        let (queue, inbox) = LedgerQueue::new();
        let ledger = ledger.run(inbox);
        let budgets = Budgets::new(clock.clone(), queue, &remembered);
        budgets.had(&exchanged(&history, &first.loaded.value, &remembered, clock.wall()));
        let parts = Arc::new(Parts::new(clock.clone(), budgets, resolver, sink));
        let learned = Learned::in_folder(&state);
        parts.meters.remember(learned.read(clock.wall()));
        let live = Arc::new(Live::new(parts.adopt(rule_set(&first.loaded.value, first.number, &first.hash))));
        parts.metrics.started(first.refused.is_none(), clock.wall());
        let notifier = Notifier::from_env();
        let reloader = Reloader::new(path, clock.clone(), history, hooks(&config, server, &parts, &live, &notifier), first);
        let app = Arc::new(Self {
            started: clock.wall(),
            parts,
            live,
            reloader,
            drain: Drain::default(),
            load: Arc::default(),
            listen,
            admin,
            config,
            accepting: Heartbeat::default(),
            notifier,
            stop: CancellationToken::new(),
            disputes_read: CancellationToken::new(),
            sink: Mutex::new(Some(sink_thread)),
            written: ledger.watch(),
            ledger: Mutex::new(Some(ledger)),
            learned: Arc::new(Mutex::new(learned)),
            lock: Mutex::new(Some(lock)),
        });
        app.run(listeners, control)?;
        ledger::read_disputes(&app, unread);
        Ok(app)
    }

    /// Starts every task.
    fn run(self: &Arc<Self>, listeners: Listeners, control: Option<PathBuf>) -> Result<(), Unstarted> {
        let tasks = self.parts.tracker.clone();
        if let Some(path) = control {
            let bound = control::bind(&path).map_err(|error| Unstarted::Control(path, error))?;
            let owner = bound.owner;
            let control = Arc::new(self.control());
            let answer = move |request, peer| {
                let control = Arc::clone(&control);
                async move { control.answer(request, peer).await }
            };
            tasks.spawn(serve_socket(bound.listener, self.drain.clone(), tasks.clone(), move |stream| Peer::of(stream, owner), answer));
        }
        let server = Arc::new(Server {
            parts: Arc::clone(&self.parts),
            live: Arc::clone(&self.live),
            load: Arc::clone(&self.load),
            drain: self.drain.clone(),
            failures: Failures::new(self.parts.clock.clone()),
        });
        tasks.spawn(server.run(listeners.applications, tasks.clone(), self.accepting.clone()));
        tasks.spawn(watch_memory(Arc::clone(&self.load), self.drain.clone()));
        let (for_metrics, for_status, for_explain) = (Arc::downgrade(self), Arc::downgrade(self), Arc::downgrade(self));
        let admin = Arc::new(Admin {
            drain: self.drain.clone(),
            metrics: move || for_metrics.upgrade().map(|app| app.metrics()).unwrap_or_default(),
            status: move || for_status.upgrade().map(|app| app.status().to_string() + "\n").unwrap_or_default().into(),
            explain: move |question: &[u8]| {
                let app = for_explain.upgrade().ok_or_else(|| "the daemon is stopping".to_owned())?;
                app.explain(question).map(|explained| Bytes::from(explained.to_string() + "\n"))
            },
        });
        tasks.spawn(admin.run(listeners.admin, tasks.clone()));
        let (reloader, stop) = (self.reloader.clone(), self.stop.clone());
        tasks.spawn(async move { reloader.run(stop).await });
        let (budgets, stop) = (self.parts.budgets.clone(), self.stop.clone());
        tasks.spawn(async move {
            while tokio::time::timeout(TEND, stop.cancelled()).await.is_err() {
                budgets.tend();
            }
        });
        let (app, stop) = (Arc::downgrade(self), self.stop.clone());
        tasks.spawn(async move {
            while tokio::time::timeout(KEEP, stop.cancelled()).await.is_err() {
                let Some(app) = app.upgrade() else { return };
                app.keep_learned().await;
            }
        });
        alerts::spawn(&self.parts, &self.live, &self.stop);
        tasks.spawn(probes::run(Arc::clone(&self.parts), Arc::clone(&self.live), self.stop.clone()));
        Ok(())
    }

    /// Where applications are served.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where operators are served.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What is in force now.
    #[must_use]
    pub fn running(&self) -> Arc<Running> {
        self.live.current()
    }

    /// What `tollgate status --json` prints.
    #[must_use]
    pub fn status(&self) -> serde_json::Value {
        status::status(self)
    }

    /// What would happen to a request now, by the revision in force and with the state that there is; see [`Question::from_json`].
    pub fn explain(&self, question: &[u8]) -> Result<serde_json::Value, String> {
        let running = self.live.current();
        let mut features = Question::from_json(question)?.features(running.rules()).map_err(|refusal| refusal.message)?;
        if features.spent.is_empty() {
            features.spent = running.purse().all_spent().into_iter().collect();
        }
        let features = running.recognised(features);
        serde_json::to_value(flow::explain(&running, &features)).map_err(|error| error.to_string())
    }

    /// Reads the file now.
    pub async fn reload(&self, cause: Cause) -> Verdict {
        self.reloader.reload(cause).await
    }

    /// Asks for a reload soon, as SIGHUP does.
    pub fn hang_up(&self) {
        self.reloader.hang_up();
    }

    /// Stops accepting, lets open requests run on up to `server.drain`, cuts the rest, and keeps what is to be kept.
    /// `cut_now` ends the wait early.
    pub async fn stop(&self, cut_now: impl Future<Output = ()>) {
        let drain = self.live.current().rules().server().drain;
        tracing::info!(open_streams = self.open_streams(), drain_s = drain.as_secs(), "draining");
        self.notifier.stopping("draining");
        self.reloader.drain();
        self.stop.cancel();
        self.parts.is_draining.store(true, std::sync::atomic::Ordering::Release);
        self.drain.begin();
        tokio::select! {
            () = self.idle() => {}
            () = tokio::time::sleep(drain) => tracing::warn!(open_streams = self.open_streams(), "the drain's time is over, what is open is cut"),
            () = cut_now => tracing::warn!("told again to stop, what is open is cut"),
        }
        if self.load.connections() > 0 {
            self.parts.cut.cancel();
            // Whoever does not read the last words does not hold the end up.
            tokio::time::timeout(LAST_WORDS, self.idle()).await.ok();
        }
        self.drain.cut();
        self.parts.tracker.close();
        if tokio::time::timeout(LAST_WORDS * 4, self.parts.tracker.wait()).await.is_err() {
            tracing::warn!("a task did not end in time");
        }
        let sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
        if sink.is_some_and(|sink| !sink.finish(LAST_WORDS * 4)) {
            tracing::warn!("the last records were not taken");
        }
        // Every attempt has told its end by now.
        self.parts.budgets.close();
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.keep_learned().await;
        let is_written = tokio::task::spawn_blocking(move || ledger.is_none_or(|ledger| ledger.finish(LEDGER_END)));
        if !is_written.await.unwrap_or_default() {
            tracing::error!("the ledger's last rows were not written: what they would have said is disputed at the next start");
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Writes down how providers count prompts. What cannot be written is learned again.
    async fn keep_learned(&self) {
        let (kept, learned, now) = (Arc::clone(&self.learned), self.parts.meters.learned(), self.parts.clock.wall());
        let write = move || kept.lock().unwrap_or_else(PoisonError::into_inner).write(learned, now);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::warn!(%error, "what was learned of tokens cannot be kept");
        }
    }

    /// Until the ledger's writer has ended by itself, and how: nothing may be served without it.
    async fn ledger_lost(&self) -> LedgerState {
        loop {
            match self.written.state() {
                LedgerState::Writing | LedgerState::Failing(_) => tokio::time::sleep(LEDGER_LOOK).await,
                lost @ (LedgerState::Damaged(_) | LedgerState::Ended) => return lost,
            }
        }
    }

    /// Until no client is connected.
    async fn idle(&self) {
        while self.load.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn open_streams(&self) -> i64 {
        self.parts.open_streams.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn metrics(&self) -> String {
        status::metrics(self)
    }

    fn control(self: &Arc<Self>) -> Control {
        let (for_status, for_reload, for_explain) = (Arc::downgrade(self), self.reloader.clone(), Arc::downgrade(self));
        let for_ledger = Arc::downgrade(self);
        Control {
            status: Box::new(move || for_status.upgrade().map(|app| app.status()).unwrap_or_default()),
            reload: Box::new(move || {
                let reloader = for_reload.clone();
                Box::pin(async move {
                    let verdict = reloader.reload(Cause::Command).await;
                    ReloadAnswer { ok: verdict.ok, body: serde_json::to_value(&verdict).unwrap_or_default() }
                })
            }),
            explain: Box::new(move |question| {
                let app = for_explain.upgrade().ok_or_else(|| BadQuestion("the daemon is stopping".into()))?;
                app.explain(question).map_err(BadQuestion)
            }),
            ledger: Box::new(move |ask| {
                let app = for_ledger.upgrade();
                Box::pin(async move {
                    let app = app.ok_or_else(|| BadQuestion("the daemon is stopping".into()))?;
                    ledger::change(&app, &ask).await.map_err(BadQuestion)
                })
            }),
        }
    }
}

/// The rule set of a checked file under its revision.
fn rule_set(checked: &Checked, number: u64, hash: &str) -> RuleSet {
    RuleSet::from((checked.clone(), Revision { number, hash: hash.to_owned() }))
}

/// What a reload does here: check with this process's secrets, adopt into the running parts, swap once, and tell who wants to know.
fn hooks(
    config: &std::path::Path,
    server: crate::config::Server,
    parts: &Arc<Parts>,
    live: &Arc<Live<Running>>,
    notifier: &Notifier,
) -> Hooks<Checked> {
    let (path, adopting, swapped) = (config.to_owned(), Arc::clone(parts), Arc::clone(live));
    let (told, notifier) = (Arc::clone(parts), notifier.clone());
    Hooks {
        load: Box::new(move |sources| file::load(&path, sources, Some(&server))),
        is_half_written: Box::new(|running, new| crate::config::half_written(running, new).is_some()),
        losses: Box::new(crate::config::losses),
        adopt: Box::new(move |checked, number, hash| swapped.swap(adopting.adopt(rule_set(checked, number, hash)))),
        notice: Box::new(move |notice| match notice {
            Notice::Begun => notifier.reloading(),
            Notice::Ended(verdict) => {
                told.metrics.reloaded(verdict.ok, told.clock.wall());
                let state = if verdict.ok { "serving" } else { "serving, the changed file is refused" };
                notifier.ready(&format!("{state}, revision {}", verdict.revision));
            }
            Notice::Present(is_present) => told.metrics.config_present(is_present),
        }),
    }
}

/// Where the daemon of a file listens for commands.
#[must_use]
pub fn control_socket(state: &std::path::Path, side: Side) -> PathBuf {
    control::socket_path(std::env::var_os("RUNTIME_DIRECTORY").as_deref(), state, side)
}
