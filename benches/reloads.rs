//! What a thousand reloads do to running requests: nothing, or this program says so.
//!
//! `cargo bench --bench reloads` saves the file 1,000 times, every fifth time with something wrong in it, while more than
//! 300 requests a second are answered and 50 streams are open. It prints failed requests, cut streams, requests that saw
//! two revisions, refused files, the time from a save to the first request that follows it, and how many calls a used-up
//! limit let through; it ends with exit code 1 when one of them is not as promised. Flags: `--reloads N`, `--quick`.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "ratio/client.rs"]
mod client;
#[path = "ratio/daemon.rs"]
mod daemon;
#[path = "ratio/mock.rs"]
mod mock;
#[path = "reloads/revisions.rs"]
mod revisions;
#[path = "reloads/saves.rs"]
mod saves;
#[path = "reloads/traffic.rs"]
mod traffic;

use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use daemon::Daemon;
use mock::Script;
use saves::Saved;
use traffic::{Seen, Traffic};

/// Two seconds of events: a stream outlives several reloads.
const SCRIPT: Script = Script { events: 100, gap_ms: 20 };

fn main() -> anyhow::Result<ExitCode> {
    let reloads = reloads_wanted()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut tasks = JoinSet::new();
    let listener = runtime.block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    let upstream = listener.local_addr()?;
    let guard = runtime.enter();
    tasks.spawn(async move { mock::serve(listener, SCRIPT).await.is_ok() });
    let daemon = Daemon::start(Command::new(env!("CARGO_BIN_EXE_tollgate")), |listen, admin| {
        revisions::routes(revisions::Addresses { upstream, listen, admin }, 0)
    })?;
    let traffic = Arc::new(Traffic::new(daemon.listen, SCRIPT));
    traffic::start(&traffic, &mut tasks);
    // Traffic runs at full width before the first save.
    std::thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    let (before, rss_before) = (traffic.seen(), daemon::rss_kib(daemon.process.id())?);
    let saved = saves::save_all(&daemon, upstream, reloads)?;
    let took = began.elapsed();
    let seen = traffic.seen();
    let rss_after = daemon::rss_kib(daemon.process.id())?;
    traffic.stop();
    runtime.block_on(async { while tasks.join_next().await.is_some_and(|_| traffic.is_busy()) {} });
    tasks.abort_all();
    drop(guard);
    println!(
        "first answer {} ms after the start; RSS {rss_before} KiB before the first save, {rss_after} KiB after the last",
        daemon.first_answer.as_millis()
    );
    Ok(if report(&saved, &before, &seen, &traffic.seen(), took) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn reloads_wanted() -> anyhow::Result<u64> {
    let mut reloads = 1000;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo adds this one by itself.
            "--bench" => {}
            "--quick" => reloads = 50,
            "--reloads" => reloads = words.next().context("--reloads needs a number")?.parse()?,
            other => bail!("unknown flag `{other}`: --reloads N, --quick"),
        }
    }
    Ok(reloads)
}

/// Prints every figure beside its promise; whether all are kept. `end` was read after the last open stream had ended.
fn report(saved: &Saved, before: &Seen, after: &Seen, end: &Seen, took: Duration) -> bool {
    let seconds = took.as_secs_f64();
    let rate = f64::from(after.requests - before.requests) / seconds;
    let allowed = revisions::EDGE_BURST + u32::try_from(took.as_secs() / revisions::EDGE_SECONDS).unwrap_or(u32::MAX) + 1;
    let lines = [
        (format!("saves: {} ({} of them wrong) in {seconds:.0} s", saved.good + saved.bad, saved.bad), true),
        (format!("requests: {} ({rate:.0} a second, promised beside at least 300)", end.requests), rate >= 300.0),
        (format!("failed requests: {} (0)", end.failed), end.failed == 0),
        (format!("streams: {} whole, {} open at once", end.whole_streams, traffic::STREAMS), end.whole_streams > 0),
        (format!("cut streams: {} (0)", end.cut_streams), end.cut_streams == 0),
        (format!("requests that saw two revisions: {} (0)", end.mixed), end.mixed == 0),
        (format!("wrong files refused: {} of {}", saved.refused, saved.bad), saved.refused == saved.bad),
        (format!("good files in force: {} of {}", saved.in_force.len(), saved.good), saved.in_force.len() as u64 == saved.good),
        in_force(&saved.in_force),
        (format!("a limit at its edge let through: {} (at most {allowed})", end.edge_passed), end.edge_passed <= allowed),
    ];
    for (line, holds) in &lines {
        println!("{}{line}", if *holds { "" } else { "MISSED  " });
    }
    for what in &end.first_faults {
        println!("  seen: {what}");
    }
    lines.iter().all(|(_, holds)| *holds)
}

fn in_force(times: &[Duration]) -> (String, bool) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default();
    let [p50, p99, most] = [50, 99, 100].map(|percent| at(percent).as_secs_f64() * 1e3);
    (
        format!("save to in force: p50 {p50:.0} ms, p99 {p99:.0} ms, most {most:.0} ms (p99 at most 500 ms)"),
        p99 <= 500.0 && !times.is_empty(),
    )
}
