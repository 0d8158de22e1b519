//! The budgets of one adopted file: which of them cover an attempt, and whether it may be held against all of them.

use std::sync::Arc;
use std::time::Duration;

use super::book::{AccountId, Denied, Now};
use super::budgets::{BudgetLevel, MoneyEvent, Shared, State};
use super::limits::{Limit, Refused};
use super::meters::Meter;
use super::stake::Stake;
use crate::config::{Budget, BudgetMode, Durability, EstimateBy, LedgerSettings, OnLow, SpentWindow, Target};
use crate::rules::Features;
use crate::units::{AdjustedEntry, BudgetName, CallerName, Glob, Moment, Period, RuleName, Share, Tokens, Usd};

/// When a retry may help where only holds, the disk or the clock stand in the way.
const SOON: Duration = Duration::from_secs(1);
/// Who waits for its turn looks again at least this often: time alone may free money, too.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What runs through a budget per time, in micro-dollars, and the limit that is on it.
pub(super) type Pace = (Arc<Meter>, Arc<Limit>);

/// The budgets of one adopted file.
#[derive(Debug)]
pub struct Purse {
    shared: Arc<Shared>,
    own: Vec<OwnBudget>,
    settings: LedgerSettings,
}

/// A budget with its accounts: first those of its caps in order, then those that end with their stretch.
#[derive(Debug)]
pub(super) struct OwnBudget {
    budget: Budget,
    accounts: Vec<AccountId>,
    pace: Option<Pace>,
    callers: Option<Vec<CallerName>>,
    models: Option<Vec<Glob>>,
    tags: Vec<(String, Vec<Glob>)>,
    labels: Vec<(String, Vec<Glob>)>,
}

/// The budgets that cover one attempt.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    budgets: Vec<usize>,
    accounts: Arc<[AccountId]>,
    is_hard: bool,
    /// How long to wait where only holds stand in the way: the longest of them.
    wait: Duration,
    /// The least output that a clamp may leave; absent: one of them rejects.
    clamp: Option<Tokens>,
    estimate: EstimateBy,
}

/// How the hard budget stands whose holds weigh most against what it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tight {
    /// The sum of holds.
    pub held: Usd,
    /// What is left without them.
    pub rest: Usd,
}

impl Tight {
    /// Whether so many `times` all holds, and this amount with them, fit into what is left.
    #[must_use]
    pub fn is_far(&self, amount: Usd, times: u64) -> bool {
        u128::from(self.rest.nano()) >= u128::from(self.held.plus(amount).nano()) * u128::from(times)
    }
}

/// A budget says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverBudget {
    pub why: OverBudgetWhy,
    /// Absent where it is not about one budget.
    pub budget: Option<BudgetName>,
    pub period: Option<Period>,
    pub cap: Usd,
    pub spent: Usd,
    pub held: Usd,
    pub disputed: Usd,
    /// The largest hold that would fit: without others' holds where the cap is exceeded, beside them where it is busy.
    pub rest: Usd,
    /// When trying again may help. Absent: never.
    pub retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverBudgetWhy {
    /// Spent and disputed leave too little.
    Exceeded,
    /// Only other requests' holds stand in the way.
    Busy,
    /// It runs faster than its pace.
    Pace,
    /// The ledger cannot be written, so nothing more can be granted.
    Ledger,
    /// The clock jumped over the window's end, and is not believed yet.
    Clock,
}

impl Purse {
    pub(super) fn new(shared: Arc<Shared>, own: Vec<OwnBudget>, settings: LedgerSettings) -> Self {
        Self { shared, own, settings }
    }

    /// The budgets that cover a call of this rule at this target.
    #[must_use]
    pub fn cover(&self, features: &Features, rule: &RuleName, target: &Target) -> Cover {
        if self.own.is_empty() {
            return Cover::default();
        }
        let covering = self.own.iter().enumerate().filter(|(_, own)| own.covers(features, rule, target));
        let budgets: Vec<usize> = covering.map(|(index, _)| index).collect();
        let of = || budgets.iter().map(|index| &self.own[*index]);
        let hard = || of().filter(|own| own.budget.mode == BudgetMode::Hard && !own.accounts.is_empty());
        let can_clamp = hard().all(|own| own.budget.on_low == OnLow::Clamp);
        Cover {
            accounts: of().flat_map(|own| own.accounts.iter().copied()).collect(),
            is_hard: hard().next().is_some(),
            wait: hard().map(|own| own.budget.wait).max().unwrap_or_default(),
            clamp: hard().map(|own| own.budget.min_output_tokens).max().filter(|_| can_clamp),
            // The strictest that one of them asks for.
            estimate: hard().map(|own| own.budget.estimate).max_by_key(|estimate| strictness(*estimate)).unwrap_or_default(),
            budgets,
        }
    }

