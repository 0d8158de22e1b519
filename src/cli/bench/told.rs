use std::fmt::Write as _;

use crate::bench::{Decision, Interval, Report, Sums};
use crate::cli::status::{plain, push};

use super::why;

/// The report as people read it: by target and task, then the table that decides.
pub(super) fn text(report: &Report, is_example: bool) -> String {
    // Writing to a String cannot fail.
    let mut text = String::new();
    let mut table = plain();
    table.set_header(["target", "task", "n", "right", "95 %", "per case", "per right", "TTFT p50/p90/p99 ms", "tokens/s p50", "failures"]);
    for target in &report.targets {
        for (task, sums) in target.tasks.iter().map(|(task, sums)| (task.as_str(), sums)).chain([("all", &target.all)]) {
            table.add_row(cells(&target.target, task, sums));
        }
    }
    push(&mut text, &table);
    text.push('\n');
    let mut table = plain();
    table.set_header(["Metric", "Best model", "Score", "Runner-up", "Score"]);
    for row in &report.decision {
        table.add_row(decided(row));
    }
    push(&mut text, &table);
    _ = writeln!(
        text,
        "\nquality: {}\nintervals of 95 %; `~` marks rows whose order may be chance, because the intervals overlap",
        report.quality
    );
    if is_example {
        text.push_str("these are the example's cases: they show the form and rank nothing; `--cases FILE` takes your own\n");
    }
    if let Some(stopped) = report.stopped {
        _ = writeln!(text, "ended early: {}; `--resume FILE` goes on where a run ended", why(stopped));
    }
    text
}

fn cells(target: &str, task: &str, sums: &Sums) -> [String; 10] {
    let dash = || "-".to_owned();
    let dollars = |usd: &Option<String>| usd.as_ref().map_or_else(dash, |usd| format!("${usd}"));
    let failures: Vec<String> = sums.failures.iter().map(|(code, count)| format!("{count} {code}")).collect();
    [
        target.to_owned(),
        task.to_owned(),
        sums.n.to_string(),
        sums.quality.map_or_else(dash, |Interval { value, .. }| format!("{:.1} %", value * 100.0)),
        sums.quality.map_or_else(dash, |Interval { low, high, .. }| format!("{:.1} to {:.1}", low * 100.0, high * 100.0)),
        dollars(&sums.usd_per_case),
        dollars(&sums.usd_per_right_answer),
        sums.ttft_ms.map_or_else(dash, |ttft| format!("{:.0}/{:.0}/{:.0}", ttft.p50, ttft.p90, ttft.p99)),
        sums.tokens_per_second.map_or_else(dash, |speed| format!("{:.0}", speed.p50)),
        if failures.is_empty() { dash() } else { failures.join(", ") },
    ]
}

fn decided(row: &Decision) -> [String; 5] {
    let dash = || "-".to_owned();
    let mark = if row.runner_up.is_some() && row.best.as_ref().is_some_and(|best| best.may_be_chance) { " ~" } else { "" };
    let name = |placed: &Option<crate::bench::Placed>| placed.as_ref().map_or_else(dash, |placed| placed.target.clone());
    let score =
        |placed: &Option<crate::bench::Placed>| placed.as_ref().map_or_else(dash, |placed| format!("{}, n={}", placed.score, placed.n));
    [format!("{}{mark}", row.metric), name(&row.best), score(&row.best), name(&row.runner_up), score(&row.runner_up)]
}
