//! The money of one attempt: held, then open, then settled; once, on every way out.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::book::{AccountId, Reserved};
use super::budgets::{MoneyEvent, Shared};
use super::purse::{OverBudget, Pace, give_back_pace, micro};
use crate::units::{
    AttemptId, Basis, DisputeClass, Disputed, Entry, HeldEntry, NotWritten, Prices, RequestFacts, SettledEntry, TargetName, Usage, Usd,
};

/// What is held for an attempt that was not sent. Dropped: all of it goes back.
#[derive(Debug)]
#[must_use = "dropping it gives the hold back"]
pub struct Stake {
    shared: Arc<Shared>,
    accounts: Arc<[AccountId]>,
    id: AttemptId,
    amount: Usd,
    reserved: Reserved,
    paces: Vec<Pace>,
    /// How long to wait until the hold itself is on disk; absent where its grant is enough.
    strict: Option<Duration>,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody outside this process knows of it.
    Held,
    /// The ledger has its hold; from here on it may be billed.
    Sent(TargetName),
    Ended,
}

/// Which attempt a hold is for, as the ledger tells it.
#[derive(Clone, Debug)]
pub struct SentFacts {
    pub request: Arc<RequestFacts>,
    /// From 1.
    pub attempt: u32,
    pub target: TargetName,
}

/// What an attempt came to, for the ledger.
#[derive(Clone, Debug)]
pub struct End {
    pub basis: Basis,
    pub posted: Usd,
    /// At most what the hold leaves beside `posted` is disputed.
    pub disputed: Option<(DisputeClass, Usd)>,
    pub usage: Option<Usage>,
    pub prices: Option<Arc<Prices>>,
    pub provider_cost: Option<Usd>,
    pub fault: Option<&'static str>,
    pub phase: &'static str,
    pub upstream_status: Option<u16>,
    pub ttft: Option<Duration>,
    pub duration: Duration,
    pub served_model: Option<Arc<str>>,
}

impl End {
    /// Nothing is known but that it has ended: all of the hold is disputed.
    #[must_use]
    pub fn unknown(fault: Option<&'static str>, phase: &'static str) -> Self {
        Self {
            basis: Basis::Unknown,
            posted: Usd::ZERO,
            disputed: Some((DisputeClass::Ambiguous, Usd::MAX)),
            usage: None,
            prices: None,
            provider_cost: None,
            fault,
            phase,
            upstream_status: None,
            ttft: None,
            duration: Duration::ZERO,
            served_model: None,
        }
    }

    /// Nothing was billed.
    #[must_use]
    pub fn void(fault: Option<&'static str>, phase: &'static str) -> Self {
        Self { basis: Basis::Void, disputed: None, ..Self::unknown(fault, phase) }
    }
}

/// The row of a hold, on its way to disk.
#[derive(Debug)]
pub struct Written {
    answer: oneshot::Receiver<Result<(), NotWritten>>,
    longest: Duration,
}

impl Written {
    /// Waits for it; fails where it does not come there in time.
    pub async fn wait(self) -> Result<(), Box<OverBudget>> {
        match tokio::time::timeout(self.longest, self.answer).await {
            Ok(Ok(Ok(()))) => Ok(()),
            _ => Err(Box::new(OverBudget::ledger())),
        }
    }
}

impl Stake {
    /// On the heap: it is handed on a dozen times on an attempt's way.
    pub(super) fn new(
        shared: &Arc<Shared>,
        accounts: &Arc<[AccountId]>,
        id: AttemptId,
        amount: Usd,
        reserved: Reserved,
        paces: Vec<Pace>,
        strict: Option<Duration>,
    ) -> Box<Self> {
        Box::new(Self {
            shared: Arc::clone(shared),
            accounts: Arc::clone(accounts),
            id,
            amount,
            reserved,
            paces,
            strict,
            stage: Stage::Held,
        })
    }

    #[must_use]
    pub fn id(&self) -> AttemptId {
        self.id
    }

    #[must_use]
    pub fn amount(&self) -> Usd {
        self.amount
    }

