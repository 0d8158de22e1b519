use std::time::Duration;

use crate::config::Route;
use crate::units::Tokens;
use crate::upstream::Failure;
use crate::wire::{Class, Next};

use super::plan::{Skip, Step};
use super::{Running, opted_in};

/// What became of the steps so far: the failures in order, and the steps that were left out.
#[derive(Debug, Default)]
pub(super) struct Tried {
    pub(super) failures: Vec<(usize, Failure)>,
    pub(super) skips: Vec<(usize, Skip)>,
    /// Windows up to this size are known to be too small.
    too_small: Option<Tokens>,
}

impl Tried {
    pub(super) fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn skipped(&mut self, step: &Step<'_>, skip: Skip) {
        self.skips.push((step.target, skip));
    }

    pub(super) fn failed(&mut self, step: &Step<'_>, failure: Failure) {
        self.failures.push((step.target, failure));
    }

    /// A prompt that was too long for one window goes only to targets whose window is known to be larger.
    pub(super) fn rules_out(&mut self, running: &Running, step: &Step<'_>) -> Option<Skip> {
        let targets = running.rules().targets();
        if let Some((failed, failure)) = self.failures.last()
            && failure.class.next() == Next::LargerContext
        {
            let told = failure.told.as_ref().and_then(|told| told.requested.or(told.limit)).map(Tokens::new);
            self.too_small = [told, targets[*failed].context, self.too_small].into_iter().flatten().max().or(Some(Tokens::ZERO));
        }
        let too_small = self.too_small?;
        let is_larger = targets[step.target].context.is_some_and(|window| window > too_small);
        (!is_larger).then_some(Skip::NotLarger)
    }

    /// Whether the last failure lets the request go on to another target.
    pub(super) fn allows_next(&self, route: &Route) -> bool {
        self.failures.last().is_none_or(|(_, failure)| match failure.class.next() {
            Next::Yes | Next::LargerContext => true,
            Next::No | Next::OptIn => opted_in(route, failure.class),
        })
    }

    /// True when no provider can have charged for any attempt.
    pub(super) fn nothing_billed(&self) -> bool {
        self.failures.iter().all(|(_, failure)| failure.nothing_billed)
    }

    /// The failure that the client is told: the last one that its own request caused, else the most hopeful one.
    pub(super) fn telling(&self) -> Option<&(usize, Failure)> {
        let own_fault = |class: Class| {
            matches!(
                class,
                Class::InvalidRequest | Class::CapabilityMismatch | Class::ContextLength | Class::TooLarge | Class::ContentPolicy
            )
        };
        let hope = |class: Class| match class {
            Class::RateLimited => 0,
            Class::Overloaded => 1,
            _ => 2,
        };
        self.failures
            .iter()
            .rev()
            .find(|(_, failure)| own_fault(failure.class))
            .or_else(|| self.failures.iter().rev().min_by_key(|(_, failure)| hope(failure.class)))
    }

    /// The shortest time after which some step may work again.
    pub(super) fn shortest_wait(&self) -> Option<Duration> {
        let failures = self.failures.iter().filter_map(|(_, failure)| failure.retry_after);
        let skips = self.skips.iter().filter_map(|(_, skip)| match skip {
            Skip::AtRest(resting) => resting.retry_after,
            Skip::Limit(denial) => denial.retry_after,
            Skip::Budget(over) => over.retry_after,
            _ => None,
        });
        failures.chain(skips).min()
    }
}
