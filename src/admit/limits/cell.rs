//! The state of a limit: one number that every request changes without a lock.
//!
//! Compiled a second time by the tests, on atomics whose every interleaving is tried.

use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};

use super::{Arc, AtomicU64, Ordering};

/// The theoretical arrival time of a limit, in nanoseconds since the process began: its whole state. In the past = full.
#[derive(Debug, Default)]
pub(in crate::admit) struct Cell(AtomicU64);

impl Cell {
    pub(super) fn arrival(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// So many nanoseconds come back. What is full already stays full, since the past is.
    pub(super) fn give_back(&self, nanos: u64) {
        self.change(|arrival| arrival.saturating_sub(nanos));
    }

    /// So many more are used, if need be on credit, but never beyond `deepest` from now.
    pub(super) fn charge(&self, nanos: u64, now: u64, deepest: u64) {
        let end = now.saturating_add(deepest);
        self.change(|arrival| arrival.max(now).saturating_add(nanos).min(end).max(arrival));
    }

    /// Multiplies what is used by `times / over`, for another rate. Rounded up: a change of the rate never gives anything away.
    pub(super) fn scale(&self, (times, over): (u128, u128), now: u64, deepest: u64) {
        let scaled = |used: u64| u64::try_from((u128::from(used) * times).div_ceil(over)).unwrap_or(u64::MAX);
        self.change(|arrival| arrival.checked_sub(now).map_or(arrival, |used| now.saturating_add(scaled(used).min(deepest))));
    }

    fn change(&self, change: impl Fn(u64) -> u64) {
        let mut arrival = self.arrival();
        while let Err(changed) = self.0.compare_exchange_weak(arrival, change(arrival), Ordering::SeqCst, Ordering::SeqCst) {
            arrival = changed;
        }
    }
}

/// The cell as governor sees it.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) cell: Arc<Cell>,
    /// False: decides the same, and changes nothing.
    pub(super) keeps: bool,
}

impl StateStore for Store {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut arrival = self.cell.arrival();
        loop {
            let (answer, next) = decide(Some(Nanos::new(arrival)))?;
            if !self.keeps {
                return Ok(answer);
            }
            match self.cell.0.compare_exchange_weak(arrival, next.as_u64(), Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Ok(answer),
                Err(changed) => arrival = changed,
            }
        }
    }
}
