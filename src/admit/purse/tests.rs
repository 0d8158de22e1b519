//! The real code of waiting under shuttle's schedulers: at every lock and every counter they choose who goes on, when the writer
//! answers, and when somebody gives up.

use std::collections::VecDeque;
use std::num::NonZeroU8;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::tz::TimeZone;
use shuttle::future::{block_on, spawn_local, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

use super::*;
use crate::admit::{Budgets, End, SentFacts};
use crate::config::{Cap, Covers, Place};
use crate::units::{
    Clock, Endpoint, LedgerInbox, LedgerQueue, NotWritten, Pairs, Remembered, RequestFacts, StartsOn, TargetName, TaskName, Then, Window,
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
        tags: Pairs::default(),
        labels: Pairs::default(),
        task: TaskName::unknown(),
        revision: "1".into(),
    };
    SentFacts { request: Arc::new(request), attempt: 1, target: TargetName::parse("p/m").unwrap() }
}

/// A call under way. Whoever hangs up is billed in full.
struct InFlight {
    sums: Arc<StdMutex<Sums>>,
    amount: u64,
}

impl InFlight {
    fn new(sums: &Arc<StdMutex<Sums>>, amount: u64) -> Self {
        let mut all = sums.lock().unwrap();
        all.in_flight += amount;
        assert!(all.billed + all.in_flight <= CAP, "{all:?} with {amount}");
        Self { sums: Arc::clone(sums), amount }
    }

    /// To be told before the hold is given back: somebody else may use it at once.
    fn ends(mut self, billed: u64) {
        let mut sums = self.sums.lock().unwrap();
        sums.in_flight -= std::mem::take(&mut self.amount);
        sums.billed += billed;
        sums.served += 1;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut sums = self.sums.lock().unwrap();
        sums.in_flight -= self.amount;
        sums.billed += self.amount;
    }
}

/// Sends a few calls: each waits for its hold, is under way for a while, and ends in one of the ways there are.
async fn caller(purse: Arc<Purse>, sums: Arc<StdMutex<Sums>>) {
    let cover = Cover { budgets: vec![0, 1], accounts: Arc::new([0, 1]), is_hard: true, wait: Duration::from_secs(10), ..Cover::default() };
    let among = |most: u64| thread_rng().gen_range(0..=most);
    for _ in 0..3 {
        let amount = 1 + among(399);
        let Ok(mut stake) = purse.reserve(&cover, Usd::from_nano(amount), among(1) == 0).await else { continue };
        let in_flight = InFlight::new(&sums, amount);
        if among(7) == 0 {
            in_flight.ends(0);
            continue;
        }
        assert!(stake.record(facts()).is_none());
        for _ in 0..among(2) {
            yield_now().await;
        }
        let billed = among(amount);
        match among(2) {
            0 => {
                in_flight.ends(billed);
                stake.settle(&End { posted: Usd::from_nano(billed), ..End::void(None, "p4") });
            }
            1 => {
                in_flight.ends(0);
                stake.settle(&End::void(None, "p2"));
            }
            _ => {
                in_flight.ends(amount);
                drop(stake);
            }
        }
    }
}

/// The ledger's writer: takes what was told in order, and answers some time.
async fn writer(inbox: LedgerInbox, is_over: Arc<AtomicBool>) {
    let mut waiting: Vec<Then> = Vec::new();
    let mut all_told = VecDeque::new();
    loop {
        inbox.take(&mut all_told);
        let told = all_told.pop_front();
        if told.is_none() && waiting.is_empty() && is_over.load(Ordering::SeqCst) {
            return;
        }
        if let Some(told) = told {
            waiting.extend(told.then);
            inbox.written(1);
        }
        if !waiting.is_empty() && thread_rng().gen_bool(0.5) {
            let then = waiting.remove(0);
            then(if thread_rng().gen_ratio(1, 10) { Err(NotWritten("of this test".into())) } else { Ok(()) });
        }
        yield_now().await;
    }
}

/// One order of things; how many calls were served in it. No time passes in it: who waits in vain waits for ever, and is found.
fn run() -> u64 {
    let (queue, inbox) = LedgerQueue::new();
    let budgets = Budgets::new(Clock::manual(), queue, &Remembered { epoch: 1, ..Remembered::default() });
    let settings = LedgerSettings::default();
    let purse = Arc::new(budgets.adopt(&[budget("company", CAP), budget("team", 2 * CAP)], &[], &settings));
    let (sums, is_over) = (Arc::<StdMutex<Sums>>::default(), Arc::<AtomicBool>::default());
    let writer = spawn_local(writer(inbox, Arc::clone(&is_over)));
    let callers: Vec<_> = (0..thread_rng().gen_range(2..=4)).map(|_| spawn_local(caller(Arc::clone(&purse), Arc::clone(&sums)))).collect();
    block_on(async {
        // In every third order somebody hangs up, wherever it stands then.
        if thread_rng().gen_ratio(1, 3) {
            for _ in 0..thread_rng().gen_range(0..40) {
                yield_now().await;
            }
            callers[thread_rng().gen_range(0..callers.len())].abort();
        }
        for caller in callers {
            // Whether it was cancelled makes no difference here.
            drop(caller.await);
        }
        is_over.store(true, Ordering::SeqCst);
        writer.await.unwrap();
    });
    let sums = sums.lock().unwrap();
    for level in &purse.levels() {
        assert_eq!(level.held, Usd::ZERO, "{level:?}");
        let counted = level.posted.plus(level.disputed).nano();
        assert!(counted >= sums.billed && counted <= level.cap.nano(), "{counted} counted, {sums:?}");
    }
    assert_eq!((budgets.open_holds(), sums.in_flight), (0, 0));
    sums.served
}

/// Runs under one scheduler: how many orders there were, and how many calls were served in them.
fn explore(scheduler: impl Scheduler + 'static) -> (u64, u64) {
    // Waiting asks tokio for timers; its clock stands still.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let served = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&served);
    let mut config = Config::default();
    config.stack_size = 1 << 18;
    let orders = Runner::new(scheduler, config).run(move || {
        counted.fetch_add(run(), Ordering::Relaxed);
    });
    (orders as u64, served.load(Ordering::Relaxed))
}

#[test]
fn no_order_of_things_overspends_leaks_or_loses_a_wake() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (half, seed) = (number("TOLLGATE_SCHEDULES").unwrap_or(100_000).div_ceil(2), number("TOLLGATE_SEED").unwrap_or(7));
    let orders = usize::try_from(half).unwrap();
    // One chooses evenly each time, the other keeps to ranks that it changes a few times: they find different things.
    let even = std::thread::spawn(move || explore(RandomScheduler::new_from_seed(seed, orders)));
    let ranked = explore(PctScheduler::new_from_seed(seed, 4, orders));
    let even = even.join().unwrap();
    let (orders, served) = (even.0 + ranked.0, even.1 + ranked.1);
    println!("{orders} orders of things from seed {seed}, {served} calls served, 0 violations");
    assert!(orders == 2 * half && served > orders * 2);
}