    /// Holds `amount` in every budget of the cover, or nothing. Waits for a grant that must become durable; where `waits`, also for
    /// its turn while only others' holds stand in the way.
    pub async fn reserve(&self, cover: &Cover, amount: Usd, waits: bool) -> Result<Box<Stake>, Box<OverBudget>> {
        match self.try_reserve(cover, amount, None, None) {
            Ok(stake) => Ok(stake),
            Err((Denied::NotGranted, _)) => Box::pin(self.reserve_slowly(cover, amount, waits)).await,
            Err((Denied::Busy { .. }, _)) if waits && !cover.wait.is_zero() => Box::pin(self.reserve_slowly(cover, amount, waits)).await,
            Err((_, over)) => Err(over),
        }
    }

    /// Holds `amount` at once where so many `times` the holds in flight, this one among them, fit into what is left. Otherwise nothing is
    /// taken: it may fit all the same.
    #[must_use]
    pub fn reserve_far(&self, cover: &Cover, amount: Usd, times: u64) -> Option<Box<Stake>> {
        self.try_reserve(cover, amount, None, Some(times)).ok()
    }

    /// Whether the amount would be held now. Takes nothing; a grant that is still to be made does not count.
    pub fn standing(&self, cover: &Cover, amount: Usd) -> Result<(), Box<OverBudget>> {
        self.shared.with(|state, now| {
            let looked = state.book().look(&cover.accounts, amount, now);
            looked.map_err(|denied| Box::new(self.over(state, cover, denied, now)))
        })
    }

    /// The share of one window that is used: posted and disputed, never held.
    #[must_use]
    pub fn spent(&self, window: SpentWindow) -> Share {
        let Some(account) = self.own.get(window.budget).and_then(|own| own.accounts.get(window.cap)) else { return Share::default() };
        self.shared.with(|state, now| {
            let standing = state.book().standing(*account, now.wall);
            Share::of_whole(standing.posted.plus(standing.disputed), standing.cap)
        })
    }

    /// The share used of every window, in file order.
    #[must_use]
    pub fn all_spent(&self) -> Vec<(SpentWindow, Share)> {
        let windows = self.own.iter().enumerate().flat_map(|(budget, own)| {
            let caps = 0..own.budget.caps.len();
            caps.map(move |cap| SpentWindow { budget, cap })
        });
        windows.map(|window| (window, self.spent(window))).collect()
    }

    /// Counts a share of a window's cap as spent, for a question about a file. Nothing that a daemon does.
    pub fn assume(&self, window: SpentWindow, share: Share) {
        let Some(account) = self.own.get(window.budget).and_then(|own| own.accounts.get(window.cap)) else { return };
        self.shared.with(|state, now| {
            let standing = state.book().standing(*account, now.wall);
            let (amount, is_credit) = (share.of(standing.cap), false);
            state.book().adjust(AdjustedEntry { at: now.wall, window: standing.key, amount, is_credit, reason: "assumed".into() });
        });
    }

    /// Every window of every budget as it stands.
    #[must_use]
    pub fn levels(&self) -> Vec<BudgetLevel> {
        self.shared.with(|state, now| {
            let accounts = self.own.iter().flat_map(|own| own.accounts.iter());
            accounts.map(|account| state.book().standing(*account, now.wall).into()).collect()
        })
    }

    /// Every window of the budgets that cover a request because of who asks: its own, and those that match it or its tags.
    #[must_use]
    pub fn levels_of_caller(&self, features: &Features) -> Vec<BudgetLevel> {
        self.shared.with(|state, now| {
            let own = self.own.iter().filter(|own| (own.callers.is_some() || !own.tags.is_empty()) && own.covers_caller(features));
            own.flat_map(|own| own.accounts.iter()).map(|account| state.book().standing(*account, now.wall).into()).collect()
        })
    }

    /// How the tightest hard budget stands. Absent: none covers it.
    #[must_use]
    pub fn tightest(&self, cover: &Cover) -> Option<Tight> {
        self.shared.with(|state, now| state.book().tightest(&cover.accounts, now.wall))
    }

    async fn reserve_slowly(&self, cover: &Cover, amount: Usd, waits: bool) -> Result<Box<Stake>, Box<OverBudget>> {
        let clock = self.shared.clock();
        let (since, patience) = (clock.now(), if waits { cover.wait } else { Duration::ZERO });
        let left = |longest: Duration| longest.saturating_sub(clock.now().since(since));
        loop {
            let account = match self.try_when_granted(cover, amount, None, since).await {
                Err((Denied::Busy { account, .. }, over)) => {
                    if left(patience).is_zero() {
                        return Err(over);
                    }
                    account
                }
                tried => return tried.map_err(|(_, over)| over),
            };
            let line = self.shared.line(account);
            let Ok(turn) = tokio::time::timeout(left(patience), line.join(&())).await else { continue };
            loop {
                match self.try_when_granted(cover, amount, Some(account), since).await {
                    Err((Denied::Busy { account: other, .. }, over)) => {
                        if left(patience).is_zero() {
                            return Err(over);
                        }
                        if other != account {
                            break;
                        }
                        turn.freed(&(), left(patience).min(LOOK_AGAIN)).await;
                    }
                    tried => return tried.map_err(|(_, over)| over),
                }
            }
        }
    }

