//! Every running counter of money: what is granted, held, posted and disputed in each window of each budget.
//!
//! Plain functions: no clock, no disk, no waiting. What the ledger has to be told is left in [`Book::take_told`].

mod disputes;
mod windows;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::grants::Pace;
use super::purse::Tight;
use crate::config::BudgetMode;
use crate::units::{AttemptId, BudgetName, Disputed, Entry, Moment, Period, QuickMap, Share, Usd, Window, WindowKey};

pub(super) use disputes::Dispute;
use disputes::Disputes;
pub(super) use windows::Standing;

/// No single call costs more: a million dollars. What is estimated above it never fits.
pub(super) const LARGEST_HOLD: Usd = Usd::from_nano(1_000_000_000_000_000);

/// Index of an account; an account once opened keeps it.
pub(super) type AccountId = usize;
type PoolId = u64;

/// When something happens: wall time decides windows, monotonic time measures rates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    pub(super) at: Moment,
    /// What the wall clock says, where that is too far ahead to be believed yet.
    pub(super) claimed: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    accounts: Vec<Account>,
    pools: BTreeMap<PoolId, Pool>,
    next_pool: PoolId,
    /// Attempts in flight.
    open: QuickMap<AttemptId, Hold>,
    disputes: Disputes,
    /// The windows that the ledger told of at the start, by the names that they had then.
    remembered: QuickMap<WindowKey, PoolId>,
    /// What settlements and ended disputes have freed whose rows are not on disk yet, in the order of their telling.
    freed: VecDeque<Freed>,
    /// The pools that a set of accounts means now; emptied when one of them rolls over.
    sets: QuickMap<Box<[AccountId]>, Arc<Set>>,
    told: Vec<Tell>,
}

/// One window of one budget, whichever stretch of it is current.
#[derive(Debug)]
struct Account {
    budget: BudgetName,
    period: Period,
    /// How the next stretch is cut.
    window: Window,
    cap: Usd,
    mode: BudgetMode,
    warn_at: Vec<Share>,
    /// The file has it no more.
    is_leaving: bool,
    /// Another period has taken its place in the file: it binds until its stretch ends.
    is_exchanged: bool,
    current: PoolId,
}

/// The counters of one stretch.
#[derive(Debug)]
struct Pool {
    account: AccountId,
    key: WindowKey,
    /// Safe on disk: so much may be posted, held and disputed together. Only hard budgets keep to it.
    granted: Usd,
    /// A grant that is on its way to the disk.
    asked: Option<Usd>,
    posted: Usd,
    held: Usd,
    disputed: Usd,
    /// Freed by settlements that the disk does not know of: a crash would count it still, so nothing else may count on it.
    unwritten: Usd,
    /// Holds that are open here.
    holds: usize,
    pace: Pace,
    /// The latest grant is not lowered before.
    kept_until: Moment,
}

/// The stretches that one attempt counts in.
#[derive(Debug)]
struct Set {
    pools: Arc<[PoolId]>,
    keys: Arc<[WindowKey]>,
}

#[derive(Debug)]
struct Hold {
    set: Arc<Set>,
    amount: Usd,
    /// As the ledger was told.
    at_first: Usd,
}

#[derive(Debug)]
struct Freed {
    pools: Arc<[PoolId]>,
    amount: Usd,
    /// The number of its row in the ledger's queue; absent until it is told.
    ticket: Option<u64>,
}

/// A hold that was given.
#[derive(Clone, Debug)]
pub(super) struct Reserved {
    /// The windows that admitted it.
    pub(super) keys: Arc<[WindowKey]>,
    /// What the tightest hard budget has left now, beside all holds. Absent: none covers it.
    pub(super) rest: Option<Usd>,
    /// When it was given.
    pub(super) at: Timestamp,
}

/// Why a hold is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Posted and disputed leave only `rest` of this account's cap, whatever becomes of the holds.
    Exceeded { account: AccountId, rest: Usd },
    /// Only other attempts' holds stand in the way; `rest` is what they leave.
    Busy { account: AccountId, rest: Usd },
    /// The clock has jumped over this account's end, and is not believed yet.
    ClockSuspect { account: AccountId },
    /// It fits, but a grant has to be made durable first.
    NotGranted,
}

