//! Rest for a failing target: shared by all requests, kept across rule sets.
//!
//! A healthy target costs a few atomic reads; a lock is met only where something failed.

mod pace;
mod rest;
mod tally;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pace::Pace;
use rest::{Leave, Outage, Rest};
use tally::{Latencies, Tally};

pub use pace::Awaited;

use crate::config::{CooldownPolicy, Provider, Target};
use crate::units::{Clock, Moment, ProviderName};
use crate::wire::Mark;

/// How long the state of a provider or target that left the file is kept, in case it comes back.
const KEPT: Duration = Duration::from_hours(1);
/// A silence is a failure when it lasted longer than so many times the target's own p99.
const SILENCE: u32 = 3;
/// Same-target retries that are always allowed within ten seconds, and beyond them one for so many requests.
const FREE_RETRIES: u64 = 3;
const REQUESTS_PER_RETRY: u64 = 5;

const KEY_DOWN: &str = "key_down";
const ACCOUNT_DOWN: &str = "account_down";
const TARGET_DOWN: &str = "target_down";

/// The rests of all targets and the marks of all providers, by name.
#[derive(Debug)]
pub struct Cooldowns {
    clock: Clock,
    kept: Mutex<(Kept<Account>, Kept<Health>)>,
}

impl Cooldowns {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, kept: Mutex::default() }
    }

    /// The view of a new file. Rests go on; what is down gets another chance, since the file may have brought a new key.
    ///
    /// # Panics
    /// When a target's `provider` is no index into `providers`.
    pub fn adopt(&self, providers: &[Provider], targets: &[Target]) -> Rests {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let accounts = kept.0.adopt(providers.iter().map(|provider| provider.name.as_str()), now);
        let healths = kept.1.adopt(targets.iter().map(|target| target.name.as_str()), now);
        let slots = targets.iter().zip(healths).map(|(target, health)| {
            health.change(|unfit| unfit.outage.clear());
            let policy = providers[target.provider].cooldown;
            Slot { account: Arc::clone(&accounts[target.provider]), health, policy }
        });
        let slots = slots.collect();
        for account in &accounts {
            account.change(Outage::clear);
        }
        let accounts = providers.iter().map(|provider| provider.name.clone()).zip(accounts).collect();
        Rests { clock: self.clock.clone(), slots, accounts }
    }
}

/// One adopted file's view. Targets are named by their index in the file; another index panics.
#[derive(Debug)]
pub struct Rests {
    clock: Clock,
    slots: Vec<Slot>,
    accounts: Vec<(ProviderName, Arc<Account>)>,
}

#[derive(Debug)]
struct Slot {
    account: Arc<Account>,
    health: Arc<Health>,
    /// Absent: failures leave nothing behind.
    policy: Option<CooldownPolicy>,
}

/// Whether a target may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Ready,
    /// `why`: `failures`, `retry_after`, or `trial` while a first request tries whether it works again.
    Resting {
        until: Moment,
        why: &'static str,
    },
    /// `why`: `key_down`, `account_down` or `target_down`.
    Down {
        why: &'static str,
    },
}

/// A target that may not be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    /// One of the words of [`Standing`].
    pub why: &'static str,
    /// Until the rest ends. Absent: waiting alone does not help.
    pub retry_after: Option<Duration>,
}

/// How a request uses a target.
#[derive(Debug)]
#[must_use = "a trial that is dropped ends"]
pub enum Entry {
    Normal,
    /// The one request that finds out whether the target works again. To be kept until the verdict is told.
    Trial(Trial),
    /// The one request a second that a chain's last step sends to a target at rest.
    Probe,
}

/// The right to be the one trial. Dropped without a verdict, the next request may try.
#[derive(Debug)]
pub struct Trial {
    account: Arc<Account>,
    health: Arc<Health>,
    of_account: Option<u64>,
    of_target: Option<u64>,
    of_rest: Option<u64>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(number) = self.of_account {
            self.account.change(|outage| outage.trial_ended(number));
        }
        if self.of_target.is_some() || self.of_rest.is_some() {
            self.health.change(|unfit| {
                self.of_target.iter().for_each(|number| unfit.outage.trial_ended(*number));
                self.of_rest.iter().for_each(|number| unfit.rest.trial_ended(*number));
            });
        }
    }
}

impl Rests {
    /// Whether the target would be let in now, the one probe a second aside. Takes nothing.
    #[must_use]
    pub fn standing(&self, target: usize) -> Standing {
        let slot = &self.slots[target];
        if slot.policy.is_none() || slot.is_fit() {
            return Standing::Ready;
        }
        let now = self.clock.now();
        let account = slot.account.look(|outage| outage.standing(now));
        let (down, rest) = slot.health.look(|unfit| (unfit.outage.standing(now), unfit.rest.standing(now)));
        [account, down, rest].into_iter().find(|standing| *standing != Standing::Ready).unwrap_or(Standing::Ready)
    }