    /// Tries, and tries again when a grant has become durable, at most for the ledger's time.
    async fn try_when_granted(
        &self,
        cover: &Cover,
        amount: Usd,
        turn: Option<AccountId>,
        since: Moment,
    ) -> Result<Box<Stake>, (Denied, Box<OverBudget>)> {
        loop {
            // Listened for before it is tried, so that no answer is missed in between.
            let mut granted = std::pin::pin!(self.shared.granted.notified());
            granted.as_mut().enable();
            let (denied, over) = match self.try_reserve(cover, amount, turn, None) {
                Err((Denied::NotGranted, over)) => (Denied::NotGranted, over),
                tried => return tried,
            };
            self.shared.hurry();
            let left = self.settings.timeout.saturating_sub(self.shared.clock().now().since(since));
            if self.shared.lock().is_failing() || tokio::time::timeout(left, granted).await.is_err() {
                return Err((denied, over));
            }
        }
    }

    /// Holds the amount, or nothing. `turn`: nobody else may pass there. `times`: nothing either where it is not as far from every cap as that.
    fn try_reserve(
        &self,
        cover: &Cover,
        amount: Usd,
        turn: Option<AccountId>,
        times: Option<u64>,
    ) -> Result<Box<Stake>, (Denied, Box<OverBudget>)> {
        let paces = self.take_pace(cover, amount).map_err(|over| (Denied::Exceeded { account: 0, rest: Usd::ZERO }, over))?;
        let id = self.shared.next_id();
        let reserved = self.shared.with(|state, now| {
            if !self.shared.takes_rows(cover.is_hard, amount, self.settings.max_unrecorded) {
                return Err((Denied::NotGranted, Box::new(OverBudget::ledger())));
            }
            let others = state.blocked(&cover.accounts, turn).map(|account| Denied::Busy { account, rest: Usd::ZERO });
            let reserved = match (others, times) {
                // What does not fit at all need not wait behind those who wait.
                (Some(busy), _) => state.book().look(&cover.accounts, amount, now).and(Err(busy)),
                (None, Some(times)) => state.book().reserve_far(id, &cover.accounts, amount, times, now),
                (None, None) => state.book().reserve(id, &cover.accounts, amount, now),
            };
            reserved.map_err(|denied| (denied, Box::new(self.over(state, cover, denied, now))))
        });
        match reserved {
            Ok(reserved) => {
                let is_strict = self.settings.durability == Durability::Strict && cover.is_hard;
                Ok(Stake::new(&self.shared, &cover.accounts, id, amount, reserved, paces, is_strict.then_some(self.settings.timeout)))
            }
            Err(refused) => {
                give_back_pace(&paces, amount);
                Err(refused)
            }
        }
    }

    /// Takes the amount from the paces of the cover, or from none of them.
    fn take_pace(&self, cover: &Cover, amount: Usd) -> Result<Vec<Pace>, Box<OverBudget>> {
        let mut taken = Vec::new();
        for own in cover.budgets.iter().map(|index| &self.own[*index]) {
            let Some((meter, limit)) = &own.pace else { continue };
            match meter.with(limit, |limit| limit.take(micro(amount))) {
                Ok(()) => taken.push((Arc::clone(meter), Arc::clone(limit))),
                Err(refused) => {
                    give_back_pace(&taken, amount);
                    return Err(Box::new(OverBudget::pace(&own.budget.name, refused)));
                }
            }
        }
        Ok(taken)
    }

    fn over(&self, state: &mut State, cover: &Cover, denied: Denied, now: Now) -> OverBudget {
        let Some(account) = denied.account() else { return OverBudget::ledger() };
        let standing = state.book().standing(account, now.wall);
        let own = cover.budgets.iter().map(|index| &self.own[*index]).find(|own| own.accounts.contains(&account));
        let name = own.map(|own| own.budget.name.clone());
        let (why, rest, retry_after) = match denied {
            Denied::Busy { rest, .. } => (OverBudgetWhy::Busy, rest, Some(SOON)),
            Denied::ClockSuspect { .. } => (OverBudgetWhy::Clock, Usd::ZERO, Some(SOON)),
            Denied::Exceeded { rest, .. } => {
                let until = standing.key.ends.map(|ends| ends.duration_since(now.wall));
                (OverBudgetWhy::Exceeded, rest, until.and_then(|until| Duration::try_from(until).ok()))
            }
            Denied::NotGranted => (OverBudgetWhy::Ledger, Usd::ZERO, Some(SOON)),
        };
        OverBudget {
            why,
            budget: name,
            period: Some(standing.key.period),
            cap: standing.cap,
            spent: standing.posted,
            held: standing.held,
            disputed: standing.disputed,
            rest,
            retry_after,
        }
    }

