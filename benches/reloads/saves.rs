//! Saves the file again and again, and waits each time until it is in force or refused.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::Daemon;
use crate::revisions::{self, Addresses};

/// After this a saved file counts as overlooked.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Saved {
    pub(crate) good: u64,
    pub(crate) bad: u64,
    pub(crate) refused: u64,
    /// From the end of a save to the start of the first request that followed the new file.
    pub(crate) in_force: Vec<Duration>,
}

pub(crate) fn save_all(daemon: &Daemon, upstream: SocketAddr, reloads: u64) -> anyhow::Result<Saved> {
    let addresses = Addresses { upstream, listen: daemon.listen, admin: daemon.admin };
    let mut saved = Saved::default();
    for number in 1..=reloads {
        if number.is_multiple_of(5) {
            saved.bad += 1;
            saved.refused += u64::from(is_refused(daemon, number, &revisions::wrong(addresses, number))?);
        } else {
            saved.good += 1;
            saved.in_force.extend(comes_into_force(daemon, number, &revisions::routes(addresses, number))?);
        }
        if number.is_multiple_of(100) {
            eprintln!("{number} of {reloads} saved");
        }
    }
    Ok(saved)
}

/// Writes in place and by a rename in turns.
fn save(file: &Path, number: u64, text: &str) -> std::io::Result<()> {
    if number.is_multiple_of(2) {
        return std::fs::write(file, text);
    }
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, file)
}

fn is_refused(daemon: &Daemon, number: u64, text: &str) -> anyhow::Result<bool> {
    let before = daemon.metric("tollgate_config_reload_failures_total")?;
    save(&daemon.file, number, text)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if daemon.metric("tollgate_config_reload_failures_total")? > before {
            // Traffic would see the wrong file's rule, were it in force after all.
            return Ok(!daemon.ask()?.contains(&format!("rule-{number}\r")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(false)
}

fn comes_into_force(daemon: &Daemon, number: u64, text: &str) -> anyhow::Result<Option<Duration>> {
    save(&daemon.file, number, text)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let asked = began.elapsed();
        if daemon.ask()?.contains(&format!("rule-{number}\r")) {
            return Ok(Some(asked));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}
