//! Price lists of others: brought in, and held against what counts.

mod check;
mod import;

use std::process::ExitCode;

use clap::Subcommand;

use super::Config;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(flatten)]
    config: Config,
    /// Say how the prices in force, the imported and the built-in ones differ, and how old they are; what this command does by itself
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read models.dev's api.json, or `LiteLLM`'s `model_prices_and_context_window.json`
    Import(import::Options),
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.what {
        Some(What::Import(import)) => import::run(import),
        None => check::run(&options.config.config, options.json),
    }
}
