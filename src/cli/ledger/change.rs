//! What changes money: through the daemon where one runs, else in the file itself.

use std::process::ExitCode;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::daemon::{Daemon, tell_failure};
use super::super::moment::moment;
use super::super::{exit, print, print_json};
use super::{here, hold_for, lock, told};
use crate::app;
use crate::control::{Adjustment, Billed, LedgerAsk, Resolution, Side};
use crate::outside::ControlClient;
use crate::store::{DisputeRow, Ledger, LedgerError, Reader};
use crate::units::{AdjustedEntry, Entry, ResolvedEntry};

#[derive(Debug, clap::Args)]
pub(super) struct Resolve {
    #[command(flatten)]
    daemon: Daemon,
    /// Which disputes, as `ledger disputes` names them
    #[arg(value_name = "ID", required_unless_present_any = ["provider", "since"])]
    ids: Vec<String>,
    /// All disputes of this provider
    #[arg(long, value_name = "P")]
    provider: Option<String>,
    /// All disputes since then: 2026-11-01, 2026-11-01T10:00:00Z, 24h
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// What the provider billed: all of it, nothing, or so much of each
    #[arg(long = "as", value_name = "billed|not-billed|$X", value_parser = Billed::parse)]
    billed: Billed,
    /// Why, for the ledger
    #[arg(long, default_value = "resolved by hand")]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Adjust {
    #[command(flatten)]
    daemon: Daemon,
    /// The window of a budget
    #[arg(long, value_name = "company.month")]
    budget: String,
    /// What was spent beside what the ledger says; with a minus, what was not
    #[arg(long, value_name = "-$3", allow_hyphen_values = true)]
    amount: String,
    /// Why, for the ledger
    #[arg(long)]
    reason: String,
}

pub(super) fn resolve(options: &Resolve) -> anyhow::Result<ExitCode> {
    let (daemon, now) = (&options.daemon, Timestamp::now());
    let since = options.since.as_deref().map(|text| moment(text, &here(), now)).transpose()?;
    let rows = match Reader::open(&daemon.state()).and_then(|reader| reader.disputes()) {
        Ok(rows) => rows,
        Err(error) => return Ok(told(&error)),
    };
    let is_meant = |row: &&DisputeRow| {
        let provider = row.target.as_deref().and_then(|target| target.split_once('/')).map(|(provider, _)| provider);
        (options.ids.is_empty() || options.ids.contains(&row.id.to_string()))
            && options.provider.as_deref().is_none_or(|wanted| provider == Some(wanted))
            && since.is_none_or(|since| row.at >= since)
    };
    let meant: Vec<&DisputeRow> = rows.iter().filter(is_meant).collect();
    let unknown: Vec<&String> = options.ids.iter().filter(|id| !rows.iter().any(|row| row.id.to_string() == **id)).collect();
    if !unknown.is_empty() {
        anstream::eprintln!(
            "error: no open dispute is named {}",
            unknown.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
        );
        anstream::eprintln!(" hint: `tollgate ledger disputes` lists them");
        return Ok(ExitCode::from(exit::FINDINGS));
    }
    if meant.is_empty() {
        return done(daemon, &json!({ "resolved": 0 }), "nothing is disputed there");
    }
    let ids = meant.iter().map(|row| row.id.to_string()).collect();
    let ask = LedgerAsk::Resolve(Resolution { ids, billed: options.billed, reason: options.reason.clone() });
    let told = format!(
        "{} resolved as {}",
        if meant.len() == 1 { "1 dispute".into() } else { format!("{} disputes", meant.len()) },
        options.billed.text()
    );
    put(daemon, &ask, &told, &mut |_| Ok(meant.iter().map(|row| resolved(row, options.billed, &options.reason, now)).collect()))
}

fn resolved(row: &DisputeRow, billed: Billed, reason: &str, at: Timestamp) -> Entry {
    let posted = billed.of(row.amount);
    let (id, released) = (row.id.clone(), row.amount.minus(posted));
    Entry::Resolved(ResolvedEntry { id, at, posted, released, reason: reason.into() })
}

