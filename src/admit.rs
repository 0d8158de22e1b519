//! The gate: every limit of a step, or none of them.
//!
//! Floor 3. Requests and tokens per time, and calls at once, of the caller, the provider and the target. A pass takes from each in order; a
//! refusal gives back what was taken before it. On the way of a request there are only atomic numbers; a lock is met when
//! somebody waits for a turn.

#![warn(clippy::float_arithmetic)]

mod book;
mod budgets;
mod error;
mod grants;
mod limits;
mod meters;
mod purse;
mod queue;
mod reservation;
mod stake;
mod steps;
mod timekeeper;

use std::sync::Arc;
use std::time::Duration;

pub use book::Crossed;
pub use budgets::{BudgetLevel, Budgets, MoneyEvent, OpenDispute};
pub use limits::Failures;
use limits::{Limit, Refused};
pub use meters::Meters;
use meters::{Meter, View};
pub use purse::{Cover, OverBudget, OverBudgetWhy, Purse, Tight};
use queue::Turn;
pub use reservation::{Admitted, Held, Open};
pub use stake::{End, SentFacts, Stake, Written};

use crate::units::{Clock, LimitOwner, Moment, Ratios, Tokens};

/// What a retry should wait for a call to end, when nobody knows how long it will take.
const SOON: Duration = Duration::from_secs(1);

/// The limits of one adopted file. Targets and callers are named by their index in the file.
#[derive(Debug)]
pub struct Gate {
    passages: Vec<Arc<Passage>>,
    callers: Vec<Arc<Passage>>,
    clock: Clock,
}

/// How full one limit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// `openai.requests`, `openai/gpt-4o.tokens`, `caller.search.requests`.
    pub name: Arc<str>,
    pub whose: LimitOwner,
    pub limit: LimitKind,
    /// What a full limit lets through at once.
    pub capacity: u64,
    /// What it would let through now.
    pub remaining: u64,
    /// Until it is full. Zero for calls at once, whose end nobody knows.
    pub reset: Duration,
}

/// What is left of one limit, whosever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What a full limit lets through at once.
    pub capacity: u64,
    /// What it would let through now.
    pub remaining: u64,
    /// Until it is full. Zero for calls at once, whose end nobody knows.
    pub reset: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    Requests,
    Tokens,
    Concurrent,
}

impl LimitKind {
    const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Concurrent];

    /// The key under `limits:`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrent => "concurrent",
        }
    }
}

/// The gate says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The setting that refused: `limits.requests of provider openai`.
    pub limit: String,
    /// When trying again may help. Absent: never, the call is larger than the limit's burst.
    pub retry_after: Option<Duration>,
}

impl Gate {
    fn new(targets: Vec<Vec<View>>, callers: Vec<Vec<View>>, clock: &Clock) -> Self {
        let passages = |of: Vec<Vec<View>>| of.into_iter().map(|views| Arc::new(Passage { views })).collect();
        Self { passages: passages(targets), callers: passages(callers), clock: clock.clone() }
    }

    /// Takes one request and `tokens` from every limit of the caller, or nothing.
    ///
    /// # Panics
    /// When `caller` is no index of the adopted file.
    pub fn enter(&self, caller: usize, tokens: Tokens) -> Result<Admitted, Denial> {
        let passage = &self.callers[caller];
        passage.enter(tokens, [false; 2]).map_err(|(_, denial)| denial)?;
        Ok(Admitted::new(passage, tokens))
    }

    /// The same, but waits for its turn as [`reserve_within`](Self::reserve_within) does.
    ///
    /// # Panics
    /// When `caller` is no index of the adopted file.
    pub async fn enter_within(&self, caller: usize, tokens: Tokens) -> Result<Admitted, Denial> {
        let passage = &self.callers[caller];
        self.pass(passage, tokens).await?;
        Ok(Admitted::new(passage, tokens))
    }

