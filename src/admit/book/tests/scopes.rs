//! Every state of a small world: three attempts, two budgets, and a crash at any step.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;
use crate::units::RememberedWindow;

const ATTEMPTS: [u64; 3] = [40, 30, 50];
/// Both cover everything; the second is the tighter one.
const CAPS: [u64; 2] = [100, 90];
const CRASHES: u8 = 2;

/// Where an attempt is: what its provider bills is decided when it is sent, and told or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Waiting,
    /// Sent in the run of that epoch.
    Sent(u64),
    /// Ended; so much is owed for it.
    Ended(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Row {
    Held(usize, u64),
    Settled(usize, u64, u64),
    Granted(Vec<(usize, u64)>),
    Other,
}

/// What is on disk: grants and posted sums by budget, holds and disputes by attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Disk {
    granted: [u64; 2],
    posted: u64,
    open: [Option<u64>; 3],
    disputed: u64,
    crash: [u64; 2],
}

/// A state of the world, and the book that it has led to.
struct State {
    book: Book,
    at: [At; 3],
    rows: Vec<Row>,
    raises: Vec<Option<Raise>>,
    told: u64,
    written: u64,
    disk: Disk,
    epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Reserve(usize),
    /// Ends with nothing, with the usage told, or in a dispute.
    Void(usize),
    Post(usize),
    Dispute(usize),
    /// The writer takes the oldest row.
    Write,
    Crash,
}

fn wall() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn now() -> Now {
    Now { wall: wall(), at: Moment::default(), claimed: None }
}

fn budgets() -> [Budget; 2] {
    [budget("company", &[(CAPS[0], Period::Month)]), budget("team", &[(CAPS[1], Period::Month)])]
}

impl State {
    fn new() -> Self {
        let mut state = Self {
            book: Book::default(),
            at: [At::Waiting; 3],
            rows: Vec::new(),
            raises: Vec::new(),
            told: 0,
            written: 0,
            disk: Disk::default(),
            epoch: 1,
        };
        state.adopt();
        state
    }

    fn adopt(&mut self) {
        for budget in budgets() {
            self.book.adopt(&budget, wall());
        }
        self.tell();
    }

    /// The state that a list of moves leads to: a book is not copied, its way is gone again.
    fn after(moves: &[Move]) -> Self {
        let mut state = Self::new();
        for step in moves {
            state.make(*step);
        }
        state
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (attempt, at) in self.at.iter().enumerate() {
            match at {
                At::Waiting => moves.push(Move::Reserve(attempt)),
                At::Sent(epoch) if *epoch == self.epoch => moves.extend([Move::Void(attempt), Move::Post(attempt), Move::Dispute(attempt)]),
                At::Sent(_) | At::Ended(_) => {}
            }
        }
        if !self.rows.is_empty() {
            moves.push(Move::Write);
        }
        if self.epoch <= u64::from(CRASHES) {
            moves.push(Move::Crash);
        }
        moves
    }

    fn make(&mut self, step: Move) {
        match step {
            Move::Reserve(attempt) => {
                let id = AttemptId { epoch: self.epoch, number: attempt as u64 };
                if self.book.reserve(id, &[0, 1], usd(ATTEMPTS[attempt]), now()).is_ok() {
                    self.at[attempt] = At::Sent(self.epoch);
                    self.row(Row::Held(attempt, ATTEMPTS[attempt]), None);
                }
            }
            Move::Void(attempt) => self.end(attempt, 0, 0),
            Move::Post(attempt) => self.end(attempt, ATTEMPTS[attempt] / 2, 0),
            Move::Dispute(attempt) => self.end(attempt, 10, 15),
            Move::Write => self.write(),
            Move::Crash => self.crash(),
        }
        self.tell();
        self.hold_true(step);
    }

    fn end(&mut self, attempt: usize, posted: u64, disputed: u64) {
        let id = AttemptId { epoch: self.epoch, number: attempt as u64 };
        let part = (disputed > 0).then(|| Disputed { class: DisputeClass::Ambiguous, amount: usd(disputed), until: None });
        self.book.settle(id, usd(posted), part, now());
        self.at[attempt] = At::Ended(posted + disputed);
        self.row(Row::Settled(attempt, posted, disputed), None);
        self.book.told(self.told);
    }

    fn row(&mut self, row: Row, raise: Option<Raise>) {
        self.told += 1;
        self.rows.push(row);
        self.raises.push(raise);
    }