    /// What [`enter`](Self::enter) would answer now. Takes nothing.
    pub fn allows(&self, target: usize, is_last: bool) -> Result<(), Resting> {
        match self.standing(target) {
            Standing::Ready => Ok(()),
            Standing::Down { why } => Err(Resting { why, retry_after: None }),
            Standing::Resting { until, why } => {
                let now = self.clock.now();
                if is_last && self.slots[target].health.look(|unfit| unfit.rest.may_be_probed(now)) {
                    return Ok(());
                }
                Err(Resting { why, retry_after: Some(until.since(now)) })
            }
        }
    }

    /// Lets a request use the target, or says why not. `is_last`: no other step of the chain is left, so a target that is only at
    /// rest is tried all the same, once a second.
    pub fn enter(&self, target: usize, is_last: bool) -> Result<Entry, Resting> {
        let slot = &self.slots[target];
        let now = self.clock.now();
        let entry = if slot.policy.is_none() || slot.is_fit() { Entry::Normal } else { slot.enter_unfit(now, is_last)? };
        slot.health.requests.count(now);
        Ok(entry)
    }

    /// The target answered. `ttft`: from sending to the first content, where there was a stream.
    pub fn succeeded(&self, target: usize, ttft: Option<Duration>) {
        let slot = &self.slots[target];
        if let Some(ttft) = ttft {
            slot.health.latencies.add(ttft);
        }
        if slot.is_fit() {
            return;
        }
        let now = self.clock.now();
        slot.account.change(Outage::succeeded);
        slot.health.change(|unfit| {
            unfit.outage.succeeded();
            unfit.rest.succeeded(now);
        });
    }

    /// The target failed. `retry_after`: how long it asked to be left alone. `silent_for`: how long it said nothing, where a timeout
    /// ended the attempt; it counts when that is unusual for this target.
    pub fn failed(&self, target: usize, mark: Mark, retry_after: Option<Duration>, silent_for: Option<Duration>) {
        let slot = &self.slots[target];
        let (Some(policy), now) = (slot.policy, self.clock.now()) else { return };
        match mark {
            Mark::None => {}
            Mark::Count => {
                let counts = silent_for.is_none_or(|silence| slot.is_unusual(silence));
                slot.health.change(|unfit| unfit.rest.failed(now, policy, counts));
            }
            Mark::Rest => {
                let until = now.plus(retry_after.unwrap_or(policy.rest));
                slot.health.change(|unfit| unfit.rest.rest_until(until, "retry_after"));
            }
            Mark::TargetDown => slot.health.change(|unfit| unfit.outage.mark(now, TARGET_DOWN)),
            Mark::KeyDown => slot.account.change(|outage| outage.mark(now, KEY_DOWN)),
            Mark::AccountDown => slot.account.change(|outage| outage.mark(now, ACCOUNT_DOWN)),
        }
    }

    /// The target took so long to what was awaited, or at least so long before it was given up.
    pub fn took(&self, target: usize, awaited: Awaited, took: Duration) {
        self.slots[target].health.pace.get_or_init(Box::default).add(awaited, took, self.clock.now());
    }

    /// The median of what [`took`](Self::took) was told lately.
    #[must_use]
    pub fn pace(&self, target: usize, awaited: Awaited) -> Option<Duration> {
        self.slots[target].health.pace.get()?.median(awaited)
    }

    /// Takes one from the target's budget of retries, if there is one: a fifth of its requests of the last ten seconds, never fewer
    /// than three.
    #[must_use]
    pub fn retry_allowed(&self, target: usize) -> bool {
        let (health, now) = (&self.slots[target].health, self.clock.now());
        let allowed = FREE_RETRIES.max(health.requests.recent(now) / REQUESTS_PER_RETRY);
        // Under the lock, so that two requests do not take the same last one.
        health.look(|_| {
            let is_allowed = health.retries.recent(now) < allowed;
            if is_allowed {
                health.retries.count(now);
            }
            is_allowed
        })
    }

    /// Median and 99th percentile of the last 256 times to first content; nothing before the first.
    #[must_use]
    pub fn ttft(&self, target: usize) -> Option<(Duration, Duration)> {
        self.slots[target].health.latencies.percentiles()
    }

    /// Whether the provider's key or account is marked, so that a probe is worth its while. False for a name that the file lacks.
    #[must_use]
    pub fn provider_is_down(&self, provider: &ProviderName) -> bool {
        self.account(provider).is_some_and(|account| account.is_marked.load(Ordering::Acquire))
    }