    /// Takes one request and `tokens` from every limit of the target, or nothing. Nobody passes those who wait.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    pub fn reserve(&self, target: usize, tokens: Tokens) -> Result<Held, Denial> {
        let passage = &self.passages[target];
        passage.enter(tokens, [false; 2]).map_err(|(_, denial)| denial)?;
        Ok(Held::new(passage, tokens))
    }

    /// The same, but waits for its turn, in order of arrival and up to the `wait` of the limit that refuses. Gives up at once when
    /// waiting that long cannot help.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    pub async fn reserve_within(&self, target: usize, tokens: Tokens) -> Result<Held, Denial> {
        let passage = &self.passages[target];
        self.pass(passage, tokens).await?;
        Ok(Held::new(passage, tokens))
    }

    /// Whether the target would pass now. Takes nothing.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    pub fn standing(&self, target: usize, tokens: Tokens) -> Result<(), Denial> {
        let passes = |view: &View| view.look(tokens).and_then(|()| view.owner.queue.blocked().map_or(Ok(()), Err));
        self.passages[target].views.iter().try_for_each(passes)
    }

    /// What is left at `now` of the target's limits of this kind, where there are any: its provider's or its own, whichever is tighter.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    #[must_use]
    pub fn room(&self, target: usize, kind: LimitKind, now: Moment) -> Option<Room> {
        self.passages[target].views.iter().filter_map(|view| view.room(kind, now)).min_by_key(|room| room.remaining)
    }

    /// Whether the target's limits in tokens let through so many times as much at once. True where it has none.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    #[must_use]
    pub fn is_far(&self, target: usize, tokens: Tokens, times: u64) -> bool {
        self.room(target, LimitKind::Tokens, self.clock.now()).is_none_or(|room| room.remaining / times >= tokens.count())
    }

    /// How this target's provider counts prompts, beside what was estimated of them.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    #[must_use]
    pub fn ratios(&self, target: usize) -> Ratios {
        self.passages[target].views[TARGET_VIEW].owner.error.ratios()
    }

    /// The same where the target's answers told it, or did in an earlier run.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    #[must_use]
    pub fn learned(&self, target: usize) -> Option<Ratios> {
        Some(self.ratios(target)).filter(|ratios| *ratios != error::Error::default().ratios())
    }

    /// Learns from what a provider counted of a prompt that was estimated before.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    pub fn learn(&self, target: usize, estimated: Tokens, counted: Tokens) {
        self.passages[target].views[TARGET_VIEW].owner.error.learn(estimated, counted);
    }

    /// How full the target's limits are, its provider's first.
    ///
    /// # Panics
    /// When `target` is no index of the adopted file.
    #[must_use]
    pub fn levels(&self, target: usize) -> Vec<Level> {
        let now = self.clock.now();
        self.passages[target].views.iter().flat_map(|view| view.levels(now)).collect()
    }

    /// How full the caller's limits are.
    ///
    /// # Panics
    /// When `caller` is no index of the adopted file.
    #[must_use]
    pub fn caller_levels(&self, caller: usize) -> Vec<Level> {
        let now = self.clock.now();
        self.callers[caller].views.iter().flat_map(|view| view.levels(now)).collect()
    }

    /// Takes what the passage asks for once its turn has come.
    async fn pass(&self, passage: &Passage, tokens: Tokens) -> Result<(), Denial> {
        let since = self.clock.now();
        // A turn at the provider is never kept while waiting for the target's own limits: other targets of it could pass.
        let (mut provider_turn, mut target_turn): (Option<Turn<'_>>, Option<Turn<'_>>) = (None, None);
        loop {
            let (place, denial) = match passage.enter(tokens, [provider_turn.is_some(), target_turn.is_some()]) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let view = &passage.views[place];
            let left = view.wait.saturating_sub(self.clock.now().since(since));
            let Some(retry_after) = denial.retry_after.filter(|_| !left.is_zero()) else { return Err(denial) };
            let turn = if place == FIRST_VIEW {
                &mut provider_turn
            } else {
                provider_turn = None;
                &mut target_turn
            };
            if let Some(turn) = turn {
                // Sooner than the limit itself refills, only an open call can give something back.
                if retry_after > left && view.owner.seats.taken() == 0 {
                    return Err(denial);
                }
                turn.freed(&denial, retry_after.min(left)).await;
            } else {
                *turn = Some(tokio::time::timeout(left, view.owner.queue.join(&denial)).await.map_err(|_| denial)?);
            }
        }
    }
}

/// The provider's limits come first, then the target's own. A caller's are alone.
const FIRST_VIEW: usize = 0;
const TARGET_VIEW: usize = 1;

