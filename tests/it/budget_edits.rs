//! Budgets that are edited while hundreds of requests run: what was spent is never forgotten, and the file in force decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::*;

/// One answer costs so much: nine tokens in and three out, a tenth of a cent each.
const COST: u64 = 12_000_000;

/// Saves another budget, and waits until it is in force.
async fn edit(daemon: &Daemon, file: &str, budget: &str) {
    daemon.write(&format!("{file}budgets:\n  {budget}\n"));
    daemon.app.reload(tollgate::reload::Cause::Command).await;
}

/// Posted so far by the budget of that name.
fn posted(daemon: &Daemon, name: &str) -> u64 {
    let levels = daemon.app.running().purse().levels();
    levels.iter().filter(|level| level.key.budget.as_str() == name).map(|level| level.posted.nano()).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c18_to_c21_what_was_spent_outlives_every_edit_under_load() {
    let provider = Provider::always([vec![Act::Wait(Duration::from_millis(20))], answers("hello")].concat()).await;
    let model = "m: { usd_per_mtok: { input: 1000, output: 1000 }, context: 128k, max_output: 64 }";
    let file = routes(&[&provider], "").replace("m: {}", model);
    let daemon = Arc::new(Daemon::start(&format!("{file}budgets:\n  company: {{ cap: $1000/month }}\n")).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for _ in 0..32 {
        let (daemon, is_over) = (Arc::clone(&daemon), Arc::clone(&is_over));
        workers.spawn(async move {
            let mut served = 0;
            while !is_over.load(Ordering::Acquire) {
                let got = daemon.chat().await;
                assert!(got.status == 200 || got.code() == "budget_exceeded", "{got:?}");
                served += u64::from(got.status == 200);
            }
            served
        });
    }
    let mut least = 0;
    for (budget, name) in [
        ("company: { cap: $1000/month }", "company"),
        ("company: { cap: $2000/month }", "company"),
        ("company: { cap: $0.01/month }", "company"),
        ("company: { cap: $1000/month }", "company"),
        ("firm: { cap: $1000/month, was: company }", "firm"),
        ("firm: { cap: $1000/week }", "firm"),
        ("firm: { cap: [$1000/month, $1000/week] }", "firm"),
    ] {
        edit(&daemon, &file, budget).await;
        if !budget.contains("$0.01") {
            let served = provider.count() + 64;
            eventually(|| (provider.count() >= served).then_some(())).await;
        }
        let now = posted(&daemon, name);
        assert!(now >= least, "{budget}: {now} posted, and {least} before");
        least = now;
    }
    is_over.store(true, Ordering::Release);
    let mut served = 0;
    while let Some(ended) = workers.join_next().await {
        served += ended.unwrap();
    }
    // Everything since the first request, by whatever name and period.
    assert_eq!(posted(&daemon, "firm"), served * COST);
}
