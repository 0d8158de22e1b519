//! Accounts and their stretches: how a file adopts them, how they roll over, how far their grants go.

use std::time::Duration;

use jiff::Timestamp;

use super::{Account, AccountId, Book, Dispute, Pool, PoolId, Raise, Tell};
use crate::admit::grants::{Pace, furthest_ahead};
use crate::config::{Budget, BudgetMode, Cap};
use crate::units::{BudgetName, Entry, Moment, Remembered, RememberedDispute, Usd, WindowKey};

/// A grant is not lowered for so long: whoever asked for it must come to use it.
const KEPT: Duration = Duration::from_millis(100);

/// One window of one budget as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admit) struct Standing {
    pub(in crate::admit) key: WindowKey,
    pub(in crate::admit) cap: Usd,
    pub(in crate::admit) posted: Usd,
    pub(in crate::admit) held: Usd,
    pub(in crate::admit) disputed: Usd,
    pub(in crate::admit) granted: Usd,
}

impl Book {
    /// The counters that the ledger kept over a stop.
    pub(in crate::admit) fn remember(&mut self, remembered: &Remembered) {
        for window in &remembered.windows {
            // Its account is found when a file names it; the number of none is beyond them all.
            let pool = Pool { posted: window.posted, disputed: window.disputed, ..Pool::new(AccountId::MAX, window.key.clone()) };
            let granted = pool.spent();
            let id = self.insert(Pool { granted, ..pool });
            self.remembered.insert(window.key.clone(), id);
        }
        self.remember_disputes(&remembered.disputes);
    }

    /// Disputes that are counted already in the windows that the ledger told of at the start. They may come late, whatever was renamed or
    /// has ended since.
    pub(in crate::admit) fn remember_disputes(&mut self, disputes: &[RememberedDispute]) {
        for RememberedDispute { id, class, amount, until, windows, .. } in disputes {
            let known = windows.iter().filter_map(|key| self.remembered.get(key).copied());
            let pools: Vec<PoolId> = known.filter(|pool| self.pools.contains_key(pool)).collect();
            let is_over = until.is_none() && pools.is_empty() && !windows.is_empty();
            self.disputes.add(id.clone(), Dispute { class: *class, amount: *amount, until: *until, pools: pools.into() });
            if is_over {
                let at = windows.iter().filter_map(|key| key.ends).max().unwrap_or(Timestamp::MAX);
                self.resolve(id, Usd::ZERO, at, &"window".into());
            }
        }
    }

    /// The accounts of a budget of a new file, one for each cap. What was counted stays counted; a stretch that runs keeps its end.
    pub(in crate::admit) fn adopt(&mut self, budget: &Budget, wall: Timestamp) -> Vec<AccountId> {
        if let Some(was) = &budget.was {
            self.rename(was, &budget.name);
        }
        let is_own = |account: &Account| account.budget == budget.name && !account.is_leaving;
        let known: Vec<AccountId> = (0..self.accounts.len()).filter(|id| is_own(&self.accounts[*id])).collect();
        let mut accounts: Vec<AccountId> = budget.caps.iter().map(|cap| self.adopt_cap(budget, cap, wall)).collect();
        let dropped: Vec<AccountId> = known.iter().copied().filter(|id| !accounts.contains(id)).collect();
        // Another period in place of one opens no fresh window early: the old one binds to its end. One taken out is just gone.
        let is_exchanged = accounts.iter().any(|id| !known.contains(id));
        for id in dropped {
            (self.accounts[id].is_leaving, self.accounts[id].is_exchanged) = (true, is_exchanged);
        }
        // Those of earlier files among them.
        let binds = |account: &Account| account.budget == budget.name && account.is_exchanged && !account.is_over(wall, self);
        accounts.extend((0..self.accounts.len()).filter(|id| binds(&self.accounts[*id])));
        accounts
    }

    fn adopt_cap(&mut self, budget: &Budget, cap: &Cap, wall: Timestamp) -> AccountId {
        let Budget { name, mode, warn_at, .. } = budget;
        let (window, period) = (&cap.window, cap.window.period);
        if let Some(id) = self.accounts.iter().position(|account| account.budget == *name && account.period == period) {
            let account = &mut self.accounts[id];
            (account.window, account.cap, account.mode) = (window.clone(), cap.amount, *mode);
            account.warn_at.clone_from(warn_at);
            (account.is_leaving, account.is_exchanged) = (false, false);
            self.roll(id, wall);
            return id;
        }
        let id = self.accounts.len();
        let is_own = |pool: &Pool| pool.key.budget == *name && pool.key.period == period;
        let latest = self.pools.iter().filter(|(_, pool)| is_own(pool)).max_by_key(|(_, pool)| pool.key.starts).map(|(pool, _)| *pool);
        let current = latest.unwrap_or_else(|| self.open_stretch(id, name, window, wall));
        for pool in self.pools.values_mut().filter(|pool| is_own(pool)) {
            pool.account = id;
        }
        self.accounts.push(Account {
            budget: name.clone(),
            period,
            window: window.clone(),
            cap: cap.amount,
            mode: *mode,
            warn_at: warn_at.clone(),
            is_leaving: false,
            is_exchanged: false,
            current,
        });
        self.roll(id, wall);
        id
    }

    /// Spend goes on under the new name, unless that name has some of its own already.
    fn rename(&mut self, was: &BudgetName, name: &BudgetName) {
        let has = |book: &Self, name: &BudgetName| book.pools.values().any(|pool| pool.key.budget == *name);
        if !has(self, was) || has(self, name) {
            return;
        }
        for pool in self.pools.values_mut().filter(|pool| pool.key.budget == *was) {
            pool.key.budget = name.clone();
        }
        for account in self.accounts.iter_mut().filter(|account| account.budget == *was) {
            account.budget = name.clone();
        }
        self.sets.clear();
        self.told.push(Tell { entry: Entry::Renamed { was: was.clone(), name: name.clone() }, raise: None });
    }

