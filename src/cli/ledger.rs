mod change;
mod export;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

pub(super) use export::field;

use super::daemon::Daemon;
use super::revisions::local;
use super::status::{plain, push};
use super::{exit, print, print_json};
use crate::app;
use crate::config::{HoldFor, LedgerSettings};
use crate::reload::read_file;
use crate::store::{DisputeRow, LedgerError, Lock, Reader, Unlocked, recover};

#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Prove that every row is as it was written and that the counters are the sums of the rows
    Verify(Daemon),
    /// Save every row that can be proved into a new file, and put the damaged one aside
    Recover(Daemon),
    /// List the money that may have been spent, and counts until that is known
    Disputes(Daemon),
    /// End disputes: say what the provider billed
    Resolve(change::Resolve),
    /// Correct what a budget's window has counted
    Adjust(change::Adjust),
    /// Print all rows, as CSV or JSON lines
    Export(export::Options),
    /// Say that the machine's clock is right after it jumped
    Clock {
        #[command(subcommand)]
        what: Clock,
    },
}

#[derive(Debug, Subcommand)]
enum Clock {
    /// Take the present time for right: windows go on by it
    Accept(Daemon),
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.what {
        What::Verify(daemon) => verify(daemon),
        What::Recover(daemon) => save(daemon),
        What::Disputes(daemon) => disputes(daemon),
        What::Resolve(options) => change::resolve(options),
        What::Adjust(options) => change::adjust(options),
        What::Export(options) => export::run(options),
        What::Clock { what: Clock::Accept(daemon) } => change::accept_clock(daemon),
    }
}

/// Says why the ledger cannot be used, and what to do.
pub(super) fn told(error: &LedgerError) -> ExitCode {
    anstream::eprintln!("error: {error}");
    anstream::eprintln!(" hint: {}", error.hint());
    ExitCode::from(match error {
        LedgerError::Corrupt { .. } => exit::DATA,
        LedgerError::Newer { .. } => exit::CONFIG,
        LedgerError::Unwritable { .. } => exit::IO,
        LedgerError::Busy { .. } => exit::BUSY,
        LedgerError::Missing { .. } => exit::NO_INPUT,
    })
}

fn verify(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{pos} of {len} rows {wide_bar}")?);
    let verified = Reader::open(&daemon.state()).and_then(|reader| {
        reader.verify(&mut |rows, all| {
            bar.set_length(all);
            bar.set_position(rows);
        })
    });
    bar.finish_and_clear();
    let told = match &verified {
        Ok(told) => told,
        Err(error) => return Ok(self::told(error)),
    };
    if daemon.json() {
        print_json(&json!({
            "ok": told.is_whole(), "rows": told.rows, "hash": told.hash, "windows": told.windows, "open_disputes": told.open_disputes,
            "holds": told.holds, "findings": told.findings, "more_findings": told.more,
        }))?;
    } else {
        let counts = format!("{} rows, {} windows, {} open disputes, {} holds", told.rows, told.windows, told.open_disputes, told.holds);
        print(&format!("{counts}\nchain ends with {}\n", told.hash))?;
        for finding in &told.findings {
            print(&format!("damaged: {finding}\n"))?;
        }
        let foot = match (told.is_whole(), told.more) {
            (true, _) => "whole: every row is as it was written, and the counters are the sums of the rows\n".to_owned(),
            (false, 0) => "`tollgate ledger recover` saves what can be proved\n".to_owned(),
            (false, more) => format!("and {more} more; `tollgate ledger recover` saves what can be proved\n"),
        };
        print(&foot)?;
    }
    Ok(ExitCode::from(if told.is_whole() { exit::OK } else { exit::DATA }))
}

/// How long disputes count, as the file says.
fn hold_for(config: &Path) -> HoldFor {
    let checked = read_file(config).ok().and_then(|source| app::check_sources(source.sources).checked);
    checked.map_or_else(LedgerSettings::default, |checked| checked.ledger).hold_for
}

fn save(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    let state = daemon.state();
    let _lock = match lock(&state) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            anstream::eprintln!("error: a daemon uses {}\n hint: stop it first", state.display());
            return Ok(ExitCode::from(exit::BUSY));
        }
        Err(code) => return Ok(code),
    };
    let recovered = match recover(&state, Timestamp::now(), hold_for(daemon.config())) {
        Ok(recovered) => recovered,
        Err(error) => return Ok(told(&error)),
    };
    let disputed: Vec<Value> =
        recovered.disputed.iter().map(|(window, amount)| json!({ "window": window, "disputed_usd": amount.plain() })).collect();
    if daemon.json() {
        let (aside, is_complete) = (recovered.aside.display().to_string(), recovered.is_complete);
        print_json(&json!({ "rows": recovered.rows, "damaged_file": aside, "disputed": disputed, "complete": is_complete }))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("{} rows saved; the damaged file is {}\n", recovered.rows, recovered.aside.display()))?;
    for (window, amount) in &recovered.disputed {
        print(&format!("{window}: {amount} was counted or granted and is in no row that was saved; it is disputed\n"))?;
    }
    if !recovered.is_complete {
        print(
            "not everything could be read: what was spent in rows that are lost may be missing; compare with the providers' bills and use `tollgate ledger adjust`\n",
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The state folder for this command; nothing where a daemon has it.
fn lock(state: &Path) -> Result<Option<Lock>, ExitCode> {
    match Lock::take(state) {
        Ok(lock) => Ok(Some(lock)),
        Err(Unlocked::Held(_)) => Ok(None),
        Err(Unlocked::Failed(error)) => {
            anstream::eprintln!("error: the state folder {} cannot be used: {error}", state.display());
            Err(ExitCode::from(exit::IO))
        }
    }
}

fn disputes(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    let rows = match Reader::open(&daemon.state()).and_then(|reader| reader.disputes()) {
        Ok(rows) => rows,
        Err(LedgerError::Missing { .. }) => Vec::new(),
        Err(error) => return Ok(told(&error)),
    };
    if daemon.json() {
        print_json(&json!({ "disputes": rows.iter().map(as_json).collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        print("nothing is disputed\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = plain();
    table.set_header(["dispute", "amount", "why", "since", "released", "target", "counts in"]);
    for row in &rows {
        let until = row.until.map_or_else(|| "with its window".into(), local);
        let target = row.target.clone().unwrap_or_else(|| "-".into());
        table.add_row([row.id.to_string(), row.amount.to_string(), row.class.as_str().into(), local(row.at), until, target, windows(row)]);
    }
    let mut text = String::new();
    push(&mut text, &table);
    text.push_str("\n`tollgate ledger resolve ID --as billed|not-billed|$X` ends one; `--provider P --since T` ends many\n");
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn windows(row: &DisputeRow) -> String {
    let names: Vec<String> = row.windows.iter().map(|key| format!("{}.{}", key.budget, key.period)).collect();
    if names.is_empty() { "-".into() } else { names.join(", ") }
}

fn as_json(row: &DisputeRow) -> Value {
    json!({
        "id": row.id.to_string(), "class": row.class.as_str(), "amount_usd": row.amount.plain(), "at": row.at, "until": row.until,
        "windows": row.windows.iter().map(|key| json!({ "window": format!("{}.{}", key.budget, key.period), "starts": key.starts, "ends": key.ends })).collect::<Vec<_>>(),
        "target": row.target, "rule": row.rule, "caller": row.caller,
    })
}

/// The zone in which a moment without one is meant.
fn here() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}
