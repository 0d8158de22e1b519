//! The real code of waiting, in a great many orders: who is polled next, when the writer answers, when somebody gives up.

use std::future::Future;
use std::num::NonZeroU8;
use std::pin::Pin;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use fastrand::Rng;
use jiff::tz::TimeZone;

use super::*;
use crate::admit::{Budgets, End, SentFacts};
use crate::config::{Cap, Covers, Place};
use crate::units::{
    Clock, Endpoint, LedgerInbox, LedgerQueue, NotWritten, Remembered, RequestFacts, StartsOn, TargetName, TaskName, Then, Window,
};

const CAP: u64 = 1_000;

fn budget(name: &str, cap: u64) -> Budget {
    let window = Window { period: Period::Month, zone: TimeZone::UTC, starts_on: StartsOn::Day(NonZeroU8::MIN) };
    Budget {
        name: BudgetName::parse(name).unwrap(),
        place: Place::default(),
        covers: Covers::default(),
        caps: vec![Cap { amount: Usd::from_nano(cap), window }],
        pace: None,
        mode: BudgetMode::Hard,
        warn_at: Vec::new(),
        on_low: OnLow::Clamp,
        min_output_tokens: Tokens::ZERO,
        wait: Duration::from_secs(10),
        was: None,
        estimate: EstimateBy::Auto,
    }
}

/// Says whether a task may be polled again.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What providers bill in all, and what is in flight.
#[derive(Debug, Default)]
struct Sums {
    billed: u64,
    in_flight: u64,
    served: u64,
}

fn facts() -> SentFacts {
    let request = RequestFacts {
        request_id: "1".into(),
        accepted: jiff::Timestamp::UNIX_EPOCH,
        endpoint: Endpoint::Chat,
        rule: None,
        caller: None,
        tags: Arc::default(),
        labels: Arc::default(),
        task: TaskName::unknown(),
        revision: "1".into(),
    };
    SentFacts { request: Arc::new(request), attempt: 1, target: TargetName::parse("p/m").unwrap() }
}

/// Sends a few calls: each waits for its hold, is under way for a while, and ends in one of the ways there are.
async fn caller(purse: Arc<Purse>, sums: Arc<StdMutex<Sums>>, mut rng: Rng) {
    let cover = Cover { budgets: vec![0, 1], accounts: Arc::new([0, 1]), is_hard: true, wait: Duration::from_secs(10), ..Cover::default() };
    for _ in 0..3 {
        let amount = rng.u64(1..=400);
        let Ok(mut stake) = purse.reserve(&cover, Usd::from_nano(amount), rng.bool()).await else { continue };
        {
            let mut sums = sums.lock().unwrap();
            sums.in_flight += amount;
            assert!(sums.billed + sums.in_flight <= CAP, "{sums:?} with {amount}");
        }
        let over = |billed: u64| {
            let mut sums = sums.lock().unwrap();
            sums.in_flight -= amount;
            sums.billed += billed;
            sums.served += 1;
        };
        if rng.u32(0..8) == 0 {
            over(0);
            continue;
        }
        stake.record(facts()).await.unwrap();
        for _ in 0..rng.u32(0..3) {
            tokio::task::yield_now().await;
        }
        let billed = rng.u64(0..=amount);
        // Counted before the hold is given back: somebody else may use it at once.
        match rng.u32(0..3) {
            0 => {
                over(billed);
                stake.settle(&End { posted: Usd::from_nano(billed), ..End::void(None, "p4") });
            }
            1 => {
                over(0);
                stake.settle(&End::void(None, "p2"));
            }
            _ => {
                over(amount);
                drop(stake);
            }
        }
    }
}

/// The ledger's writer: takes what was told in order, and answers some time.
struct Writer {
    inbox: LedgerInbox,
    waiting: Vec<Then>,
}

impl Writer {
    fn step(&mut self, rng: &mut Rng) {
        if let Some(told) = self.inbox.try_next() {
            self.waiting.extend(told.then);
            self.inbox.written(1);
        }
        if !self.waiting.is_empty() && rng.bool() {
            let then = self.waiting.remove(0);
            then(if rng.u32(0..10) == 0 { Err(NotWritten("of this test".into())) } else { Ok(()) });
        }
    }
}

/// One order of things; how many calls were served in it.
fn run(seed: u64) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let (queue, inbox) = LedgerQueue::new();
    let budgets = Budgets::new(Clock::manual(), queue, &Remembered { epoch: 1, ..Remembered::default() });
    let settings = LedgerSettings::default();
    let purse = Arc::new(budgets.adopt(&[budget("company", CAP), budget("team", 2 * CAP)], &[], &settings));
    let sums = Arc::<StdMutex<Sums>>::default();
    let mut writer = Writer { inbox, waiting: Vec::new() };
    let mut tasks: Vec<(Task, Arc<Flag>)> = (0..rng.usize(2..=4))
        .map(|_| {
            let task: Task = Box::pin(caller(Arc::clone(&purse), Arc::clone(&sums), rng.fork()));
            (task, Arc::new(Flag(AtomicBool::new(true))))
        })
        .collect();
    let mut turns = 0;
    while !tasks.is_empty() {
        turns += 1;
        writer.step(&mut rng);
        let ready: Vec<usize> = (0..tasks.len()).filter(|index| tasks[*index].1.0.load(Ordering::SeqCst)).collect();
        // Who waits too long hangs up, as a client does.
        let hangs_up = turns > 200 || rng.u32(0..60) == 0;
        let Some(index) = rng.choice(ready) else {
            if hangs_up {
                drop(tasks.swap_remove(0));
            }
            continue;
        };
        let (task, flag) = &mut tasks[index];
        flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(flag));
        let is_done = task.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(());
        if is_done || (hangs_up && rng.u32(0..20) == 0) {
            drop(tasks.swap_remove(index));
        }
    }
    let levels = purse.levels();
    for level in &levels {
        assert_eq!(level.held, Usd::ZERO, "seed {seed}: {level:?}");
        let counted = level.posted.plus(level.disputed).nano();
        let billed = sums.lock().unwrap().billed;
        assert!(counted >= billed && counted <= level.cap.nano(), "seed {seed}: {counted} counted, {billed} billed");
    }
    assert_eq!(budgets.open_holds(), 0, "seed {seed}");
    let sums = Arc::into_inner(sums).map(|sums| sums.into_inner().unwrap()).unwrap_or_default();
    sums.served
}

#[test]
fn no_order_of_things_overspends_leaks_or_loses_a_wake() {
    let schedules: u64 = std::env::var("TOLLGATE_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let served: u64 = (0..schedules).map(run).sum();
    println!("{schedules} orders of things, {served} calls served, 0 violations");
    assert!(served > schedules * 2);
}
