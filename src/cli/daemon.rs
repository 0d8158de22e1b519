use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use crate::app;
use crate::control::Side;
use crate::outside::{ControlClient, ControlError};

use super::{Config, exit};

/// The running daemon of a file, and how it is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Daemon {
    #[command(flatten)]
    config: Config,
    /// The daemon's state folder, where it was started with one
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Daemon {
    pub(super) fn config(&self) -> &Path {
        &self.config.config
    }

    /// Whether JSON is wanted.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    pub(super) fn state(&self) -> PathBuf {
        app::state_folder(self.state.as_deref(), &self.config.config)
    }

    /// What the running daemon says of itself; nothing where none can be asked.
    pub(super) fn status(&self) -> anyhow::Result<Option<Value>> {
        let socket = app::control_socket(&self.state(), Side::Command);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async { ControlClient::new(&socket).ok()?.get_status().await.ok() }))
    }

    /// Runs `ask` with the daemon's socket, and whether JSON is wanted; it answers the exit code.
    pub(super) fn ask(&self, ask: impl AsyncFnOnce(&Path, bool) -> io::Result<u8>) -> anyhow::Result<ExitCode> {
        let socket = app::control_socket(&self.state(), Side::Command);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(ExitCode::from(runtime.block_on(ask(&socket, self.json))?))
    }
}

/// Says why the daemon could not be asked, and what to do.
pub(super) fn tell_failure(error: &ControlError, json: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    if json {
        writeln!(out, "{:#}", Value::from_iter([("ok", Value::from(false)), ("error", Value::from(error.to_string()))]))?;
    }
    writeln!(err, "error: {error}")?;
    let (code, hint) = match error {
        ControlError::NobodyListens(_) => {
            (exit::UNAVAILABLE, "start it with `tollgate serve`, or name its file or state folder with `--config` or `--state`")
        }
        ControlError::BadQuestion(_) => (exit::FINDINGS, "the request as the flags state it cannot be asked about"),
        ControlError::Forbidden(_) => (exit::NO_PERMISSION, "run it as root or as the daemon's user"),
        ControlError::Unusable(_) => (exit::PROTOCOL, "look at the daemon's log"),
    };
    writeln!(err, " hint: {hint}")?;
    Ok(code)
}
