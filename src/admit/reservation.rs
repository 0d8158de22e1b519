//! Held → open → settled. What was taken is given back by a guard, at whichever stage it is dropped.

use std::sync::Arc;

use super::Passage;
use crate::units::Tokens;

/// Everything that one attempt takes, before its first byte is sent. Dropped: all of it goes back.
#[derive(Debug)]
#[must_use = "dropping it gives everything back"]
pub struct Held(Taken);

impl Held {
    pub(super) fn new(passage: &Arc<Passage>, estimate: Tokens) -> Self {
        Self(Taken { passage: Arc::clone(passage), estimate, is_sent: false })
    }

    /// The attempt is on its way: from here on it counts.
    pub fn sent(mut self) -> Open {
        self.0.is_sent = true;
        Open(self.0)
    }
}

/// An attempt that was sent. Dropped: the estimate stays charged; the call no longer counts as one in flight.
#[derive(Debug)]
#[must_use = "dropping it leaves the estimate charged"]
pub struct Open(Taken);

impl Open {
    /// Replaces the estimate by what was used; more than the estimate is charged too, into debt.
    pub fn settle(self, used: Tokens) {
        self.0.passage.correct(self.0.estimate, used);
    }

    /// No byte reached the provider: everything goes back.
    pub fn was_never_sent(mut self) {
        self.0.is_sent = false;
    }
}

#[derive(Debug)]
struct Taken {
    passage: Arc<Passage>,
    estimate: Tokens,
    is_sent: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.is_sent {
            self.passage.give_back(self.estimate);
        }
        self.passage.leave();
    }
}
