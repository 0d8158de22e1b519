//! The commands and their flags; a file for each.
//!
//! Floor 6.

mod bench;
mod check;
mod classify;
mod cost;
mod daemon;
mod explain;
mod fmt;
mod generate;
mod history;
mod import;
mod init;
mod key;
mod ledger;
mod models;
mod moment;
mod patch;
mod prices;
mod reload;
mod report;
mod revisions;
mod rollback;
mod serve;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a process that ends tells its caller, after sysexits.h.
pub mod exit {
    pub const OK: u8 = 0;
    /// A finding, a refused reload, a provider that does not answer.
    pub const FINDINGS: u8 = 1;
    /// What is on disk does not say what it said once.
    pub const DATA: u8 = 65;
    /// There is nothing to read.
    pub const NO_INPUT: u8 = 66;
    /// No daemon listens.
    pub const UNAVAILABLE: u8 = 69;
    /// A part of the daemon has ended that it cannot do without.
    pub const SOFTWARE: u8 = 70;
    /// A system call failed: a socket that cannot be opened.
    pub const OS: u8 = 71;
    /// A state folder that cannot be written.
    pub const IO: u8 = 74;
    /// Another daemon holds what this one needs.
    pub const BUSY: u8 = 75;
    /// The daemon's answer cannot be used.
    pub const PROTOCOL: u8 = 76;
    /// This user may not.
    pub const NO_PERMISSION: u8 = 77;
    /// The file cannot be loaded.
    pub const CONFIG: u8 = 78;
}

/// One binary and one YAML file between your applications and every LLM provider.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::Options),
    /// Say everything that is wrong with a file
    Check(check::Options),
    /// Say what would happen to one request, and why
    Explain(Box<explain::Options>),
    /// Say which task a text asks for, or how often that is right on labelled texts
    Classify(classify::Options),
    /// Ask your own evaluation set of several targets, under limits, and say which is best at what
    Bench(Box<bench::Options>),
    /// Write a starter file for the provider keys in the environment
    Init(init::Options),
    /// Print another gateway's file as one of tollgate's, and say what could not be carried over
    Import(import::Options),
    /// Print a file in its canonical form, comments kept
    Fmt(fmt::Options),
    /// Tell the running daemon to read its file now
    Reload(daemon::Daemon),
    /// Show what the running daemon does
    Status(daemon::Daemon),
    /// List the accepted files, or say what differs between two of them
    History(history::Options),
    /// Bring an accepted file back: as a patch, or written
    Rollback(rollback::Options),
    /// Say what a workload would cost a month and a year on different models
    Cost(Box<cost::Options>),
    /// Show which models are known, at which price, and who would answer
    Models(models::Options),
    /// Bring a price list in, or say how prices differ and how old they are
    Prices(prices::Options),
    /// Show what was spent, by whom and on what, and where it leads
    Report(report::Options),
    /// Look after the ledger: prove it, save it, export it, end disputes, correct it
    Ledger(ledger::Options),
    /// Make keys for callers, and list who may ask
    Key(key::Options),
    /// Print a JSON Schema: of routes.yaml, of records, of `explain --json`
    Schema(generate::Schema),
    /// Print shell completions
    Completions(generate::Completions),
    /// Print the manual page
    Man,
}

/// The file that names everything else.
#[derive(Debug, clap::Args)]
struct Config {
    /// The routing file
    #[arg(long, short, value_name = "FILE", default_value = "routes.yaml", env = "TOLLGATE_CONFIG")]
    config: PathBuf,
}

/// Reads the command line, carries the command out and answers its exit code.
#[must_use]
pub fn run() -> ExitCode {
    Cli::parse().run().unwrap_or_else(|error| {
        anstream::eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

impl Cli {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(options) => serve::run(&options),
            Command::Check(options) => check::run(&options),
            Command::Explain(options) => explain::run(&options),
            Command::Classify(options) => classify::run(&options),
            Command::Bench(options) => bench::run(&options),
            Command::Init(options) => init::run(&options),
            Command::Import(options) => import::run(&options),
            Command::Fmt(options) => fmt::run(&options),
            Command::Reload(daemon) => reload::run(&daemon),
            Command::Status(daemon) => status::run(&daemon),
            Command::History(options) => history::run(&options),
            Command::Rollback(options) => rollback::run(&options),
            Command::Cost(options) => cost::run(&options),
            Command::Models(options) => models::run(&options),
            Command::Prices(options) => prices::run(&options),
            Command::Report(options) => report::run(&options),
            Command::Ledger(options) => ledger::run(&options),
            Command::Key(options) => key::run(&options),
            Command::Schema(options) => generate::schema(&options),
            Command::Completions(options) => generate::completions(&options),
            Command::Man => generate::man(),
        }
    }
}

/// Prints to standard output; a reader that closed its end early is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Columns of the terminal; nothing where there is none.
fn width() -> Option<usize> {
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}
