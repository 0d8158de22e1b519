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

/// A provider that takes a moment, and a file with its price.
async fn priced() -> (Provider, String) {
    let provider = Provider::always([vec![Act::Wait(Duration::from_millis(20))], answers("hello")].concat()).await;
    let model = "m: { usd_per_mtok: { input: 1000, output: 1000 }, context: 128k, max_output: 64 }";
    let file = routes(&[&provider], "").replace("m: {}", model);
    (provider, file)
}

/// Asks without end; a cap that is used up is the only refusal there may be.
struct Load {
    is_over: Arc<AtomicBool>,
    workers: JoinSet<u64>,
}

impl Load {
    fn on(daemon: &Arc<Daemon>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for _ in 0..32 {
            let (daemon, is_over) = (Arc::clone(daemon), Arc::clone(&is_over));
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
        Self { is_over, workers }
    }

    /// How many were served, once all have ended.
    async fn end(mut self) -> u64 {
        self.is_over.store(true, Ordering::Release);
        let mut served = 0;
        while let Some(ended) = self.workers.join_next().await {
            served += ended.unwrap();
        }
        served
    }
}

/// Waits until so many more are served.
async fn serves(provider: &Provider, more: usize) {
    let served = provider.count() + more;
    eventually(|| (provider.count() >= served).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c18_to_c21_what_was_spent_outlives_every_edit_under_load() {
    let (provider, file) = priced().await;
    let daemon = Arc::new(Daemon::start(&format!("{file}budgets:\n  company: {{ cap: $1000/month }}\n")).await);
    let load = Load::on(&daemon);
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
            serves(&provider, 64).await;
        }
        let now = posted(&daemon, name);
        assert!(now >= least, "{budget}: {now} posted, and {least} before");
        least = now;
    }
    let served = load.end().await;
    // Everything since the first request, by whatever name and period.
    assert_eq!(posted(&daemon, "firm"), served * COST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_a_budget_that_is_taken_out_binds_no_more_and_comes_back_with_what_it_had_spent() {
    let (provider, file) = priced().await;
    let ample = "company: { cap: $1000/month }";
    let daemon = Arc::new(Daemon::start(&format!("{file}budgets:\n  {ample}\n")).await);
    let load = Load::on(&daemon);
    serves(&provider, 64).await;
    edit(&daemon, &file, "company: { cap: $0.01/month }").await;
    // Who was admitted before ends; nobody else is.
    eventually(|| (daemon.status()["budgets"][0]["held_usd"] == "0").then_some(())).await;
    let (spent, asked) = (posted(&daemon, "company"), provider.count());
    assert!(spent >= 64 * COST && daemon.chat().await.code() == "budget_exceeded");
    assert_eq!((posted(&daemon, "company"), provider.count()), (spent, asked));
    // Taken out under load.
    daemon.write(&file);
    assert!(daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
    serves(&provider, 64).await;
    assert!(daemon.app.running().purse().levels().is_empty());
    // And put in again: what went by without it is not its own.
    edit(&daemon, &file, "company: { cap: $0.01/month }").await;
    assert_eq!((posted(&daemon, "company"), daemon.chat().await.code().as_str()), (spent, "budget_exceeded"));
    edit(&daemon, &file, ample).await;
    serves(&provider, 64).await;
    load.end().await;
    let kept = posted(&daemon, "company");
    assert!(kept >= spent + 64 * COST, "{kept} after {spent}");
    let folder = Arc::into_inner(daemon).unwrap().stop().await;
    let daemon = Daemon::start_in(folder, |_| {}).await.unwrap_or_else(|(_, error)| panic!("{error}"));
    assert_eq!(posted(&daemon, "company"), kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c21_a_period_that_was_exchanged_binds_over_edits_and_new_starts() {
    let (_provider, file) = priced().await;
    let with = |caps: &str| format!("{file}budgets:\n  company: {{ cap: {caps} }}\n");
    let mut daemon = Daemon::start(&with("[$0.5/month, $1000/total]")).await;
    let mut served = 0;
    while daemon.chat().await.status == 200 {
        served += 1;
    }
    assert!(served > 5, "{served}");
    let restarted = async |daemon: Daemon| {
        let folder = daemon.stop().await;
        Daemon::start_in(folder, |_| {}).await.unwrap_or_else(|(_, error)| panic!("{error}"))
    };
    for caps in ["[$1000/week, $1000/total]", "[$2000/week, $1000/total]", "$2000/week"] {
        daemon.write(&with(caps));
        assert!(daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
        assert_eq!(daemon.chat().await.code(), "budget_exceeded", "{caps}");
        daemon = restarted(daemon).await;
        assert_eq!(daemon.chat().await.code(), "budget_exceeded", "{caps} after a new start");
    }
    // What is only taken out binds no more, after a new start neither.
    daemon.write(&with("[$0.5/month, $2000/week]"));
    assert!(daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
    assert_eq!(daemon.chat().await.code(), "budget_exceeded");
    daemon.write(&with("$2000/week"));
    assert!(daemon.app.reload(tollgate::reload::Cause::Command).await.ok);
    assert_eq!(daemon.chat().await.status, 200);
    assert_eq!(restarted(daemon).await.chat().await.status, 200);
}