    /// Tells whoever alerts that a request was refused for this.
    pub fn refused(&self, over: &OverBudget) {
        if let (OverBudgetWhy::Exceeded, Some(budget), Some(period)) = (over.why, &over.budget, over.period) {
            let used = over.spent.plus(over.disputed);
            self.shared.happened(MoneyEvent::Refused { budget: budget.clone(), period, cap: over.cap, used });
        }
    }
}

impl Cover {
    /// Whether one of them lets nothing through whose worst case is not known.
    #[must_use]
    pub fn is_hard(&self) -> bool {
        self.is_hard
    }

    /// The least output that a clamp may leave. Absent: there is no clamping.
    #[must_use]
    pub fn clamp(&self) -> Option<Tokens> {
        self.clamp
    }

    #[must_use]
    pub fn estimate(&self) -> EstimateBy {
        self.estimate
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.budgets.is_empty()
    }
}

impl OverBudget {
    fn pace(budget: &BudgetName, refused: Refused) -> Self {
        let retry_after = match refused {
            Refused::Later(wait) => Some(wait),
            Refused::Never => None,
        };
        Self { budget: Some(budget.clone()), retry_after, ..Self::none(OverBudgetWhy::Pace) }
    }

    pub(super) fn ledger() -> Self {
        Self { retry_after: Some(SOON), ..Self::none(OverBudgetWhy::Ledger) }
    }

    /// The request's own time ended while it waited.
    #[must_use]
    pub fn out_of_time() -> Self {
        Self { retry_after: Some(SOON), ..Self::none(OverBudgetWhy::Busy) }
    }

    fn none(why: OverBudgetWhy) -> Self {
        Self {
            why,
            budget: None,
            period: None,
            cap: Usd::ZERO,
            spent: Usd::ZERO,
            held: Usd::ZERO,
            disputed: Usd::ZERO,
            rest: Usd::ZERO,
            retry_after: None,
        }
    }
}

impl OwnBudget {
    pub(super) fn new(budget: Budget, accounts: Vec<AccountId>, callers: Option<Vec<CallerName>>, pace: Option<Pace>) -> Self {
        let globs = |patterns: &Vec<String>| patterns.iter().map(|pattern| Glob::new(pattern)).collect::<Vec<_>>();
        let named =
            |map: &std::collections::BTreeMap<String, Vec<String>>| map.iter().map(|(name, any)| (name.clone(), globs(any))).collect();
        let covers = &budget.covers;
        Self {
            models: covers.models.as_ref().map(globs),
            tags: named(&covers.tags),
            labels: named(&covers.labels),
            callers,
            budget,
            accounts,
            pace,
        }
    }

    fn covers(&self, features: &Features, rule: &RuleName, target: &Target) -> bool {
        let covers = &self.budget.covers;
        covers.providers.as_ref().is_none_or(|providers| providers.contains(&target.provider))
            && covers.rules.as_ref().is_none_or(|rules| rules.contains(rule))
            && self.models.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(target.model.as_str())))
            && self.covers_caller(features)
    }

    /// As far as it goes by who asks.
    fn covers_caller(&self, features: &Features) -> bool {
        let any = |globs: &[Glob], value: Option<&str>| value.is_some_and(|value| globs.iter().any(|glob| glob.matches(value)));
        self.callers.as_ref().is_none_or(|callers| features.caller.as_ref().is_some_and(|caller| callers.contains(caller)))
            && self.tags.iter().all(|(name, globs)| any(globs, features.tags.get(name)))
            && self.labels.iter().all(|(name, globs)| any(globs, features.labels.get(name)))
    }
}

/// How much less likely an estimate is to fall short.
fn strictness(estimate: EstimateBy) -> u8 {
    match estimate {
        EstimateBy::Calibrated => 0,
        EstimateBy::Auto => 1,
        EstimateBy::Exact => 2,
        EstimateBy::Bytes => 3,
    }
}

/// Millionths of a dollar, rounded up: what a pace counts.
pub(super) fn micro(amount: Usd) -> u64 {
    amount.nano().div_ceil(1_000)
}

pub(super) fn give_back_pace(paces: &[Pace], amount: Usd) {
    for (meter, limit) in paces {
        meter.with(limit, |limit| limit.give_back(micro(amount)));
    }
}

#[cfg(test)]
mod tests;