/// Something for the ledger, and for a grant the pool that waits for it.
#[derive(Debug)]
pub(super) struct Tell {
    pub(super) entry: Entry,
    /// The raise that this is, to be answered by [`Book::granted`].
    pub(super) raise: Option<Raise>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Raise {
    pool: PoolId,
    to: Usd,
}

/// What a settlement led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What was posted above the hold.
    pub(super) overrun: Usd,
    /// What stays disputed of it.
    pub(super) disputed: Usd,
    /// Shares of caps that were crossed by it.
    pub(super) crossed: Vec<Crossed>,
    /// What the tightest hard budget has left now, beside all holds. Absent: none covers it.
    pub(super) rest: Option<Usd>,
}

/// More than `share` of a cap is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossed {
    pub budget: BudgetName,
    pub period: Period,
    pub share: Share,
    /// Posted and disputed.
    pub used: Usd,
    pub cap: Usd,
}

impl Book {
    /// Holds `amount` in every account, or nothing. The windows that admitted it are those it is settled in.
    pub(super) fn reserve(&mut self, id: AttemptId, accounts: &[AccountId], amount: Usd, now: Now) -> Result<Reserved, Denied> {
        self.expire(now.wall);
        let set = self.set(accounts, now.wall);
        self.reserve_in(set, id, amount, now)
    }

    /// The same where so many `times` all holds, and this one with them, fit into what is left of every hard budget; nothing otherwise.
    pub(super) fn reserve_far(
        &mut self,
        id: AttemptId,
        accounts: &[AccountId],
        amount: Usd,
        times: u64,
        now: Now,
    ) -> Result<Reserved, Denied> {
        self.expire(now.wall);
        let set = self.set(accounts, now.wall);
        if self.tightest_in(&set).is_some_and(|tight| !tight.is_far(amount, times)) {
            return Err(Denied::NotGranted);
        }
        self.reserve_in(set, id, amount, now)
    }

    fn reserve_in(&mut self, set: Arc<Set>, id: AttemptId, amount: Usd, now: Now) -> Result<Reserved, Denied> {
        self.is_timely(&set, now)?;
        self.fits(&set, amount)?;
        self.is_granted(&set, amount, now.at)?;
        for pool in set.pools.iter() {
            let Some(pool) = self.pools.get_mut(pool) else { continue };
            pool.held = pool.held.plus(amount);
            pool.holds += 1;
            pool.pace.held(amount, now.at);
        }
        self.raise_early(&set, now.at);
        let (keys, rest) = (Arc::clone(&set.keys), self.rest(&set));
        let before = self.open.insert(id, Hold { set, amount, at_first: amount });
        assert!(before.is_none(), "an attempt is held twice");
        Ok(Reserved { keys, rest, at: now.wall })
    }

    /// What [`reserve`](Self::reserve) would answer now, but for grants. Takes nothing.
    pub(super) fn look(&mut self, accounts: &[AccountId], amount: Usd, now: Now) -> Result<(), Denied> {
        self.expire(now.wall);
        let set = self.set(accounts, now.wall);
        self.is_timely(&set, now)?;
        self.fits(&set, amount)
    }

    /// How the hard budget stands whose holds weigh most against what is left.
    pub(super) fn tightest(&mut self, accounts: &[AccountId], wall: Timestamp) -> Option<Tight> {
        let set = self.set(accounts, wall);
        self.tightest_in(&set)
    }

    fn tightest_in(&self, set: &Set) -> Option<Tight> {
        let hard = set.pools.iter().filter_map(|pool| self.pools.get(pool)).filter(|pool| self.is_hard(pool));
        let tight = hard.map(|pool| Tight { held: pool.held, rest: self.accounts[pool.account].cap.minus(pool.spent()) });
        tight.min_by_key(|tight| tight.rest.minus(tight.held))
    }

    /// Lowers a hold: less can be billed than was thought.
    pub(super) fn shrink(&mut self, id: AttemptId, to: Usd) {
        let Some(hold) = self.open.get_mut(&id) else { return };
        let freed = hold.amount.minus(to);
        hold.amount = hold.amount.min(to);
        for pool in hold.set.pools.iter() {
            if let Some(pool) = self.pools.get_mut(pool) {
                pool.held = pool.held.minus(freed);
                pool.unwritten = pool.unwritten.plus(freed);
            }
        }
    }

