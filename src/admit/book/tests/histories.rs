//! Random histories of a book against a plain model: holds, ends, crashes, reloads and clocks in any order.

use std::collections::HashMap;
use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;

use super::*;
use crate::units::{RememberedDispute, RememberedWindow, ResolvedEntry};

/// What happened, as somebody sees it who is told everything: who admitted which attempt, and what its provider bills.
#[derive(Debug)]
struct Truth {
    /// Numbers of windows, as the world counts them.
    windows: Vec<usize>,
    /// While it is open: the most that can be billed. Afterwards: the bill.
    owed: Usd,
    is_open: bool,
    /// A crash came before its row was written: only a grant tells of it.
    is_lost: bool,
}

/// The ledger, as far as money goes: what it was told, in order.
#[derive(Clone, Debug, Default)]
struct Disk {
    granted: BTreeMap<WindowKey, Usd>,
    posted: BTreeMap<WindowKey, Usd>,
    open: BTreeMap<AttemptId, (Vec<WindowKey>, Usd)>,
    disputes: BTreeMap<DisputeId, (Vec<WindowKey>, Disputed)>,
}

/// What waits to be written, in the order of the queue.
enum Line {
    Held(AttemptId, Vec<WindowKey>, Usd),
    Settled(AttemptId, Usd, Option<Disputed>),
    Told(Box<Tell>),
}

impl Disk {
    fn write(&mut self, line: &Line) {
        match line {
            Line::Held(id, windows, hold) => drop(self.open.insert(*id, (windows.clone(), *hold))),
            Line::Settled(id, posted, disputed) => {
                let Some((windows, _)) = self.open.remove(id) else { return };
                for window in &windows {
                    let sum = self.posted.entry(window.clone()).or_default();
                    *sum = sum.plus(*posted);
                }
                if let Some(part) = disputed {
                    self.disputes.insert(DisputeId::Attempt(*id), (windows, *part));
                }
            }
            Line::Told(tell) => match &tell.entry {
                Entry::Granted(grants) => self.granted.extend(grants.iter().cloned()),
                Entry::Resolved(resolved) => {
                    let ResolvedEntry { id, posted, .. } = resolved;
                    for window in self.disputes.remove(id).map(|(windows, _)| windows).unwrap_or_default() {
                        let sum = self.posted.entry(window).or_default();
                        *sum = sum.plus(*posted);
                    }
                }
                _ => {}
            },
        }
    }

    fn disputed(&self, key: &WindowKey) -> Usd {
        let in_window = self.disputes.values().filter(|(windows, _)| windows.contains(key));
        in_window.fold(Usd::ZERO, |sum, (_, part)| sum.plus(part.amount))
    }

    /// A start after a crash: what was in flight is disputed, and so is what was granted and cannot be explained.
    fn recover(&mut self, epoch: u64) -> Remembered {
        for (id, (windows, hold)) in std::mem::take(&mut self.open) {
            self.disputes.insert(DisputeId::Attempt(id), (windows, Disputed { class: DisputeClass::Ambiguous, amount: hold, until: None }));
        }
        for (key, granted) in self.granted.clone() {
            let explained = self.posted.get(&key).copied().unwrap_or_default().plus(self.disputed(&key));
            let lost = granted.minus(explained);
            if lost > Usd::ZERO {
                let part = Disputed { class: DisputeClass::Crash, amount: lost, until: None };
                self.disputes.insert(DisputeId::Crash(epoch - 1, key.clone()), (vec![key.clone()], part));
            }
        }
        let mut keys: Vec<WindowKey> = self.granted.keys().chain(self.posted.keys()).cloned().collect();
        keys.extend(self.disputes.values().flat_map(|(windows, _)| windows.iter().cloned()));
        keys.sort();
        keys.dedup();
        let windows = keys.into_iter().map(|key| {
            let (posted, disputed) = (self.posted.get(&key).copied().unwrap_or_default(), self.disputed(&key));
            self.granted.insert(key.clone(), posted.plus(disputed));
            RememberedWindow { key, posted, disputed }
        });
        let windows = windows.collect();
        let disputes = self.disputes.iter().map(|(id, (windows, part))| RememberedDispute {
            id: id.clone(),
            class: part.class,
            amount: part.amount,
            until: part.until,
            windows: windows.clone(),
            target: None,
        });
        Remembered { epoch, windows, disputes: disputes.collect() }
    }
}

