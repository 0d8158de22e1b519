//! Accepted files by the names that people give them.

use std::fmt::Write;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::daemon::Daemon;
use super::exit;
use crate::config::Sources;
use crate::reload::read_file;
use crate::store::{Accepted, Kept, kept};

/// Why a revision cannot be had: what is told, and the exit code.
#[derive(Debug)]
pub(super) struct Unfound {
    pub(super) text: String,
    pub(super) code: u8,
}

/// A configuration that somebody named.
#[derive(Debug)]
pub(super) struct Named {
    /// `7-3f2a9c1b04de`, or the file's name.
    pub(super) name: String,
    /// Absent for the file on disk.
    pub(super) accepted_at: Option<Timestamp>,
    pub(super) sources: Sources,
}

/// The kept revisions of the daemon, oldest first.
pub(super) fn all(daemon: &Daemon) -> Result<Vec<Kept>, Unfound> {
    let state = daemon.state();
    kept(&state).map_err(|error| unlisted(&state, &error))
}

fn unlisted(state: &Path, error: &io::Error) -> Unfound {
    let folder = state.join("revisions");
    let (why, hint, code) = match error.kind() {
        io::ErrorKind::NotFound => ("there is none yet".into(), "name the daemon's state folder with `--state`", exit::UNAVAILABLE),
        io::ErrorKind::PermissionDenied => {
            ("this user may not read it".into(), "run it as root or as the daemon's user", exit::NO_PERMISSION)
        }
        kind => (kind.to_string(), "look at the folder", exit::IO),
    };
    Unfound { text: format!("error: the history in {} cannot be read: {why}\n hint: {hint}\n", folder.display()), code }
}

/// The revision with a number, `7`, or with a number and a beginning of its hash, `7-3f2a`.
pub(super) fn revision(kept: &[Kept], wanted: &str) -> Result<Accepted, Unfound> {
    let (number, short) = wanted.split_once('-').unwrap_or((wanted, ""));
    let number = number.parse().ok();
    let Some(found) = kept.iter().find(|kept| Some(kept.number) == number && kept.short.starts_with(short)) else {
        let mut text = format!("error: there is no revision `{wanted}`\n");
        // Writing to a String cannot fail.
        _ = match (kept.first(), kept.last()) {
            (Some(first), Some(last)) => writeln!(text, " hint: kept are {first} to {last}, `tollgate history` lists them"),
            _ => writeln!(text, " hint: nothing was accepted yet"),
        };
        return Err(Unfound { text, code: exit::FINDINGS });
    };
    found.read().map_err(|error| Unfound { text: format!("error: revision {found} cannot be read back: {error}\n"), code: exit::IO })
}

/// The same, or the file on disk under the name `file`.
pub(super) fn named(daemon: &Daemon, kept: &[Kept], wanted: &str) -> Result<Named, Unfound> {
    if wanted != "file" {
        let accepted = revision(kept, wanted)?;
        return Ok(Named { name: label(&accepted), accepted_at: Some(accepted.at), sources: accepted.sources });
    }
    let name = daemon.config().display().to_string();
    let source = read_file(daemon.config()).map_err(|refused| Unfound { text: refused.text, code: exit::FINDINGS })?;
    Ok(Named { sources: source.sources.named(name.clone()), name, accepted_at: None })
}

/// `7-3f2a9c1b04de`.
pub(super) fn label(accepted: &Accepted) -> String {
    format!("{}-{}", accepted.number, accepted.hash.get(..12).unwrap_or(&accepted.hash))
}

/// In this machine's time zone.
pub(super) fn local(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
