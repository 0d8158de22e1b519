//! The workload that the ledger recorded.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::{Timestamp, ToSpan};

use super::projection::{Part, WHOLE, Workload};
use super::table::{dollars, grouped};
use crate::store::Reader;
use crate::units::Usd;

/// How far back it looks: what stands for a month.
const DAYS: i64 = 30;

/// What was asked in the last thirty days.
pub(super) struct Measured {
    pub(super) workload: Workload,
    /// In words.
    pub(super) head: String,
    /// What of it was billed, and where.
    pub(super) notes: Vec<String>,
    /// Targets that served, the busiest first.
    pub(super) targets: Vec<String>,
}

/// What all requests of one task used together.
#[derive(Default)]
struct OfTask {
    requests: u64,
    attempts: u64,
    uncached: u64,
    cached: u64,
    written: u64,
    output: u64,
}

/// Reads the ledger of a state folder. `requests` is how many a month shall have, where it is not as many as there were.
pub(super) fn measured(state: &Path, now: Timestamp, requests: Option<u64>) -> anyhow::Result<Measured> {
    let since = now.checked_sub((DAYS * 24).hours())?;
    let reader = Reader::open(state).with_context(|| format!("no ledger can be read in {}", state.display()))?;
    let mut tasks: BTreeMap<String, OfTask> = BTreeMap::new();
    let mut targets: BTreeMap<String, u64> = BTreeMap::new();
    let mut posted: i64 = 0;
    for sum in reader.sums(since, now, false)? {
        posted = posted.saturating_add(sum.posted);
        let Some(context) = sum.context else { continue };
        if let Some(target) = &context.target {
            *targets.entry(target.clone()).or_default() += sum.attempts;
        }
        let task = tasks.entry(context.task.clone()).or_default();
        task.requests += sum.requests;
        task.attempts += sum.attempts;
        task.uncached += sum.input;
        task.cached += sum.cache_read;
        task.written += sum.cache_write;
        task.output += sum.output;
    }
    let total: u64 = tasks.values().map(|task| task.requests).sum();
    if total == 0 {
        bail!("the ledger in {} knows no request of the last {DAYS} days", state.display());
    }
    let mut tasks: Vec<(String, OfTask)> = tasks.into_iter().filter(|(_, task)| task.attempts > 0).collect();
    tasks.sort_by_key(|(_, task)| std::cmp::Reverse(task.requests));
    let parts = tasks.iter().map(|(_, task)| part(task)).collect();
    let mut targets: Vec<(String, u64)> = targets.into_iter().collect();
    targets.sort_by_key(|(_, attempts)| std::cmp::Reverse(*attempts));
    let spent = Usd::from_nano(u64::try_from(posted).unwrap_or_default());
    let requests = requests.unwrap_or(total);
    Ok(Measured {
        workload: Workload { requests, retries: 0, parts },
        head: format!("{} requests a month in the mix of the last {DAYS} days\n\n{}", grouped(requests), mix(&tasks, total)),
        notes: vec![format!("In these {DAYS} days the ledger counted {} requests and {} for them.", grouped(total), dollars(spent))],
        targets: targets.into_iter().map(|(target, _)| target).collect(),
    })
}

fn part(task: &OfTask) -> Part {
    let scaled = |tokens: u64| u128::from(tokens) * u128::from(WHOLE);
    Part {
        weight: task.requests,
        input: (task.uncached + task.cached + task.written) / task.attempts.max(1),
        uncached: scaled(task.uncached),
        cached: scaled(task.cached),
        written: scaled(task.written),
        output: scaled(task.output),
    }
}

/// One line a task: its share, and what a request of it is like.
fn mix(tasks: &[(String, OfTask)], total: u64) -> String {
    let line = |(name, task): &(String, OfTask)| {
        let each = |tokens: u64| grouped(tokens / task.attempts.max(1));
        let cached = (task.cached * 100).checked_div(task.uncached + task.cached + task.written).unwrap_or_default();
        let input = task.uncached + task.cached + task.written;
        format!(
            "  {name}: {} % of the requests, {} tokens in ({cached} % of them cached) and {} out",
            task.requests * 100 / total.max(1),
            each(input),
            each(task.output)
        )
    };
    tasks.iter().map(line).collect::<Vec<_>>().join("\n")
}