    /// Tells the ledger of the hold. From here on the attempt may be billed, and dropping this disputes all of it. Answers what to wait
    /// for where the file asks that the row be on disk.
    pub fn record(&mut self, facts: SentFacts) -> Option<Written> {
        let Some(queue) = self.shared.queue() else {
            self.stage = Stage::Sent(facts.target);
            return None;
        };
        let SentFacts { request, attempt, target } = facts;
        self.stage = Stage::Sent(target.clone());
        let held = HeldEntry {
            id: self.id,
            at: self.reserved.at,
            request,
            attempt,
            target,
            hold: self.amount,
            windows: Arc::clone(&self.reserved.keys),
        };
        let entry = Entry::Held(held);
        let Some(longest) = self.strict else {
            queue.tell(entry, None);
            return None;
        };
        let (written, answer) = oneshot::channel();
        queue.tell(entry, Some(Box::new(move |result| drop(written.send(result)))));
        queue.hurry();
        Some(Written { answer, longest })
    }

    /// Lowers the hold: less can be billed than was thought.
    pub fn shrink(&mut self, to: Usd) {
        if to < self.amount {
            self.shared.with(|state, _| state.book().shrink(self.id, to));
            self.amount = to;
        }
    }

    /// What the tightest hard budget has left beside all holds, as it was last looked at. Absent: none covers it.
    #[must_use]
    pub fn rest(&self) -> Option<Usd> {
        self.reserved.rest
    }

    /// The attempt's one end. Answers what the tightest hard budget has left.
    #[expect(clippy::must_use_candidate, reason = "what is left is of use only to who tells it")]
    pub fn settle(mut self, end: &End) -> Option<Usd> {
        self.end(end);
        self.rest()
    }

    fn end(&mut self, end: &End) {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        let Stage::Sent(target) = stage else {
            if stage == Stage::Held {
                self.release();
            }
            return;
        };
        let outcome = self.shared.with(|state, now| {
            let disputed = end.disputed.map(|(class, amount)| state.disputed(class, amount, now.wall));
            let outcome = state.book().settle(self.id, end.posted, disputed, now);
            let disputed = disputed.filter(|_| outcome.disputed > Usd::ZERO).map(|part| Disputed { amount: outcome.disputed, ..part });
            // Told before anybody else can use what it frees.
            if let Some(queue) = self.shared.queue() {
                queue.tell(settled(self.id, now.wall, end, disputed), None);
                state.book().told(queue.told());
            }
            state.add_overrun(outcome.overrun);
            state.wake(&self.accounts);
            outcome
        });
        for (meter, limit) in &self.paces {
            meter.with(limit, |limit| limit.correct(micro(self.amount), micro(end.posted.plus(outcome.disputed))));
        }
        self.tell_events(&target, end, &outcome);
        self.reserved.rest = outcome.rest;
    }

    fn tell_events(&self, target: &TargetName, end: &End, outcome: &super::book::Outcome) {
        for crossed in &outcome.crossed {
            self.shared.happened(MoneyEvent::Crossed(crossed.clone()));
        }
        if let Some((class, _)) = end.disputed
            && outcome.disputed > Usd::ZERO
        {
            self.shared.happened(MoneyEvent::Disputed { target: target.clone(), class, amount: outcome.disputed });
        }
        if outcome.overrun > Usd::ZERO {
            self.shared.happened(MoneyEvent::Overrun { target: target.clone(), amount: outcome.overrun });
        }
    }

    /// Gives the hold back of an attempt that was not sent: the ledger never heard of it.
    fn release(&self) {
        self.shared.with(|state, now| {
            state.book().release(self.id, now.at);
            state.wake(&self.accounts);
        });
        give_back_pace(&self.paces, self.amount);
    }
}

fn settled(id: AttemptId, at: Timestamp, end: &End, disputed: Option<Disputed>) -> Entry {
    Entry::Settled(SettledEntry {
        id,
        at,
        basis: end.basis,
        posted: end.posted,
        disputed,
        usage: end.usage,
        prices: end.prices.clone(),
        provider_cost: end.provider_cost,
        fault: end.fault,
        phase: end.phase,
        upstream_status: end.upstream_status,
        ttft: end.ttft,
        duration: end.duration,
        served_model: end.served_model.clone(),
    })
}

impl Drop for Stake {
    fn drop(&mut self) {
        if self.stage != Stage::Ended {
            self.end(&End::unknown(Some("abandoned"), "p1"));
        }
    }
}
