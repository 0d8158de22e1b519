//! A rate: governor's arithmetic on a cell of our own, which outlives every limiter.

mod cell;
mod failures;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{NotUntil, Quota, RateLimiter};

use super::Room;
use crate::units::{Clock, Moment, Rate};

pub(super) use cell::Cell;
use cell::Store;
pub use failures::Failures;

/// No limit refills later than this; a burst that would take longer is cut, so that sums stay far from overflow. About 73 years.
const LONGEST_SPAN: u64 = 1 << 61;
/// What one unit of the arithmetic should last at least, so that rounding to nanoseconds stays below a thousandth.
const SHORTEST_STEP: u128 = 1_000;
/// Debt beyond a full limit ends here, or at the limit's own span where that is longer: one absurd usage must not close a limit for years.
const LONGEST_DEBT: u64 = 3_600_000_000_000;

/// Why a limit says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not yet: this long from now, if nothing else is taken until then.
    Later(Duration),
    /// More than the limit ever lets through at once.
    Never,
}

/// One rate with the cell that it counts in.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) rate: Rate,
    /// Counts the changes of this meter's rate; the limiter of an older file knows by it that it is out of date.
    pub(super) generation: u64,
    /// Requests or tokens in one unit of the arithmetic: 1 but for very high rates.
    grain: u64,
    /// Nanoseconds until one unit has come back.
    step: u64,
    /// Units that a full limit holds.
    burst: NonZeroU32,
    cell: Arc<Cell>,
    clock: Clock,
    taking: Governor,
    /// The same decision on the same cell, but nothing is kept.
    looking: Governor,
}

type Governor = RateLimiter<NotKeyed, Store, Ticks, NoOpMiddleware<Nanos>>;

impl Limit {
    pub(super) fn new(rate: Rate, generation: u64, cell: &Arc<Cell>, clock: &Clock) -> Self {
        let (grain, step, burst) = units_of(rate);
        let quota = Quota::with_period(Duration::from_nanos(step)).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
        let governor = |keeps| limiter(quota, Store { cell: Arc::clone(cell), keeps }, clock);
        let (taking, looking) = (governor(true), governor(false));
        Self { rate, generation, grain, step, burst, cell: Arc::clone(cell), clock: clock.clone(), taking, looking }
    }

    /// Takes `amount`, or nothing.
    pub(super) fn take(&self, amount: u64) -> Result<(), Refused> {
        self.ask(&self.taking, amount)
    }

    /// What [`take`](Self::take) would answer now.
    pub(super) fn look(&self, amount: u64) -> Result<(), Refused> {
        self.ask(&self.looking, amount)
    }

    /// Gives back what was taken and not used. What has come back by itself meanwhile is not given twice over: full stays full.
    pub(super) fn give_back(&self, amount: u64) {
        self.correct(amount, 0);
    }

    /// Replaces the estimate by what was used: the difference goes back, or is charged into debt.
    pub(super) fn correct(&self, estimate: u64, used: u64) {
        let (estimate, used) = (self.units(estimate), self.units(used));
        let nanos = estimate.abs_diff(used).saturating_mul(self.step);
        if used < estimate {
            self.cell.give_back(nanos);
        } else if used > estimate {
            self.cell.charge(nanos, self.clock.now().as_nanos(), self.deepest());
        }
    }

    /// Carries what is used over from another rate on the same cell.
    pub(super) fn take_over(&self, was: &Self) {
        let times = u128::from(self.step) * u128::from(was.grain);
        let over = (u128::from(was.step) * u128::from(self.grain)).max(1);
        self.cell.scale((times, over), self.clock.now().as_nanos(), self.deepest());
    }

    pub(super) fn room(&self, now: Moment) -> Room {
        let used = self.cell.arrival().saturating_sub(now.as_nanos());
        Room {
            capacity: u64::from(self.burst.get()).saturating_mul(self.grain),
            remaining: self.span().saturating_sub(used) / self.step * self.grain,
            reset: Duration::from_nanos(used),
        }
    }

    fn ask(&self, governor: &Governor, amount: u64) -> Result<(), Refused> {
        let later = |until: NotUntil<Nanos>| Refused::Later(until.wait_time_from(Nanos::new(self.clock.now().as_nanos())));
        // A cost that fits in no `u32` is above every burst.
        match NonZeroU32::new(u32::try_from(self.units(amount)).unwrap_or(u32::MAX)) {
            None => Ok(()),
            Some(NonZeroU32::MIN) => governor.check().map_err(later),
            Some(units) => match governor.check_n(units) {
                Ok(answer) => answer.map_err(later),
                Err(_above_burst) => Err(Refused::Never),
            },
        }
    }

    fn units(&self, amount: u64) -> u64 {
        amount.div_ceil(self.grain)
    }

    /// Nanoseconds from empty to full.
    fn span(&self) -> u64 {
        u64::from(self.burst.get()).saturating_mul(self.step)
    }

    /// How far ahead of now the arrival time may run, in nanoseconds.
    fn deepest(&self) -> u64 {
        self.span().saturating_add(self.span().max(LONGEST_DEBT))
    }
}

/// A limiter that counts in `store` as all others of the process do.
fn limiter<S: StateStore<Key = NotKeyed>>(quota: Quota, store: S, clock: &Clock) -> RateLimiter<NotKeyed, S, Ticks, NoOpMiddleware<Nanos>> {
    let ticks = Ticks { clock: clock.clone(), runs: AtomicBool::new(false) };
    let limiter = RateLimiter::new(quota, store, ticks);
    limiter.clock().runs.store(true, Ordering::Release);
    limiter
}

/// Grain, step and burst of a rate. Rounding is always to the strict side: a step lasts a little longer, a burst holds a little less.
fn units_of(rate: Rate) -> (u64, u64, NonZeroU32) {
    let (amount, per) = (u128::from(rate.amount.get()), rate.per.as_nanos().max(1));
    let longest = u128::from(LONGEST_SPAN) * amount / per;
    let burst = u128::from(rate.burst.get()).min(longest).max(1);
    // One less than `u32::MAX`, which stands for costs that fit in no `u32`.
    let by_size = burst.div_ceil(u128::from(u32::MAX - 1));
    let by_step = (SHORTEST_STEP * amount).div_ceil(per);
    let grain = by_size.max(by_step).min(burst);
    let step = (per * grain).div_ceil(amount).min(u128::from(LONGEST_SPAN));
    let burst = u32::try_from(burst / grain).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    (u64::try_from(grain).unwrap_or(u64::MAX), u64::try_from(step).unwrap_or(LONGEST_SPAN), burst)
}

/// Time as governor sees it. A limiter counts from the moment of its making; reading zero then makes that the process's beginning
/// for each of them, so that they agree on what the cell says.
#[derive(Debug)]
struct Ticks {
    clock: Clock,
    runs: AtomicBool,
}

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(if self.runs.load(Ordering::Acquire) { self.clock.now().as_nanos() } else { 0 })
    }
}

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;
