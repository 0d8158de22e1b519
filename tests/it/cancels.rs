//! Clients that leave: at any phase, at every event of a stream, while the provider bills none, half or all of what was left.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::support::*;

/// A thousandth of a dollar for each token, so that sums are easily read.
const MODEL: &str = "m: { usd_per_mtok: { input: 1000, output: 1000 }, context: 128k, max_output: 1k }";
const NANO: u64 = 1_000_000;
/// The events with content of one stream, a token each.
const EVENTS: usize = 200;

/// Posted, disputed and held by the company's budget.
fn level(daemon: &Daemon) -> (u64, u64, u64) {
    let levels = daemon.app.running().purse().levels();
    let company = levels.iter().find(|level| level.key.budget.as_str() == "company").unwrap();
    (company.posted.nano(), company.disputed.nano(), company.held.nano())
}

async fn at_rest(daemon: &Daemon) {
    eventually(|| (level(daemon).2 == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b09_nothing_is_held_when_everybody_has_left() {
    let cancels: u64 = std::env::var("TOLLGATE_CANCELS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let wait = |millis| Act::Wait(Duration::from_millis(millis));
    let gate = Gate::shut();
    let scripts = [
        vec![wait(2), answers("hello")[0].clone()],
        streams_in_two("hello", &gate, "world"),
        vec![wait(1), send(STREAM_HEAD), wait(1), send(chunk(&content("hello"))), Act::Hang],
        vec![Act::Hang],
        streams("hello", "world"),
        vec![wait(1), send(json_answer("503 Service Unavailable", "{}"))],
    ];
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for turn in 0..600 {
        first.push(scripts[turn % scripts.len()].clone());
        second.push(scripts[(turn + 3) % scripts.len()].clone());
    }
    let (first, second) = (Provider::start(first).await, Provider::start(second).await);
    let file = routes(&[&first, &second], "cooldown: off, budget: $1000000/month, on_disconnect: stops").replace("m: {}", MODEL)
        + "budgets:\n  company: { cap: [$1000000/month, $1000000/day] }\n";
    let daemon = Arc::new(Daemon::start(&file).await);
    let mut workers = JoinSet::new();
    for worker in 0..16_u64 {
        let daemon = Arc::clone(&daemon);
        workers.spawn(async move {
            let mut rng = Rng::with_seed(worker);
            for _ in 0..cancels.div_ceil(16) {
                let request = post("/v1/chat/completions", &[], &chat(rng.bool()));
                let patience = Duration::from_micros(rng.u64(0..6_000));
                let begun = rng.usize(1..=request.len());
                let asked = async {
                    let mut line = Line::send(daemon.app.listen(), &request[..begun]).await;
                    line.send_more(&request[begun..]).await;
                    while line.read().await > 0 {}
                };
                tokio::time::timeout(patience, asked).await.ok();
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    at_rest(&daemon).await;
    let levels = daemon.app.running().purse().levels();
    assert!(levels.iter().all(|level| level.held.nano() == 0), "{levels:?}");
    let (posted, disputed, _) = level(&daemon);
    assert!(posted > 0 && disputed > 0, "{posted} posted, {disputed} disputed");
    println!("{cancels} cancels, {} requests reached a provider, nothing is held", first.count() + second.count());
    // What every row says is what the counters say.
    let folder = Arc::into_inner(daemon).unwrap().stop().await;
    let rows = rusqlite::Connection::open(folder.file("state/ledger.sqlite")).unwrap();
    let select = "SELECT sum(posted), sum(disputed) FROM entries WHERE attempt IS NOT NULL";
    let sums = rows.query_row(select, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap();
    assert_eq!((sums.0.unsigned_abs(), sums.1.unsigned_abs()), (posted, disputed));
    assert_eq!(rows.query_row("SELECT count(*) FROM holds", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

/// Leaves after the n-th event of a stream; what the budget has posted and disputed then.
async fn left_after(daemon: &Daemon, event: usize) -> (u64, u64) {
    let before = level(daemon);
    let mut line = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    line.until(&format!("word{event} ")).await;
    drop(line);
    at_rest(daemon).await;
    let (posted, disputed, _) = level(daemon);
    (posted - before.0, disputed - before.1)
}

#[tokio::test]
async fn b10_whoever_leaves_at_any_event_is_counted_with_all_that_may_be_billed() {
    // After so many events the provider waits, so that the client leaves exactly there.
    let scripts: Vec<Vec<Act>> = (1..=EVENTS)
        .map(|events| {
            let said = (1..=events).map(|event| chunk(&content(&format!("word{event} ")))).collect::<String>();
            vec![send(format!("{STREAM_HEAD}{}{said}", chunk(&delta(r#"{"role":"assistant","content":""}"#, None)))), Act::Hang]
        })
        .collect();
    for on_disconnect in ["finishes", "stops"] {
        let provider = Provider::start(scripts.clone()).await;
        let file = routes(&[&provider], &format!("on_disconnect: {on_disconnect}")).replace("m: {}", MODEL)
            + "budgets:\n  company: { cap: $10000/month }\n";
        let daemon = Daemon::start(&file).await;
        for event in 1..=EVENTS {
            let (posted, disputed) = left_after(&daemon, event).await;
            // A provider that stops bills what it has written; others as much of the rest of the limit as they like.
            let rest = (1_000 - event) as u64;
            let parts: &[u64] = if on_disconnect == "stops" { &[0] } else { &[0, 50, 100] };
            for part in parts {
                let billed = (9 + event as u64 + rest * part / 100) * NANO;
                assert!(
                    billed <= posted + disputed,
                    "{on_disconnect}, event {event}, {part} %: {billed} billed, {posted} posted, {disputed} disputed"
                );
            }
            assert!(posted >= (9 + event as u64) * NANO, "{on_disconnect}, event {event}: what was seen is posted, not disputed: {posted}");
        }
    }
}