    /// Gives back the hold of an attempt that was never sent: the ledger never heard of it.
    pub(super) fn release(&mut self, id: AttemptId, at: Moment) {
        let Some(Hold { set, amount, .. }) = self.open.remove(&id) else { return };
        for id in set.pools.iter() {
            if let Some(pool) = self.pools.get_mut(id) {
                pool.held = pool.held.minus(amount);
                pool.holds -= 1;
            }
            self.tidy(*id, at);
        }
    }

    /// Everything that was freed so far is told in rows up to this number of the ledger's queue.
    pub(super) fn told(&mut self, ticket: u64) {
        for freed in self.freed.iter_mut().rev().take_while(|freed| freed.ticket.is_none()) {
            freed.ticket = Some(ticket);
        }
    }

    /// Rows up to this number are on disk: what they freed may be used again.
    pub(super) fn written(&mut self, ticket: u64, at: Moment) {
        while self.freed.front().is_some_and(|freed| freed.ticket.is_some_and(|told| told <= ticket)) {
            let Some(Freed { pools, amount, .. }) = self.freed.pop_front() else { return };
            for id in pools.iter().copied() {
                if let Some(pool) = self.pools.get_mut(&id) {
                    pool.unwritten = pool.unwritten.minus(amount);
                }
                self.tidy(id, at);
            }
        }
    }

    /// Ends a hold: `posted` is spent, `disputed` may have been, the rest goes back. Nothing happens to an attempt that is not open.
    pub(super) fn settle(&mut self, id: AttemptId, posted: Usd, disputed: Option<Disputed>, now: Now) -> Outcome {
        let Some(Hold { set, amount, at_first }) = self.open.remove(&id) else { return Outcome::default() };
        let disputed =
            disputed.map(|part| Disputed { amount: part.amount.min(amount.minus(posted)), ..part }).filter(|part| part.amount > Usd::ZERO);
        let stays = disputed.map(|part| part.amount).unwrap_or_default();
        let mut crossed = Vec::new();
        for pool in set.pools.iter() {
            let Some(pool) = self.pools.get_mut(pool) else { continue };
            let before = pool.spent();
            pool.held = pool.held.minus(amount);
            pool.unwritten = pool.unwritten.plus(amount.minus(posted.plus(stays)));
            pool.holds -= 1;
            pool.posted = pool.posted.plus(posted);
            pool.disputed = pool.disputed.plus(stays);
            pool.pace.posted(posted, now.at);
            self.accounts[pool.account].crossed(before, pool.spent(), &mut crossed);
        }
        if let Some(part) = disputed {
            self.disputes.open(id, part, &set.pools);
        }
        for pool in set.pools.iter() {
            self.tidy(*pool, now.at);
        }
        let freed = at_first.minus(amount).plus(amount.minus(posted.plus(stays)));
        self.freed.push_back(Freed { pools: Arc::clone(&set.pools), amount: freed, ticket: None });
        Outcome { overrun: posted.minus(amount), disputed: stays, crossed, rest: self.rest(&set) }
    }

    /// Attempts in flight.
    pub(super) fn open_holds(&self) -> usize {
        self.open.len()
    }

    /// What the ledger has to be told, in order.
    pub(super) fn take_told(&mut self) -> Vec<Tell> {
        std::mem::take(&mut self.told)
    }

    /// Whether no hard budget's stretch would be over by a clock that is not believed.
    fn is_timely(&self, set: &Set, now: Now) -> Result<(), Denied> {
        let Some(claimed) = now.claimed else { return Ok(()) };
        let is_over = |pool: &&Pool| self.is_hard(pool) && pool.key.ends.is_some_and(|ends| claimed >= ends);
        let over = set.pools.iter().filter_map(|pool| self.pools.get(pool)).find(is_over);
        over.map_or(Ok(()), |pool| Err(Denied::ClockSuspect { account: pool.account }))
    }

