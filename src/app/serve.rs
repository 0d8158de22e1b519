use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::exit;
use crate::config::{Key, Provider};
use crate::control::Side;
use crate::store::{LedgerError, LedgerState};
use crate::units::{Clock, Format};

use super::{App, Options, Unstarted, control_socket, log, notify, state_folder};

/// Runs the daemon until it is told to stop: the exit code.
pub fn serve(config: &Path, state: Option<&Path>, may_fall_back: bool) -> anyhow::Result<ExitCode> {
    let log = log::start();
    let state = state_folder(state, config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
    let code = runtime.block_on(async {
        // Before anybody can know that the daemon runs: a signal that nobody waits for ends the process.
        let mut signals = Signals::listen()?;
        let mut options = Options::new(config.to_owned(), state.clone(), Box::new(std::io::stdout()));
        options.may_fall_back = may_fall_back;
        options.control = Some(control_socket(&state, Side::Daemon));
        options.clock = Clock::System;
        match App::start(options).await {
            Ok(app) => Ok(until_stopped(&app, &mut signals).await),
            Err(unstarted) => Ok(told(&unstarted)),
        }
    });
    log.finish();
    code
}

/// What the daemon is told from outside.
struct Signals {
    terminated: Signal,
    interrupted: Signal,
    /// The reload task listens for itself; a signal that comes before it does is answered by its first look at the file.
    _hung_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminated: signal(SignalKind::terminate())?,
            interrupted: signal(SignalKind::interrupt())?,
            _hung_up: signal(SignalKind::hangup())?,
        })
    }

    /// Until the daemon is told to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminated.recv() => {}
            _ = self.interrupted.recv() => {}
        }
    }
}

async fn until_stopped(app: &Arc<App>, signals: &mut Signals) -> ExitCode {
    tell_what_is_served(app);
    let state = if app.reloader.degraded().is_some() { "DEGRADED: the file is refused, the last good one serves" } else { "serving" };
    app.notifier.ready(&format!("{state}, revision {}", app.running().rules().revision()));
    if let Some(interval) = notify::watchdog_interval() {
        let beats = vec![app.accepting.clone(), app.reloader.heartbeat(), app.written.heartbeat()];
        let (notifier, stop) = (app.notifier.clone(), app.stop.clone());
        app.parts.tracker.spawn(async move { notifier.watchdog(interval, beats, stop).await });
    }
    let code = tokio::select! {
        () = signals.stop() => ExitCode::SUCCESS,
        lost = app.ledger_lost() => {
            let LedgerState::Damaged(what) = lost else {
                tracing::error!("the ledger's writer has ended: without it nothing may be spent, so the daemon ends");
                return ExitCode::from(exit::SOFTWARE);
            };
            tracing::error!(what, "the ledger is damaged, so the daemon ends: `tollgate ledger recover` saves what can be proved");
            ExitCode::from(exit::DATA)
        }
    };
    app.stop(signals.stop()).await;
    tracing::info!("stopped");
    code
}

fn tell_what_is_served(app: &App) {
    let running = app.running();
    let rules = running.rules();
    tracing::info!(
        applications = %app.listen(),
        operators = %app.admin(),
        revision = %rules.revision(),
        rules = rules.rules().len(),
        "serving"
    );
    let (sandboxes, network): (Vec<_>, Vec<_>) = rules.providers().iter().partition(|provider| provider.format == Format::Sandbox);
    let lacks_key = |provider: &&Provider| matches!(provider.key, Key::Missing(_));
    if !sandboxes.is_empty() && !network.is_empty() && network.iter().all(lacks_key) {
        tracing::warn!("no provider has its key, so the sandbox answers: its answers are made up on this machine");
    }
}

fn is_address_in_use(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// Prints why the daemon did not start.
fn told(unstarted: &Unstarted) -> ExitCode {
    match unstarted {
        Unstarted::Config(findings) => {
            anstream::eprint!("{findings}");
            anstream::eprintln!("error: the file is refused, so nothing is served; `--fallback last-good` serves the last accepted one");
        }
        Unstarted::Ledger(error) => anstream::eprintln!("error: {error}\n hint: {}", error.hint()),
        Unstarted::Busy { .. } => {
            anstream::eprintln!(
                "error: {unstarted}\n hint: `tollgate reload` tells that one of a changed file; `--state FOLDER` gives this one books of its own"
            );
        }
        Unstarted::Listen(error) if is_address_in_use(error) => {
            anstream::eprintln!(
                "error: {unstarted}\n hint: another program listens there; `tollgate status` tells whether it is a daemon of this file"
            );
        }
        other => anstream::eprintln!("error: {other}"),
    }
    ExitCode::from(match unstarted {
        Unstarted::Config(_) | Unstarted::Ledger(LedgerError::Newer { .. }) => exit::CONFIG,
        Unstarted::Busy { .. } | Unstarted::Ledger(LedgerError::Busy { .. }) => exit::BUSY,
        Unstarted::Ledger(LedgerError::Corrupt { .. }) => exit::DATA,
        Unstarted::Listen(_) => exit::OS,
        Unstarted::Control(_, error) if error.kind() == std::io::ErrorKind::AddrInUse => exit::BUSY,
        Unstarted::State(..) | Unstarted::Control(..) | Unstarted::Ledger(LedgerError::Unwritable { .. } | LedgerError::Missing { .. }) => {
            exit::IO
        }
    })
}
