//! The two ways of being unfit: at rest until a moment, or down until somebody helps. Plain state; the caller brings the time.

use std::collections::VecDeque;
use std::time::Duration;

use super::Standing;
use crate::config::CooldownPolicy;
use crate::units::Moment;

/// Failures farther apart than this are no series.
const SERIES: Duration = Duration::from_secs(30);
/// A rest that was doubled again and again is no longer than this, before chance is added.
const LONGEST: Duration = Duration::from_mins(5);
/// The last step of a chain may try a target at rest so often.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// What is down and has no probe gets a trial request so often.
const TRIAL_EVERY: Duration = Duration::from_mins(15);

/// What somebody who wants to use a target is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Normal,
    /// The one trial, with its number.
    Trial(u64),
    Probe,
    /// Not until then; nobody knows when where there is no moment.
    No {
        why: &'static str,
        until: Option<Moment>,
    },
}

impl Resting {
    fn may_be_probed(&self, now: Moment) -> bool {
        self.last_probe.is_none_or(|last| now.since(last) >= PROBE_EVERY)
    }
}

/// Rest after failures, or because the provider asked for it.
#[derive(Debug, Default)]
pub(super) struct Rest {
    failures: VecDeque<Moment>,
    /// Present from the first refusal to the first success: at rest until then, on trial from then on.
    resting: Option<Resting>,
    /// Rests in a row, each twice as long as the one before.
    rests: u32,
    trials: u64,
}

#[derive(Debug)]
struct Resting {
    until: Moment,
    why: &'static str,
    /// The number of the trial that is out.
    trial: Option<u64>,
    last_probe: Option<Moment>,
}

impl Rest {
    pub(super) fn is_clear(&self) -> bool {
        self.failures.is_empty() && self.resting.is_none()
    }

    pub(super) fn standing(&self, now: Moment) -> Standing {
        match &self.resting {
            Some(resting) if now < resting.until => Standing::Resting { until: resting.until, why: resting.why },
            Some(Resting { trial: Some(_), .. }) => Standing::Resting { until: now.plus(PROBE_EVERY), why: "trial" },
            _ => Standing::Ready,
        }
    }

    pub(super) fn enter(&mut self, now: Moment, is_last: bool) -> Leave {
        let standing = self.standing(now);
        let Some(resting) = &mut self.resting else { return Leave::Normal };
        let Standing::Resting { until, why } = standing else {
            self.trials += 1;
            resting.trial = Some(self.trials);
            return Leave::Trial(self.trials);
        };
        if is_last && resting.may_be_probed(now) {
            resting.last_probe = Some(now);
            return Leave::Probe;
        }
        Leave::No { why, until: Some(until) }
    }

    /// Whether the last step of a chain may try now, although the target is at rest.
    pub(super) fn may_be_probed(&self, now: Moment) -> bool {
        self.resting.as_ref().is_none_or(|resting| resting.may_be_probed(now))
    }

    pub(super) fn trial_ended(&mut self, number: u64) {
        if let Some(resting) = self.resting.as_mut().filter(|resting| resting.trial == Some(number)) {
            resting.trial = None;
        }
    }

    /// A success ends a series of failures. It ends a rest when the rest is over or a probe is out: a request from before the rest
    /// says nothing about now.
    pub(super) fn succeeded(&mut self, now: Moment) {
        self.failures.clear();
        if self.resting.as_ref().is_some_and(|resting| now >= resting.until || resting.last_probe.is_some()) {
            self.resting = None;
            self.rests = 0;
        }
    }

    /// One failure more. `counts`: false for one that alone says little, such as an impatient timeout; on trial it does count.
    pub(super) fn failed(&mut self, now: Moment, policy: CooldownPolicy, counts: bool) {
        match &self.resting {
            // What began before the rest tells nothing new, and a failed probe changes nothing.
            Some(resting) if now < resting.until => {}
            Some(_) => self.rest_longer(now, policy),
            None if counts => {
                self.failures.push_back(now);
                while self.failures.front().is_some_and(|first| now.since(*first) > SERIES) {
                    self.failures.pop_front();
                }
                if self.failures.len() >= usize::try_from(policy.after.get()).unwrap_or(usize::MAX) {
                    self.rest_longer(now, policy);
                }
            }
            None => {}
        }
    }

    /// Rests until `until`, or longer where that is already said.
    pub(super) fn rest_until(&mut self, until: Moment, why: &'static str) {
        let (until, why) = match &self.resting {
            Some(resting) if resting.until > until => (resting.until, resting.why),
            _ => (until, why),
        };
        self.resting = Some(Resting { until, why, trial: None, last_probe: None });
    }

    fn rest_longer(&mut self, now: Moment, policy: CooldownPolicy) {
        let doubled = policy.rest.saturating_mul(1 << self.rests.min(16)).min(LONGEST.max(policy.rest));
        self.rests = self.rests.saturating_add(1);
        self.failures.clear();
        // A fifth more or less, so that targets that failed together do not come back together.
        self.rest_until(now.plus(doubled / 1_000 * fastrand::u32(800..=1_200)), "failures");
    }
}

/// Out of service until a reload, a probe or a trial says otherwise.
#[derive(Debug, Default)]
pub(super) struct Outage {
    down: Option<Down>,
    trials: u64,
}

#[derive(Debug)]
struct Down {
    why: &'static str,
    since: Moment,
    next_trial: Moment,
    trial: Option<u64>,
}

impl Outage {
    pub(super) fn is_clear(&self) -> bool {
        self.down.is_none()
    }

    pub(super) fn mark(&mut self, now: Moment, why: &'static str) {
        let since = self.down.as_ref().filter(|down| down.why == why).map_or(now, |down| down.since);
        self.down = Some(Down { why, since, next_trial: now.plus(TRIAL_EVERY), trial: None });
    }

    pub(super) fn clear(&mut self) {
        self.down = None;
    }

    pub(super) fn standing(&self, now: Moment) -> Standing {
        match &self.down {
            Some(down) if down.trial.is_some() || now < down.next_trial => Standing::Down { why: down.why },
            _ => Standing::Ready,
        }
    }

    pub(super) fn enter(&mut self, now: Moment) -> Leave {
        let standing = self.standing(now);
        let Some(down) = &mut self.down else { return Leave::Normal };
        if let Standing::Ready = standing {
            self.trials += 1;
            down.trial = Some(self.trials);
            down.next_trial = now.plus(TRIAL_EVERY);
            return Leave::Trial(self.trials);
        }
        Leave::No { why: down.why, until: None }
    }

    pub(super) fn trial_ended(&mut self, number: u64) {
        if let Some(down) = self.down.as_mut().filter(|down| down.trial == Some(number)) {
            down.trial = None;
        }
    }

    /// Only a trial's success counts: a request from before says nothing about now.
    pub(super) fn succeeded(&mut self) {
        if self.down.as_ref().is_some_and(|down| down.trial.is_some()) {
            self.down = None;
        }
    }

    /// A free call such as a list of models went through. It shows that the key works; about money it says nothing, so an account gets
    /// its next chance after a quarter of an hour.
    pub(super) fn probed(&mut self, now: Moment) {
        if self.down.as_ref().is_some_and(|down| down.why != super::ACCOUNT_DOWN || now.since(down.since) >= TRIAL_EVERY) {
            self.down = None;
        }
    }
}
