mod diff;

use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use super::daemon::Daemon;
use super::revisions::{self, local};
use super::status::{plain, push};
use super::{print, print_json};
use crate::app::as_written;
use crate::config::{Change, Checked, changes};
use crate::reload::read_file;
use crate::store::Kept;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(flatten)]
    daemon: Daemon,
    /// How many to list, the newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what differs between two of them
    Diff(diff::Options),
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Row {
    revision: String,
    number: u64,
    /// Absent where it cannot be read back.
    accepted_at: Option<Timestamp>,
    running: bool,
    on_disk: bool,
    /// Against the one before; absent for the oldest that is kept, and where one of the two cannot be read.
    changes: Option<Vec<Change>>,
    /// Why it cannot be told what it says.
    problem: Option<String>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(What::Diff(options)) = &options.what {
        return diff::run(options);
    }
    let kept = match revisions::all(&options.daemon) {
        Ok(kept) => kept,
        Err(unfound) => {
            anstream::eprint!("{}", unfound.text);
            return Ok(ExitCode::from(unfound.code));
        }
    };
    let on_disk = read_file(options.daemon.config()).ok().map(|source| source.hash);
    let running = options.daemon.status()?.and_then(|status| status["revision"].as_str().map(str::to_owned));
    let rows = rows(&kept, options.last, running.as_deref(), on_disk.as_deref());
    if options.daemon.json() {
        print_json(&serde_json::json!({ "revisions": rows, "file_hash": on_disk }))?;
    } else {
        print(&readable(&rows, &options.daemon.config().display().to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest `last` revisions, newest first.
fn rows(kept: &[Kept], last: usize, running: Option<&str>, on_disk: Option<&str>) -> Vec<Row> {
    let listed = &kept[kept.len().saturating_sub(last)..];
    let oldest = kept.len() - listed.len();
    let mut before: Option<Checked> =
        oldest.checked_sub(1).and_then(|at| kept[at].read().ok()).and_then(|accepted| as_written(&accepted.sources));
    // The same file may have been in force several times; on disk it is the newest of them.
    let newest_on_disk = listed.iter().rposition(|kept| on_disk.is_some_and(|hash| hash.starts_with(&kept.short)));
    let mut rows = Vec::new();
    for (at, kept) in listed.iter().enumerate() {
        let read = kept.read();
        let now = read.as_ref().ok().and_then(|accepted| as_written(&accepted.sources));
        let problem = match (&read, &now) {
            (Err(error), _) => Some(format!("cannot be read back: {error}")),
            (Ok(_), None) => Some("this version of tollgate refuses it".into()),
            (Ok(_), Some(_)) => None,
        };
        rows.push(Row {
            revision: kept.to_string(),
            number: kept.number,
            accepted_at: read.ok().map(|accepted| accepted.at),
            running: running == Some(&kept.to_string()),
            on_disk: newest_on_disk == Some(at),
            changes: before.as_ref().zip(now.as_ref()).map(|(before, now)| changes(before, now)),
            problem,
        });
        before = now;
    }
    rows.reverse();
    rows
}

fn readable(rows: &[Row], file: &str) -> String {
    if rows.is_empty() {
        return "nothing was accepted yet\n".into();
    }
    let mut table = plain();
    table.set_header(["revision", "accepted", "now", "what changed"]);
    for row in rows {
        let now: Vec<&str> =
            [(row.running, "running"), (row.on_disk, "on disk")].into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        table.add_row([row.revision.clone(), row.accepted_at.map(local).unwrap_or_default(), now.join(", "), in_a_few_words(row)]);
    }
    let mut text = String::new();
    push(&mut text, &table);
    if !rows.iter().any(|row| row.on_disk) {
        text.extend(["\n", file, " on disk is none of these\n"]);
    }
    text
}

fn in_a_few_words(row: &Row) -> String {
    const TOLD: usize = 2;
    match (&row.problem, &row.changes) {
        (Some(problem), _) => problem.clone(),
        (None, None) => "-".into(),
        (None, Some(changes)) if changes.is_empty() => "nothing but words: comments, order or spelling".into(),
        (None, Some(changes)) => {
            let mut words: Vec<String> = changes.iter().take(TOLD).map(ToString::to_string).collect();
            words.extend(changes.len().checked_sub(TOLD).filter(|more| *more > 0).map(|more| format!("{more} more")));
            words.join("; ")
        }
    }
}