    /// Whether every hard budget has room for the amount.
    fn fits(&self, set: &Set, amount: Usd) -> Result<(), Denied> {
        let mut worst: Option<Denied> = None;
        for pool in set.pools.iter().filter_map(|pool| self.pools.get(pool)) {
            let account = &self.accounts[pool.account];
            let denied = match account.mode {
                BudgetMode::Observe => None,
                // A soft cap closes when it is spent, and holds no worst case against itself.
                BudgetMode::Soft => (pool.spent() >= account.cap).then_some(Denied::Exceeded { account: pool.account, rest: Usd::ZERO }),
                BudgetMode::Hard => {
                    let (whole, free) = (account.cap.minus(pool.spent()), account.cap.minus(pool.used()));
                    if amount > whole || pool.spent() > account.cap || amount > LARGEST_HOLD {
                        Some(Denied::Exceeded { account: pool.account, rest: whole })
                    } else if amount > free || pool.used() > account.cap {
                        Some(Denied::Busy { account: pool.account, rest: free })
                    } else {
                        None
                    }
                }
            };
            worst = [worst, denied].into_iter().flatten().min_by_key(Denied::severity);
        }
        worst.map_or(Ok(()), Err)
    }

    /// Whether the amount stays within every grant; asks for larger ones where it does not.
    fn is_granted(&mut self, set: &Set, amount: Usd, at: Moment) -> Result<(), Denied> {
        let lacks = |book: &Self, id: &PoolId| {
            let pool = &book.pools[id];
            book.is_hard(pool) && pool.claimed().plus(amount) > pool.granted
        };
        let lacking: Vec<PoolId> = set.pools.iter().copied().filter(|pool| lacks(self, pool)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        for id in lacking {
            self.ask_grant(id, amount, at);
        }
        Err(Denied::NotGranted)
    }

    /// What the tightest hard budget has left beside all holds.
    fn rest(&self, set: &Set) -> Option<Usd> {
        let hard = set.pools.iter().filter_map(|pool| self.pools.get(pool)).filter(|pool| self.is_hard(pool));
        hard.map(|pool| self.accounts[pool.account].cap.minus(pool.used())).min()
    }

    fn is_hard(&self, pool: &Pool) -> bool {
        self.accounts[pool.account].mode == BudgetMode::Hard
    }

    /// The pools that these accounts mean now.
    fn set(&mut self, accounts: &[AccountId], wall: Timestamp) -> Arc<Set> {
        for account in accounts {
            self.roll(*account, wall);
        }
        if let Some(set) = self.sets.get(accounts) {
            return Arc::clone(set);
        }
        let in_force = accounts.iter().map(|account| &self.accounts[*account]).filter(|account| !account.is_over(wall, self));
        let pools: Arc<[PoolId]> = in_force.map(|account| account.current).collect();
        let keys = pools.iter().map(|pool| self.pools[pool].key.clone()).collect();
        let set = Arc::new(Set { pools, keys });
        self.sets.insert(accounts.into(), Arc::clone(&set));
        set
    }
}

impl Pool {
    /// Posted and disputed.
    fn spent(&self) -> Usd {
        self.posted.plus(self.disputed)
    }

    /// What the grant has to cover: all that is used, and what the disk may still count.
    fn claimed(&self) -> Usd {
        self.used().plus(self.unwritten)
    }

    /// Posted, disputed and held.
    fn used(&self) -> Usd {
        self.spent().plus(self.held)
    }
}

impl Account {
    /// Whether it has left the file and its stretch has ended.
    fn is_over(&self, wall: Timestamp, book: &Book) -> bool {
        self.is_leaving && book.pools.get(&self.current).is_none_or(|pool| pool.key.ends.is_some_and(|ends| wall >= ends))
    }

    /// Notes the shares that lie between what was used before and what is now.
    fn crossed(&self, before: Usd, now: Usd, crossed: &mut Vec<Crossed>) {
        for share in &self.warn_at {
            let mark = share.of(self.cap);
            if before < mark && now >= mark {
                crossed.push(Crossed { budget: self.budget.clone(), period: self.period, share: *share, used: now, cap: self.cap });
            }
        }
    }
}

impl Denied {
    /// The least hopeful first; of equals the one with the least room.
    fn severity(&self) -> (u8, Usd) {
        match self {
            Self::Exceeded { rest, .. } => (0, *rest),
            Self::Busy { rest, .. } => (1, *rest),
            Self::ClockSuspect { .. } | Self::NotGranted => (2, Usd::ZERO),
        }
    }
}

#[cfg(test)]
mod tests;
