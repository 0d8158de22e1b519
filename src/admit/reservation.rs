//! Held → open → settled. What was taken is given back by a guard, at whichever stage it is dropped.

use std::sync::Arc;

use super::stake::{End, SentFacts, Stake};
use super::{OverBudget, Passage};
use crate::units::{AttemptId, Tokens, Usd};

/// Everything that one attempt takes, before its first byte is sent. Dropped: all of it goes back.
#[derive(Debug)]
#[must_use = "dropping it gives everything back"]
pub struct Held(Taken);

impl Held {
    pub(super) fn new(passage: &Arc<Passage>, estimate: Tokens) -> Self {
        Self(Taken { passage: Arc::clone(passage), estimate, is_sent: false, stake: None })
    }

    /// Takes the money along.
    pub fn with(mut self, stake: Box<Stake>) -> Self {
        self.0.stake = Some(stake);
        self
    }

    /// Tells the ledger of its money. Where the file asks for that, it waits until the row is on disk, and fails where it is not.
    pub async fn record(&mut self, facts: SentFacts) -> Result<(), Box<OverBudget>> {
        let Some(written) = self.0.stake.as_mut().and_then(|stake| stake.record(facts)) else { return Ok(()) };
        // Boxed: most files do not ask for it.
        let waited = Box::pin(written.wait()).await;
        if let Some(stake) = self.0.stake.take_if(|_| waited.is_err()) {
            stake.settle(&End::void(Some("ledger"), "p0"));
        }
        waited
    }

    /// The attempt is on its way: from here on it counts.
    pub fn sent(mut self) -> Open {
        self.0.is_sent = true;
        Open(self.0)
    }
}

/// An attempt that was sent. Dropped: the estimate stays charged, and the money disputed; the call no longer counts as one in flight.
#[derive(Debug)]
#[must_use = "dropping it leaves the estimate charged and the hold disputed"]
pub struct Open(Taken);

impl Open {
    /// Replaces the estimate by what was used, and the hold by what it came to. More than the estimate is charged too, into debt.
    /// Answers what the tightest hard budget has left.
    #[expect(clippy::must_use_candidate, reason = "what is left is of use only to who tells it")]
    pub fn settle(mut self, used: Tokens, end: &End) -> Option<Usd> {
        self.0.passage.correct(self.0.estimate, used);
        self.end(end)
    }

    /// The money's end alone: the estimate in tokens stays charged. Answers what the tightest hard budget has left.
    #[expect(clippy::must_use_candidate, reason = "what is left is of use only to who tells it")]
    pub fn settle_money(mut self, end: &End) -> Option<Usd> {
        self.end(end)
    }

    /// No byte reached the provider: everything goes back.
    pub fn was_never_sent(mut self, end: &End) {
        self.0.is_sent = false;
        self.end(end);
    }

    /// Lowers the hold: less can be billed than was thought.
    pub fn shrink(&mut self, to: Usd) {
        if let Some(stake) = &mut self.0.stake {
            stake.shrink(to);
        }
    }

    /// What is held for it.
    #[must_use]
    pub fn hold(&self) -> Usd {
        self.0.stake.as_ref().map(|stake| stake.amount()).unwrap_or_default()
    }

    /// Its number in the ledger.
    #[must_use]
    pub fn id(&self) -> Option<AttemptId> {
        self.0.stake.as_ref().map(|stake| stake.id())
    }

    /// What the tightest hard budget has left beside all holds, as it was last looked at. Absent: none covers it.
    #[must_use]
    pub fn rest(&self) -> Option<Usd> {
        self.0.stake.as_ref().and_then(|stake| stake.rest())
    }

    fn end(&mut self, end: &End) -> Option<Usd> {
        self.0.stake.take().and_then(|stake| stake.settle(end))
    }
}

/// A caller's request within its limits. Dropped: the estimate stays charged; the request no longer counts as one in flight.
#[derive(Debug)]
#[must_use = "dropping it ends the request"]
pub struct Admitted {
    passage: Arc<Passage>,
    estimate: Tokens,
}

impl Admitted {
    pub(super) fn new(passage: &Arc<Passage>, estimate: Tokens) -> Self {
        Self { passage: Arc::clone(passage), estimate }
    }

    /// Replaces the estimate by what was used. More than the estimate is charged too, into debt.
    pub fn used(self, used: Tokens) {
        self.passage.correct(self.estimate, used);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.passage.leave();
    }
}

#[derive(Debug)]
struct Taken {
    passage: Arc<Passage>,
    estimate: Tokens,
    is_sent: bool,
    stake: Option<Box<Stake>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.is_sent {
            self.passage.give_back(self.estimate);
        }
        self.passage.leave();
    }
}