    fn tell(&mut self) {
        for Tell { entry, raise } in self.book.take_told() {
            let row = match entry {
                Entry::Granted(grants) => {
                    let index = |key: &WindowKey| usize::from(key.budget.as_str() == "team");
                    Row::Granted(grants.iter().map(|(key, to)| (index(key), to.nano())).collect())
                }
                _ => Row::Other,
            };
            self.row(row, raise);
        }
        self.book.told(self.told);
    }

    fn write(&mut self) {
        let (row, raise) = (self.rows.remove(0), self.raises.remove(0));
        let disk = &mut self.disk;
        match row {
            Row::Held(attempt, hold) => disk.open[attempt] = Some(hold),
            Row::Settled(attempt, posted, disputed) => {
                if disk.open[attempt].take().is_some() {
                    disk.posted += posted;
                    disk.disputed += disputed;
                }
            }
            Row::Granted(grants) => grants.iter().for_each(|(budget, to)| disk.granted[*budget] = *to),
            Row::Other => {}
        }
        self.written += 1;
        self.book.written(self.written, Moment::default());
        if let Some(raise) = raise {
            self.book.granted(raise, true, Moment::default());
        }
    }

    /// Memory and queue are gone; what was in flight is disputed, and so is what was granted and cannot be explained.
    fn crash(&mut self) {
        (self.rows, self.raises, self.told, self.written) = (Vec::new(), Vec::new(), 0, 0);
        let disk = &mut self.disk;
        disk.disputed += disk.open.iter_mut().filter_map(Option::take).sum::<u64>();
        for budget in 0..2 {
            let explained = disk.posted + disk.disputed + disk.crash[budget];
            disk.crash[budget] += disk.granted[budget].saturating_sub(explained);
            disk.granted[budget] = disk.posted + disk.disputed + disk.crash[budget];
        }
        self.epoch += 1;
        self.book = Book::default();
        let key = |budget: &Budget| WindowKey {
            budget: budget.name.clone(),
            period: Period::Month,
            starts: "2026-11-01T00:00:00Z".parse().unwrap(),
            ends: Some("2026-12-01T00:00:00Z".parse().unwrap()),
        };
        let budgets = budgets();
        let windows = budgets.iter().zip(self.disk.crash).map(|(budget, crash)| RememberedWindow {
            key: key(budget),
            posted: usd(self.disk.posted),
            disputed: usd(self.disk.disputed + crash),
        });
        self.book.remember(&Remembered { epoch: self.epoch, windows: windows.collect(), disputes: Vec::new() });
        self.adopt();
    }

    /// What must hold in every state.
    fn hold_true(&self, step: Move) {
        let owed: u64 = self
            .at
            .iter()
            .zip(ATTEMPTS)
            .map(|(at, hold)| {
                if let At::Ended(owed) = at {
                    *owed
                } else if *at == At::Waiting {
                    0
                } else {
                    hold
                }
            })
            .sum();
        for (pool, cap) in self.book.pools.values().zip(CAPS) {
            assert!(pool.used().nano() >= owed, "after {step:?}: {} counted, {owed} owed: {:?}", pool.used(), self.at);
            // I1: nothing was admitted above the cap; a crash may over-count, never under.
            assert!(owed <= cap, "after {step:?}: {owed} owed of {cap}");
            assert!(pool.held == Usd::ZERO || pool.claimed() <= pool.granted, "I4 after {step:?}: {pool:?}");
        }
        let in_flight = self.at.iter().filter(|at| **at == At::Sent(self.epoch)).count();
        assert_eq!(self.book.open_holds(), in_flight, "I5 after {step:?}");
    }

    /// Two states with the same digest go on alike.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.at, &self.rows, &self.disk, self.epoch, self.written).hash(&mut hasher);
        for pool in self.book.pools.values() {
            (pool.granted, pool.asked, pool.posted, pool.held, pool.disputed, pool.unwritten).hash(&mut hasher);
        }
        self.book.freed.iter().for_each(|freed| (freed.amount, freed.ticket).hash(&mut hasher));
        hasher.finish()
    }
}

#[test]
fn every_state_of_a_small_world_keeps_its_word() {
    let mut seen = HashSet::new();
    let mut ways: Vec<Vec<Move>> = vec![Vec::new()];
    let mut moves = 0_u64;
    while let Some(way) = ways.pop() {
        let state = State::after(&way);
        if !seen.insert(state.digest()) {
            continue;
        }
        for step in state.moves() {
            moves += 1;
            ways.push([way.as_slice(), &[step]].concat());
        }
    }
    println!("{} states, {moves} moves, 0 violations", seen.len());
    assert!(seen.len() > 10_000);
}
