//! What recognising a task costs: prompts of 8 KB, made of those that the table was made from.
//!
//! `cargo bench --bench tasks` prints the time at the median and at the 99th percentile, and ends with exit code 1 when the second is above
//! what is promised. Each prompt is looked at five times, and the shortest counts: what else the machine does is left out.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::time::Instant;
use tollgate::tasks::classify;

const BYTES: usize = 8 << 10;
const MOST: Duration = Duration::from_micros(50);

fn main() -> anyhow::Result<ExitCode> {
    let mut times = Vec::new();
    for (system, prompt) in prompts()? {
        let once = |_| {
            let began = Instant::now();
            std::hint::black_box(classify(std::hint::black_box(&system), std::hint::black_box(&prompt)));
            began.elapsed()
        };
        times.push((0..5).map(once).min().unwrap_or_default());
    }
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!("{} prompts of {BYTES} bytes: median {:.1?}, p99 {:.1?} (at most {MOST:?})", times.len(), at(50), at(99));
    Ok(if at(99) <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// System messages and prompts, each prompt repeated until it is long enough.
fn prompts() -> anyhow::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for file in ["dev.jsonl", "natural.jsonl"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tasks").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for line in text.lines() {
            let row: Value = serde_json::from_str(line)?;
            let prompt = row["prompt"].as_str().context("a row has no prompt")?;
            let repeated = format!("{prompt}\n").repeat(BYTES.div_ceil(prompt.len() + 1));
            all.push((row["system"].as_str().unwrap_or_default().to_owned(), repeated));
        }
    }
    Ok(all)
}