    /// Moves the account on when its stretch has ended. Never backwards: an old month's rest is not opened again.
    pub(super) fn roll(&mut self, account: AccountId, wall: Timestamp) {
        let current = self.accounts[account].current;
        if self.pools.get(&current).is_some_and(|pool| pool.key.ends.is_none_or(|ends| wall < ends)) {
            return;
        }
        if self.accounts[account].is_leaving {
            return;
        }
        let (name, window) = (self.accounts[account].budget.clone(), self.accounts[account].window.clone());
        self.accounts[account].current = self.open_stretch(account, &name, &window, wall);
        self.sets.clear();
        self.tidy(current, Moment::default());
    }

    fn open_stretch(&mut self, account: AccountId, name: &BudgetName, window: &crate::units::Window, wall: Timestamp) -> PoolId {
        let stretch = window.stretch(wall);
        let key = WindowKey { budget: name.clone(), period: window.period, starts: stretch.start, ends: stretch.end };
        self.insert(Pool::new(account, key))
    }

    fn insert(&mut self, pool: Pool) -> PoolId {
        let id = self.next_pool;
        self.next_pool += 1;
        self.pools.insert(id, pool);
        id
    }

    /// Asks for a grant that covers what is used and `amount` more, and a little ahead; only one is under way at a time.
    pub(super) fn ask_grant(&mut self, id: PoolId, amount: Usd, at: Moment) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let cap = self.accounts[pool.account].cap;
        if pool.asked.is_some() {
            return;
        }
        let need = pool.claimed().plus(amount);
        pool.pace.held(amount, at);
        let to = need.plus(pool.pace.ahead(cap, at)).min(cap.max(need));
        pool.asked = Some(to);
        let entry = Entry::Granted(vec![(pool.key.clone(), to)]);
        self.told.push(Tell { entry, raise: Some(Raise { pool: id, to }) });
    }

    /// Asks for the next grants while there is still something of the last ones.
    pub(super) fn raise_early(&mut self, set: &super::Set, at: Moment) {
        for id in set.pools.iter() {
            let Some(pool) = self.pools.get_mut(id) else { continue };
            let account = &self.accounts[pool.account];
            let ahead = pool.pace.ahead(account.cap, at);
            let is_low = pool.granted.minus(pool.claimed()).nano() < ahead.nano() / 2 && pool.granted < account.cap;
            if account.mode == BudgetMode::Hard && is_low {
                self.ask_grant(*id, Usd::ZERO, at);
            }
        }
    }

    /// The ledger's answer to a raise.
    pub(in crate::admit) fn granted(&mut self, raise: Raise, is_durable: bool, at: Moment) {
        let Some(pool) = self.pools.get_mut(&raise.pool) else { return };
        pool.asked = None;
        if is_durable {
            pool.granted = pool.granted.max(raise.to);
            pool.kept_until = at.plus(KEPT);
        }
        self.tidy(raise.pool, at);
    }

    /// After something was given back: a grant that is far ahead is lowered, a stretch that has ended and holds nothing leaves.
    pub(super) fn tidy(&mut self, id: PoolId, at: Moment) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let Some(account) = self.accounts.get(pool.account) else { return };
        let is_over = account.current != id;
        if is_over && pool.holds == 0 && pool.asked.is_none() {
            let (key, spent, ends) = (pool.key.clone(), pool.spent(), pool.key.ends);
            if pool.granted > spent {
                self.told.push(Tell { entry: Entry::Granted(vec![(key, spent)]), raise: None });
            }
            self.leave(id, ends.unwrap_or(Timestamp::MAX));
            return;
        }
        let furthest = furthest_ahead(account.cap);
        if pool.asked.is_none() && at >= pool.kept_until && pool.granted.minus(pool.claimed()) > furthest {
            let ahead = pool.pace.ahead(account.cap, at).max(Usd::from_nano(furthest.nano() / 2));
            pool.granted = pool.claimed().plus(ahead);
            self.told.push(Tell { entry: Entry::Granted(vec![(pool.key.clone(), pool.granted)]), raise: None });
        }
    }

    /// Gives back every grant that is not used, for a clean stop.
    pub(in crate::admit) fn give_back(&mut self) {
        // A raise that is on its way is lowered behind it.
        let ahead = self.pools.values_mut().filter(|pool| pool.granted > pool.used() || pool.asked.is_some());
        let lowered: Vec<(WindowKey, Usd)> = ahead
            .map(|pool| {
                pool.granted = pool.used();
                (pool.key.clone(), pool.granted)
            })
            .collect();
        if !lowered.is_empty() {
            self.told.push(Tell { entry: Entry::Granted(lowered), raise: None });
        }
    }

    /// How the account stands now.
    pub(in crate::admit) fn standing(&mut self, account: AccountId, wall: Timestamp) -> Standing {
        self.expire(wall);
        self.roll(account, wall);
        let Account { cap, current, .. } = &self.accounts[account];
        let Pool { key, posted, held, disputed, granted, .. } = &self.pools[current];
        Standing { key: key.clone(), cap: *cap, posted: *posted, held: *held, disputed: *disputed, granted: *granted }
    }
}

impl Pool {
    fn new(account: AccountId, key: WindowKey) -> Self {
        Self {
            account,
            key,
            granted: Usd::ZERO,
            asked: None,
            posted: Usd::ZERO,
            held: Usd::ZERO,
            disputed: Usd::ZERO,
            unwritten: Usd::ZERO,
            holds: 0,
            pace: Pace::default(),
            kept_until: Moment::default(),
        }
    }
}
