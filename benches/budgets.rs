//! What a budget costs on a request's way: holds and settlements per second on two threads, and the time of one.
//!
//! `cargo bench --bench budgets` holds each attempt against three budgets under grants of a real ledger, and settles it.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tollgate::admit::{Budgets, End, Purse, SentFacts};
use tollgate::config::{Env, HoldFor, Sources, read};
use tollgate::flow::Question;
use tollgate::rules::{Revision, RuleSet};
use tollgate::store::Ledger;
use tollgate::units::{Basis, Clock, Endpoint, LedgerQueue, Pairs, RequestFacts, TaskName, Usd};

const FILE: &str = "version: 1
providers:
  box: { format: sandbox, budget: $500_000/month, models: { m: { usd_per_mtok: { input: 1, output: 2 }, context: 128k, max_output: 4k } } }
budgets:
  company: { cap: [$1_000_000/month, $100_000/day] }
default: { chain: [box/m] }
";
const EACH: usize = 300_000;
const THREADS: usize = 2;
const LEAST_PER_SECOND: u128 = 20_000;
const MOST_AT_THE_MEDIAN: Duration = Duration::from_micros(2);

fn main() -> anyhow::Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("tollgate-bench-budgets-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let nothing = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let env = Env { variable: &|_| None, file: &nothing, credential: &nothing };
    let checked = read(&Sources::new("routes.yaml", FILE), &env).0.ok_or_else(|| anyhow::anyhow!("the file is refused"))?;
    let rules = Arc::new(RuleSet::from((checked, Revision { number: 1, hash: "0".repeat(64) })));
    let (ledger, remembered) = Ledger::open(&folder, Timestamp::now(), HoldFor::Window)?;
    let (queue, inbox) = LedgerQueue::new();
    let writer = ledger.run(inbox);
    let budgets = Budgets::new(Clock::System, queue, &remembered);
    let purse = Arc::new(budgets.adopt(rules.budgets(), rules.callers(), rules.ledger()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async { drop(purse.reserve(&cover(&purse, &rules), Usd::from_nano(1_000_000), true).await) });
    let began = Instant::now();
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (purse, rules, runtime) = (Arc::clone(&purse), Arc::clone(&rules), runtime.handle().clone());
            std::thread::spawn(move || {
                // A wait for a grant sets a timer.
                let _entered = runtime.enter();
                work(&purse, &rules)
            })
        })
        .collect();
    let mut times: Vec<Duration> = workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect();
    let took = began.elapsed();
    times.sort_unstable();
    let per_second = times.len() as u128 * 1_000_000_000 / took.as_nanos().max(1);
    let median = times[times.len() / 2];
    println!("{per_second} holds and settlements a second on {THREADS} threads, the ledger writing beside (at least {LEAST_PER_SECOND})");
    println!("one of them: {median:.2?} at the median (at most {MOST_AT_THE_MEDIAN:?}), {:.2?} p99", times[times.len() * 99 / 100]);
    budgets.close();
    let is_written = writer.finish(Duration::from_mins(1));
    std::fs::remove_dir_all(&folder)?;
    let all_kept = is_written && per_second >= LEAST_PER_SECOND && median <= MOST_AT_THE_MEDIAN;
    Ok(if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cover(purse: &Purse, rules: &RuleSet) -> tollgate::admit::Cover {
    let question = Question::default();
    let Ok(features) = question.features(rules) else { return tollgate::admit::Cover::default() };
    let Some(found) = rules.find(&features) else { return tollgate::admit::Cover::default() };
    purse.cover(&features, found.name, &rules.targets()[0])
}

/// Holds and settles; the time of each that had no grant to wait for.
fn work(purse: &Purse, rules: &RuleSet) -> Vec<Duration> {
    let cover = cover(purse, rules);
    let target = rules.targets()[0].name.clone();
    let request = Arc::new(RequestFacts {
        request_id: "bench".into(),
        accepted: Timestamp::now(),
        endpoint: Endpoint::Chat,
        rule: None,
        caller: None,
        tags: Pairs::default(),
        labels: Pairs::default(),
        task: TaskName::unknown(),
        revision: "1".into(),
    });
    let end = End { basis: Basis::Usage, posted: Usd::from_nano(100_000), ..End::void(None, "p4") };
    let mut times = Vec::with_capacity(EACH);
    let mut context = Context::from_waker(Waker::noop());
    while times.len() < EACH {
        let began = Instant::now();
        let done = {
            let attempt = pin!(async {
                let Ok(mut stake) = purse.reserve(&cover, Usd::from_nano(1_000_000), false).await else { return false };
                let facts = SentFacts { request: Arc::clone(&request), attempt: 1, target: target.clone() };
                if stake.record(facts).is_some() {
                    return false;
                }
                stake.settle(&end);
                true
            });
            attempt.poll(&mut context)
        };
        match done {
            Poll::Ready(true) => times.push(began.elapsed()),
            // The queue is full or a grant is on its way: a request would wait here, and the disk is not what is measured.
            Poll::Ready(false) | Poll::Pending => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    times
}
