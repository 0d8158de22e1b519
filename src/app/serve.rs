use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit;
use crate::control::Side;
use crate::units::{Clock, Format};

use super::{App, Options, Unstarted, check_file, control_socket, log, notify, state_folder};

/// Runs the daemon until it is told to stop: the exit code.
pub fn serve(config: &Path, state: Option<&Path>, may_fall_back: bool) -> anyhow::Result<ExitCode> {
    log::start();
    // Only the place of the state folder is wanted here; findings are told when the file is loaded.
    let checked = check_file(config).ok().and_then(|checking| checking.checked);
    let state = state_folder(state, checked.as_ref());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(async {
        let mut options = Options::new(config.to_owned(), state.clone(), Box::new(std::io::stdout()));
        options.may_fall_back = may_fall_back;
        options.control = Some(control_socket(&state, Side::Daemon));
        options.clock = Clock::System;
        match App::start(options).await {
            Ok(app) => until_stopped(&app).await,
            Err(unstarted) => Ok(told(&unstarted)),
        }
    })
}

async fn until_stopped(app: &Arc<App>) -> anyhow::Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tell_what_is_served(app);
    app.notifier.ready(&format!("serving, revision {}", app.running().rules().revision()));
    if let Some(interval) = notify::watchdog_interval() {
        let beats = vec![app.accepting.clone(), app.reloader.heartbeat()];
        let (notifier, stop) = (app.notifier.clone(), app.stop.clone());
        app.parts.tracker.spawn(async move { notifier.watchdog(interval, beats, stop).await });
    }
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    app.stop(async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    })
    .await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
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
    let has_key = |provider: &&crate::config::Provider| !matches!(provider.key, crate::config::Key::Missing(_));
    let network = || rules.providers().iter().filter(|provider| provider.format != Format::Sandbox);
    if network().next().is_some() && !network().any(|provider| has_key(&provider)) {
        tracing::warn!("no provider has its key, so the sandbox answers: its answers are made up on this machine");
    }
}

/// Prints why the daemon did not start.
fn told(unstarted: &Unstarted) -> ExitCode {
    match unstarted {
        Unstarted::Config(findings) => {
            anstream::eprint!("{findings}");
            anstream::eprintln!("error: the file is refused, so nothing is served; `--fallback last-good` serves the last accepted one");
        }
        other => anstream::eprintln!("error: {other}"),
    }
    ExitCode::from(match unstarted {
        Unstarted::Config(_) => exit::CONFIG,
        Unstarted::Listen(_) => exit::OS,
        Unstarted::Control(_, error) if error.kind() == std::io::ErrorKind::AddrInUse => exit::BUSY,
        Unstarted::State(..) | Unstarted::Control(..) => exit::IO,
    })
}
