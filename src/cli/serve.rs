use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::app;

use super::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: Config,
    /// Everything that outlives the process; else what systemd gives, else `server.state` of the file, else ./state
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What to serve when the file is refused at the start; without it the start fails (exit code 78)
    #[arg(long, value_enum, value_name = "WHAT")]
    fallback: Option<Fallback>,
}

/// What stands in for a refused file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fallback {
    /// The last file that was accepted
    LastGood,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    app::serve(&options.config.config, options.state.as_deref(), options.fallback == Some(Fallback::LastGood))
}
