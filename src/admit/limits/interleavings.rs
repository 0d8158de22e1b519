//! The cell's code on loom's atomics: every order in which threads can meet, and every value that each may read.

use std::collections::BTreeSet;
use std::sync::Mutex;

use loom::sync::atomic::AtomicU64;

use super::*;

/// The cell once more, with the atomics above in place of the real ones.
#[path = "cell.rs"]
#[expect(clippy::duplicate_mod, reason = "the same code on other atomics is what is tried here")]
mod cell;

/// A limit of four, one of which comes back each second.
const BURST: u32 = 4;
const STEP: u64 = 1_000_000_000;

/// What threads do to one limit at once.
#[derive(Clone, Copy, Debug)]
enum Act {
    Take(u32),
    GiveBack(u64),
    Charge(u64),
    /// The rate becomes half of what it was.
    Halve,
}

const ACTS: [Act; 6] = [Act::Take(1), Act::Take(2), Act::Take(BURST), Act::GiveBack(2), Act::Charge(3), Act::Halve];

/// Which of those who took got it, by thread, and what the cell says at the end.
type Outcome = (Vec<Option<bool>>, u64);

struct Shared {
    cell: Arc<cell::Cell>,
    governor: RateLimiter<NotKeyed, cell::Store, Ticks, NoOpMiddleware<Nanos>>,
    now: u64,
}

impl Shared {
    /// A limit of which three are used.
    fn new() -> Self {
        let clock = Clock::manual();
        clock.advance(Duration::from_hours(5));
        let cell = Arc::<cell::Cell>::default();
        let quota = Quota::with_period(Duration::from_nanos(STEP)).unwrap().allow_burst(NonZeroU32::new(BURST).unwrap());
        let governor = limiter(quota, cell::Store { cell: Arc::clone(&cell), keeps: true }, &clock);
        let now = clock.now().as_nanos();
        cell.charge(3 * STEP, now, u64::MAX);
        Self { cell, governor, now }
    }

    fn act(&self, act: Act) -> Option<bool> {
        match act {
            Act::Take(units) => return Some(matches!(self.governor.check_n(NonZeroU32::new(units).unwrap()), Ok(Ok(())))),
            Act::GiveBack(units) => self.cell.give_back(units * STEP),
            Act::Charge(units) => self.cell.charge(units * STEP, self.now, 6 * STEP),
            Act::Halve => self.cell.scale((2, 1), self.now, 6 * STEP),
        }
        None
    }
}

/// What comes of these acts one after the other, in each order.
fn in_order(acts: [Act; 3]) -> BTreeSet<Outcome> {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let outcomes = Arc::<Mutex<BTreeSet<Outcome>>>::default();
    for order in orders {
        let told = Arc::clone(&outcomes);
        loom::model(move || {
            let shared = Shared::new();
            let mut taken = vec![None; acts.len()];
            for index in order {
                taken[index] = shared.act(acts[index]);
            }
            told.lock().unwrap().insert((taken, shared.cell.arrival()));
        });
    }
    outcomes.lock().unwrap().clone()
}

/// Whatever three threads do at once comes out as if they had done it one after the other: nothing is let through twice, and
/// nothing that was given back, charged or scaled is lost.
#[test]
fn every_interleaving_of_the_cell_is_some_order() {
    let (mut cases, interleavings) = (0_u64, Arc::<std::sync::atomic::AtomicU64>::default());
    for (first, one) in ACTS.iter().enumerate() {
        for (second, two) in ACTS.iter().enumerate().skip(first) {
            for three in ACTS.iter().skip(second) {
                let acts = [*one, *two, *three];
                let (allowed, counted) = (in_order(acts), Arc::clone(&interleavings));
                loom::model(move || {
                    let shared = Arc::new(Shared::new());
                    let threads = acts.map(|act| {
                        let shared = Arc::clone(&shared);
                        loom::thread::spawn(move || shared.act(act))
                    });
                    let taken = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
                    let outcome = (taken, shared.cell.arrival());
                    assert!(allowed.contains(&outcome), "{acts:?} came to {outcome:?}, in order to {allowed:?}");
                    counted.fetch_add(1, Ordering::Relaxed);
                });
                cases += 1;
            }
        }
    }
    let interleavings = interleavings.load(Ordering::Relaxed);
    println!("{cases} triples of acts, {interleavings} interleavings, 0 violations");
    assert!(interleavings > cases * 20);
}