/// One history under way.
struct World {
    rng: Rng,
    book: Book,
    budgets: Vec<Budget>,
    accounts: Vec<Vec<AccountId>>,
    disk: Disk,
    queue: VecDeque<Line>,
    /// Lines that were queued, and that are written, in this run.
    told: u64,
    written: u64,
    truth: BTreeMap<AttemptId, Truth>,
    /// Every window that there was; and the numbers that they have here, by pool of this run.
    windows: Vec<WindowKey>,
    numbers: HashMap<PoolId, usize>,
    epoch: u64,
    next: u64,
    now: Now,
    newest: BTreeMap<(BudgetName, Period), Timestamp>,
    admitted: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let periods = [Period::Hour, Period::Day, Period::Month, Period::Total];
        let count = rng.usize(1..=3);
        let budgets = (0..count).map(|index| {
            let first = rng.usize(0..periods.len());
            let caps: Vec<(u64, Period)> =
                (0..rng.usize(1..=2)).map(|more| (rng.u64(50..20_000), periods[(first + more) % periods.len()])).collect();
            budget(["company", "team", "provider.openai"][index], &caps)
        });
        let budgets: Vec<Budget> = budgets.collect();
        let wall: Timestamp = "2026-11-29T22:30:00Z".parse().unwrap();
        let now = Now { wall, at: Moment::from_nanos(1), claimed: None };
        let mut world = Self {
            rng,
            book: Book::default(),
            budgets,
            accounts: Vec::new(),
            disk: Disk::default(),
            queue: VecDeque::new(),
            told: 0,
            written: 0,
            truth: BTreeMap::new(),
            windows: Vec::new(),
            numbers: HashMap::new(),
            epoch: 1,
            next: 0,
            now,
            newest: BTreeMap::new(),
            admitted: 0,
        };
        world.adopt();
        world
    }

    fn adopt(&mut self) {
        self.accounts = self.budgets.iter().map(|budget| self.book.adopt(budget, self.now.wall)).collect();
        self.tell();
    }

    /// Queues what the book has to tell. What is resolved was not billed beyond what was posted: that is what its time means.
    fn tell(&mut self) {
        for tell in self.book.take_told() {
            if let Entry::Resolved(resolved) = &tell.entry {
                match &resolved.id {
                    DisputeId::Attempt(id) => {
                        if let Some(truth) = self.truth.get_mut(id) {
                            truth.owed = truth.owed.minus(resolved.released);
                        }
                    }
                    DisputeId::Crash(_, window) => {
                        let number = self.number(window);
                        for truth in self.truth.values_mut().filter(|truth| truth.is_lost) {
                            truth.windows.retain(|other| *other != number);
                        }
                    }
                }
            }
            self.queue(Line::Told(Box::new(tell)));
        }
        self.book.told(self.told);
    }

    fn queue(&mut self, line: Line) {
        self.told += 1;
        self.queue.push_back(line);
    }

    fn step(&mut self) {
        match self.rng.u32(0..100) {
            0..40 => self.reserve(),
            40..66 => self.settle(),
            66..70 => self.shrink(),
            70..84 => {
                let most = self.rng.usize(0..=self.queue.len());
                self.commit(most);
            }
            84..88 => self.pass(),
            88..91 => self.reload(),
            91..94 => self.resolve(),
            94..97 => self.crash(),
            _ => self.stop(),
        }
        self.tell();
        self.hold_true();
    }

    fn reserve(&mut self) {
        let chosen: Vec<AccountId> = self
            .accounts
            .iter()
            .enumerate()
            .filter(|(index, _)| *index == 0 || self.next.wrapping_mul(*index as u64) % 3 != 1)
            .flat_map(|(_, ids)| ids.clone())
            .collect();
        let amount = usd(self.rng.u64(0..2_000));
        self.next += 1;
        let id = AttemptId { epoch: self.epoch, number: self.next };
        let mut reserved = self.book.reserve(id, &chosen, amount, self.now);
        if matches!(reserved, Err(Denied::NotGranted)) && self.rng.bool() {
            self.tell();
            self.commit(usize::MAX);
            reserved = self.book.reserve(id, &chosen, amount, self.now);
        }
        let Ok(Reserved { keys: windows, .. }) = reserved else { return };
        self.admitted += 1;
        let numbers: Vec<usize> = windows.iter().map(|key| self.number(key)).collect();
        let all_owed = self.owed();
        for (key, number) in windows.iter().zip(&numbers) {
            let owed = all_owed[*number];
            let cap = self.cap(key);
            assert!(owed.plus(amount) <= cap, "I1: {amount} on {owed} of {cap} in {key:?}");
            // I9: the windows of one account never go back.
            let newest = self.newest.entry((key.budget.clone(), key.period)).or_insert(Timestamp::MIN);
            assert!(key.starts >= *newest, "I9: {key:?} after {newest}");
            // Where nothing is held no grant is needed, so a crash may forget a window in which nobody owes anything.
            if amount > Usd::ZERO {
                *newest = key.starts;
            }
        }
        // One in ten is never sent: nobody but us ever knew of it.
        if self.rng.u32(0..10) == 0 {
            self.book.release(id, self.now.at);
            return;
        }
        self.queue(Line::Held(id, windows.to_vec(), amount));
        self.truth.insert(id, Truth { windows: numbers, owed: amount, is_open: true, is_lost: false });
    }

    fn cap(&self, key: &WindowKey) -> Usd {
        let budget = self.budgets.iter().find(|budget| budget.name == key.budget).unwrap();
        budget.caps.iter().find(|cap| cap.window.period == key.period).unwrap().amount
    }

    /// The number that a window has here.
    fn number(&mut self, key: &WindowKey) -> usize {
        self.windows.iter().position(|known| known == key).unwrap_or_else(|| {
            self.windows.push(key.clone());
            self.windows.len() - 1
        })
    }

    /// What all attempts may have to be paid, by window.
    fn owed(&self) -> Vec<Usd> {
        let mut owed = vec![Usd::ZERO; self.windows.len()];
        for truth in self.truth.values() {
            for number in &truth.windows {
                owed[*number] = owed[*number].plus(truth.owed);
            }
        }
        owed
    }

    fn some_open(&mut self) -> Option<AttemptId> {
        let open: Vec<AttemptId> =
            self.truth.iter().filter(|(id, truth)| truth.is_open && id.epoch == self.epoch).map(|(id, _)| *id).collect();
        self.rng.choice(open)
    }

    fn settle(&mut self) {
        let Some(id) = self.some_open() else { return };
        let truth = self.truth.get_mut(&id).unwrap();
        let bill = usd(self.rng.u64(0..=truth.owed.nano()));
        let until = (self.rng.bool()).then(|| self.now.wall + SignedDuration::from_mins(15));
        let rest = truth.owed.minus(bill);
        let (posted, disputed) = match self.rng.u32(0..4) {
            0 => (Usd::ZERO, None),
            1 | 2 => (bill, None),
            _ => (bill, Some(Disputed { class: DisputeClass::Cancelled, amount: rest, until })),
        };
        // What is disputed may have been billed; what is void was not.
        truth.owed = posted.plus(disputed.map(|part| part.amount).unwrap_or_default());
        truth.is_open = false;
        let outcome = self.book.settle(id, posted, disputed, self.now);
        assert_eq!(outcome.overrun, Usd::ZERO);
        // I2: a second end changes nothing.
        assert_eq!(self.book.settle(id, bill, None, self.now), Outcome::default());
        let disputed = disputed.filter(|part| part.amount > Usd::ZERO);
        // Its row goes before what the book itself has to tell.
        self.queue(Line::Settled(id, posted, disputed));
        self.book.told(self.told);
    }

    fn shrink(&mut self) {
        let Some(id) = self.some_open() else { return };
        let truth = self.truth.get_mut(&id).unwrap();
        truth.owed = usd(self.rng.u64(0..=truth.owed.nano()));
        self.book.shrink(id, truth.owed);
    }

    /// The writer takes some of what waits; a grant may fail, and then nothing of it is on disk.
    fn commit(&mut self, most: usize) {
        for _ in 0..most {
            let Some(line) = self.queue.pop_front() else { break };
            self.written += 1;
            self.book.written(self.written, self.now.at);
            let raise = if let Line::Told(tell) = &line { tell.raise } else { None };
            let fails = raise.is_some() && self.rng.u32(0..20) == 0;
            if !fails {
                self.disk.write(&line);
            }
            if let Some(raise) = raise {
                self.book.granted(raise, !fails, self.now.at);
                self.tell();
            }
        }
    }

    fn pass(&mut self) {
        let minutes = [1, 14, 61, 24 * 60, 40 * 24 * 60][self.rng.usize(0..5)];
        self.now.at = self.now.at.plus(std::time::Duration::from_mins(minutes));
        let step = SignedDuration::from_mins(i64::try_from(minutes).unwrap());
        if self.rng.u32(0..4) == 0 {
            self.now.wall -= step;
        } else {
            self.now.wall += step;
        }
        self.book.expire(self.now.wall);
    }

    /// Other caps; what is admitted from now on keeps to them.
    fn reload(&mut self) {
        for budget in &mut self.budgets {
            for cap in &mut budget.caps {
                if self.rng.bool() {
                    cap.amount = usd(self.rng.u64(50..20_000));
                }
            }
        }
        self.adopt();
    }

    fn resolve(&mut self) {
        let ids: Vec<DisputeId> = self.book.disputes().map(|(id, _)| id.clone()).collect();
        let Some(id) = self.rng.choice(ids) else { return };
        let posted = usd(self.rng.u64(0..1_000));
        self.book.resolve(&id, posted, self.now.wall, &"invoice".into());
    }

    /// Everything in memory is gone, and what had not been written.
    fn crash(&mut self) {
        for line in self.queue.drain(..) {
            if let Line::Held(id, ..) = line {
                self.truth.get_mut(&id).unwrap().is_lost = true;
            }
        }
        self.restart();
    }

    /// A clean stop: all ends are told, grants given back, everything written.
    fn stop(&mut self) {
        while self.some_open().is_some() {
            self.settle();
        }
        self.book.give_back();
        self.tell();
        while let Some(line) = self.queue.pop_front() {
            self.disk.write(&line);
        }
        let explained: Vec<(WindowKey, Usd)> = self.disk.granted.clone().into_iter().collect();
        for (key, granted) in explained {
            let spent = self.disk.posted.get(&key).copied().unwrap_or_default().plus(self.disk.disputed(&key));
            let is_known = self.book.pools.values().any(|pool| pool.key == key);
            assert!(!is_known || granted <= spent, "a clean stop leaves {granted} granted and {spent} explained in {key:?}");
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.epoch += 1;
        (self.told, self.written) = (0, 0);
        let remembered = self.disk.recover(self.epoch);
        for truth in self.truth.values_mut() {
            truth.is_open = false;
        }
        self.book = Book::default();
        self.numbers.clear();
        self.book.remember(&remembered);
        self.adopt();
    }

    /// What must hold after every step.
    fn hold_true(&mut self) {
        let open = self.truth.iter().filter(|(id, truth)| truth.is_open && id.epoch == self.epoch).count();
        assert_eq!(self.book.open_holds(), open, "I5");
        for (id, pool) in &self.book.pools {
            if !self.numbers.contains_key(id) {
                let key = pool.key.clone();
                let number = self.windows.iter().position(|known| *known == key).unwrap_or(self.windows.len());
                self.windows.extend((number == self.windows.len()).then_some(key));
                self.numbers.insert(*id, number);
            }
        }
        let (owed, mut held) = (self.owed(), vec![Usd::ZERO; self.windows.len()]);
        for hold in self.book.open.values() {
            for pool in hold.set.pools.iter() {
                let held = &mut held[self.numbers[pool]];
                *held = held.plus(hold.amount);
            }
        }
        for (id, pool) in &self.book.pools {
            let number = self.numbers[id];
            // I3, as far as memory goes: never less than what may have to be paid.
            assert!(pool.used() >= owed[number], "{} counted, {} owed in {:?}", pool.used(), owed[number], pool.key);
            assert_eq!(pool.held, held[number], "I5 in {:?}", pool.key);
            // I4: held only under a grant; what was granted in this run is on disk or on its way there.
            assert!(pool.held == Usd::ZERO || pool.used() <= pool.granted, "I4 in {:?}: {pool:?}", pool.key);
        }
    }
}

fn run(from: u64, histories: u64) -> u64 {
    let mut admitted = 0;
    for seed in from..from + histories {
        let caught = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..60 {
                world.step();
            }
            world.admitted
        });
        match caught {
            Ok(more) => admitted += more,
            Err(panic) => {
                eprintln!("the history of seed {seed} fails");
                std::panic::resume_unwind(panic);
            }
        }
    }
    admitted
}

#[test]
fn no_history_overspends_or_forgets() {
    let histories = std::env::var("TOLLGATE_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let from = std::env::var("TOLLGATE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let halves = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64).min(8);
    let each = histories / halves;
    let workers: Vec<_> = (0..halves).map(|part| std::thread::spawn(move || run(from + part * each, each))).collect();
    let admitted: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    println!("{histories} histories from seed {from}: {admitted} attempts admitted");
    assert!(admitted > histories * 5);
}