    /// What a free call to the provider found out. A mark on an account, which such a call cannot see, stays a quarter of an hour.
    pub fn probed(&self, provider: &ProviderName, ok: bool) {
        let now = self.clock.now();
        if let Some(account) = self.account(provider).filter(|_| ok) {
            account.change(|outage| outage.probed(now));
        }
    }

    fn account(&self, provider: &ProviderName) -> Option<&Account> {
        self.accounts.iter().find(|(name, _)| name == provider).map(|(_, account)| &**account)
    }
}

impl Slot {
    fn is_fit(&self) -> bool {
        !self.account.is_marked.load(Ordering::Acquire) && !self.health.is_marked.load(Ordering::Acquire)
    }

    fn is_unusual(&self, silence: Duration) -> bool {
        self.health.latencies.percentiles().is_none_or(|(_, p99)| silence > p99 * SILENCE)
    }

    fn enter_unfit(&self, now: Moment, is_last: bool) -> Result<Entry, Resting> {
        // From here on the guard gives back whatever trial was taken before a refusal.
        let mut trial = Trial {
            account: Arc::clone(&self.account),
            health: Arc::clone(&self.health),
            of_account: None,
            of_target: None,
            of_rest: None,
        };
        trial.of_account = number(self.account.change(|outage| outage.enter(now)), now)?;
        trial.of_target = number(self.health.change(|unfit| unfit.outage.enter(now)), now)?;
        let leave = self.health.change(|unfit| unfit.rest.enter(now, is_last));
        trial.of_rest = number(leave, now)?;
        Ok(match (trial.of_account, trial.of_target, trial.of_rest) {
            (None, None, None) if leave == Leave::Probe => Entry::Probe,
            (None, None, None) => Entry::Normal,
            _ => Entry::Trial(trial),
        })
    }
}

/// The number of the trial that was given, if one was.
fn number(leave: Leave, now: Moment) -> Result<Option<u64>, Resting> {
    match leave {
        Leave::Normal | Leave::Probe => Ok(None),
        Leave::Trial(number) => Ok(Some(number)),
        Leave::No { why, until } => Err(Resting { why, retry_after: until.map(|until| until.since(now)) }),
    }
}

/// A provider's key and account.
#[derive(Debug, Default)]
struct Account {
    /// False: nothing is marked, and the lock need not be asked.
    is_marked: AtomicBool,
    outage: Mutex<Outage>,
}

impl Account {
    fn look<T>(&self, act: impl FnOnce(&Outage) -> T) -> T {
        act(&self.outage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, act: impl FnOnce(&mut Outage) -> T) -> T {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = act(&mut outage);
        self.is_marked.store(!outage.is_clear(), Ordering::Release);
        answer
    }
}

/// One target: why it may be unfit, and what it did lately.
#[derive(Debug, Default)]
struct Health {
    /// False: there is nothing against the target, and the lock need not be asked.
    is_marked: AtomicBool,
    unfit: Mutex<Unfit>,
    requests: Tally,
    retries: Tally,
    latencies: Latencies,
    /// Made when it is first asked for: only members of a `fastest` pool have one.
    pace: OnceLock<Box<Pace>>,
}

#[derive(Debug, Default)]
struct Unfit {
    outage: Outage,
    rest: Rest,
}

impl Health {
    fn look<T>(&self, act: impl FnOnce(&Unfit) -> T) -> T {
        act(&self.unfit.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, act: impl FnOnce(&mut Unfit) -> T) -> T {
        let mut unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = act(&mut unfit);
        self.is_marked.store(!(unfit.outage.is_clear() && unfit.rest.is_clear()), Ordering::Release);
        answer
    }
}

/// State by name, and since when the file lacks the name.
#[derive(Debug)]
struct Kept<T>(BTreeMap<String, (Arc<T>, Option<Moment>)>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Default> Kept<T> {
    /// The state of each name, in the order of `names`. What no file has named for an hour is forgotten.
    fn adopt<'a>(&mut self, names: impl Iterator<Item = &'a str>, now: Moment) -> Vec<Arc<T>> {
        for (_, gone) in self.0.values_mut() {
            gone.get_or_insert(now);
        }
        self.0.retain(|_, (_, gone)| gone.is_none_or(|gone| now.since(gone) < KEPT));
        let state = names.map(|name| {
            let (state, gone) = self.0.entry(name.to_owned()).or_default();
            *gone = None;
            Arc::clone(state)
        });
        state.collect()
    }
}

#[cfg(test)]
mod tests;