/// What a call passes on its way to one target, or a caller's request on its way to a rule.
#[derive(Debug)]
struct Passage {
    views: Vec<View>,
}

impl Passage {
    /// Takes everything or nothing; a refusal names the view that refused. `turns`: where the caller is the first of the queue.
    fn enter(&self, tokens: Tokens, turns: [bool; 2]) -> Result<(), (usize, Denial)> {
        for (place, view) in self.views.iter().enumerate() {
            let passed = match view.owner.queue.blocked() {
                Some(others) if !turns[place] => view.look(tokens).and(Err(others)),
                _ => view.take(tokens),
            };
            if let Err(denial) = passed {
                for view in &self.views[..place] {
                    view.give_back(tokens);
                    view.leave();
                }
                return Err((place, denial));
            }
        }
        Ok(())
    }

    fn give_back(&self, tokens: Tokens) {
        for view in &self.views {
            view.give_back(tokens);
        }
    }

    fn correct(&self, estimate: Tokens, used: Tokens) {
        for view in &self.views {
            view.tokens(|limit| limit.correct(estimate.count(), used.count()));
        }
    }

    fn leave(&self) {
        for view in &self.views {
            view.leave();
        }
    }
}

impl View {
    fn take(&self, tokens: Tokens) -> Result<(), Denial> {
        if !self.owner.seats.take() {
            return Err(self.denial(LimitKind::Concurrent, Refused::Later(SOON)));
        }
        if let Some(Err(refused)) = self.requests(|limit| limit.take(1)) {
            self.owner.seats.release();
            return Err(self.denial(LimitKind::Requests, refused));
        }
        if let Some(Err(refused)) = self.tokens(|limit| limit.take(tokens.count())) {
            self.requests(|limit| limit.give_back(1));
            self.owner.seats.release();
            return Err(self.denial(LimitKind::Tokens, refused));
        }
        Ok(())
    }

    fn look(&self, tokens: Tokens) -> Result<(), Denial> {
        if !self.owner.seats.are_free() {
            return Err(self.denial(LimitKind::Concurrent, Refused::Later(SOON)));
        }
        if let Some(Err(refused)) = self.requests(|limit| limit.look(1)) {
            return Err(self.denial(LimitKind::Requests, refused));
        }
        if let Some(Err(refused)) = self.tokens(|limit| limit.look(tokens.count())) {
            return Err(self.denial(LimitKind::Tokens, refused));
        }
        Ok(())
    }

    fn give_back(&self, tokens: Tokens) {
        self.requests(|limit| limit.give_back(1));
        self.tokens(|limit| limit.give_back(tokens.count()));
    }

    /// Ends a call here, after whatever else it gives back.
    fn leave(&self) {
        self.owner.seats.release();
        self.owner.queue.wake();
    }

    fn levels(&self, now: Moment) -> impl Iterator<Item = Level> {
        LimitKind::ALL.into_iter().filter_map(move |kind| self.room(kind, now).map(|room| self.owner.level(kind, room)))
    }

    fn room(&self, kind: LimitKind, now: Moment) -> Option<Room> {
        match kind {
            LimitKind::Requests => self.requests(|limit| limit.room(now)),
            LimitKind::Tokens => self.tokens(|limit| limit.room(now)),
            LimitKind::Concurrent => self.owner.seats.room(),
        }
    }

    fn denial(&self, kind: LimitKind, refused: Refused) -> Denial {
        let retry_after = match refused {
            Refused::Later(wait) => Some(wait),
            Refused::Never => None,
        };
        Denial { limit: self.owner.describe(kind), retry_after }
    }

    fn requests<T>(&self, act: impl FnOnce(&Limit) -> T) -> Option<T> {
        on(&self.owner.requests, self.requests.as_ref(), act)
    }

    fn tokens<T>(&self, act: impl FnOnce(&Limit) -> T) -> Option<T> {
        on(&self.owner.tokens, self.tokens.as_ref(), act)
    }
}

fn on<T>(meter: &Meter, limit: Option<&Arc<Limit>>, act: impl FnOnce(&Limit) -> T) -> Option<T> {
    limit.map(|limit| meter.with(limit, act))
}

#[cfg(test)]
mod tests;