pub(super) fn adjust(options: &Adjust) -> anyhow::Result<ExitCode> {
    let adjustment = Adjustment::parse(&options.budget, &options.amount, &options.reason).map_err(anyhow::Error::msg)?;
    let (daemon, now) = (&options.daemon, Timestamp::now());
    let told = format!("{} corrected by {}", options.budget, options.amount);
    put(daemon, &LedgerAsk::Adjust(adjustment.clone()), &told, &mut |daemon| {
        let windows = Reader::open(&daemon.state())?.windows(now)?;
        let is_it = |row: &&crate::store::WindowRow| row.key.budget == adjustment.budget && row.key.period == adjustment.period;
        let window = windows.iter().filter(is_it).max_by_key(|row| row.key.starts).map(|row| row.key.clone());
        let window = window.with_context(|| format!("nothing was counted in a present window `{}`", options.budget))?;
        let (amount, is_credit, reason) = (adjustment.amount, adjustment.is_credit, adjustment.reason.as_str().into());
        Ok(vec![Entry::Adjusted(AdjustedEntry { at: now, window, amount, is_credit, reason })])
    })
}

pub(super) fn accept_clock(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    match ask_daemon(daemon, &LedgerAsk::AcceptClock)? {
        Some(Ok(answer)) => done(daemon, &answer, "the clock is taken for right"),
        Some(Err(code)) => Ok(code),
        None => done(daemon, &json!({ "accepted": true }), "no daemon runs; one that starts takes the clock for right"),
    }
}

/// Has the daemon do it, or writes the entries where none runs.
fn put(
    daemon: &Daemon,
    ask: &LedgerAsk,
    told: &str,
    entries: &mut dyn FnMut(&Daemon) -> anyhow::Result<Vec<Entry>>,
) -> anyhow::Result<ExitCode> {
    let state = daemon.state();
    let lock = match lock(&state) {
        Ok(lock) => lock,
        Err(code) => return Ok(code),
    };
    if lock.is_none() {
        return match ask_daemon(daemon, ask)? {
            Some(Ok(answer)) => done(daemon, &answer, told),
            Some(Err(code)) => Ok(code),
            None => {
                anstream::eprintln!(
                    "error: a daemon uses {} and does not listen\n hint: say where with `--config`, or stop it",
                    state.display()
                );
                Ok(ExitCode::from(exit::UNAVAILABLE))
            }
        };
    }
    let write = |entries: &[Entry]| -> Result<usize, LedgerError> {
        let (mut ledger, _) = Ledger::open(&state, Timestamp::now(), hold_for(daemon.config()))?;
        let ignored = ledger.put(entries)?;
        ledger.close()?;
        Ok(ignored)
    };
    match entries(daemon) {
        Ok(entries) => match write(&entries) {
            Ok(ignored) => done(daemon, &json!({ "written": entries.len() - ignored }), told),
            Err(error) => Ok(super::told(&error)),
        },
        Err(error) => match error.downcast_ref::<LedgerError>() {
            Some(error) => Ok(super::told(error)),
            None => Err(error),
        },
    }
}

/// What the daemon answers, or the exit code where it does not do it; nothing where none listens.
fn ask_daemon(daemon: &Daemon, ask: &LedgerAsk) -> anyhow::Result<Option<Result<Value, ExitCode>>> {
    let socket = app::control_socket(&daemon.state(), Side::Command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let question = ask.json().to_string().into_bytes();
    let answer = runtime.block_on(async { ControlClient::new(&socket)?.post_ledger(ask.word(), question).await });
    match answer {
        Ok(value) => Ok(Some(Ok(value))),
        Err(crate::outside::ControlError::NobodyListens(_)) => Ok(None),
        Err(error) => {
            let code = tell_failure(&error, daemon.json(), &mut anstream::stdout(), &mut anstream::stderr())?;
            Ok(Some(Err(ExitCode::from(code))))
        }
    }
}

fn done(daemon: &Daemon, answer: &Value, told: &str) -> anyhow::Result<ExitCode> {
    if daemon.json() {
        print_json(answer)?;
    } else {
        print(&format!("{told}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
