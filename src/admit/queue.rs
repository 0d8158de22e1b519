//! Calls at once, and the queue of those who wait for their turn.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::steps::{lock, step};
use super::{Denial, Room};

/// Calls in flight, counted whether or not there is a limit, so that a new limit knows of those already running.
#[derive(Debug)]
pub(super) struct Seats {
    taken: AtomicU32,
    /// `u32::MAX`: no limit.
    limit: AtomicU32,
}

impl Default for Seats {
    fn default() -> Self {
        Self { taken: AtomicU32::new(0), limit: AtomicU32::new(u32::MAX) }
    }
}

impl Seats {
    pub(super) fn set_limit(&self, limit: Option<NonZeroU32>) {
        self.limit.store(limit.map_or(u32::MAX, NonZeroU32::get), Ordering::SeqCst);
    }

    fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Ordering::SeqCst)).filter(|limit| *limit < u32::MAX)
    }

    pub(super) fn room(&self) -> Option<Room> {
        let limit = self.limit()?;
        let remaining = limit.saturating_sub(self.taken());
        Some(Room { capacity: limit.into(), remaining: remaining.into(), reset: Duration::ZERO })
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }

    pub(super) fn are_free(&self) -> bool {
        self.taken() < self.limit.load(Ordering::SeqCst)
    }

    /// Takes one; false when none is free.
    pub(super) fn take(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| (taken < limit).then(|| taken + 1)).is_ok()
    }

    pub(super) fn release(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Those who wait at one owner's limits, in order of arrival. Only the first of them tries; nobody else passes while it waits.
#[derive(Debug)]
pub(super) struct Queue<D = Denial> {
    waiting: AtomicU32,
    /// Hands the turn on in order of arrival.
    turn: tokio::sync::Mutex<()>,
    /// Rung when something was given back.
    freed: Notify,
    /// What the first of the queue waits for.
    blocked: Mutex<Option<D>>,
}

impl<D> Default for Queue<D> {
    fn default() -> Self {
        Self { waiting: AtomicU32::new(0), turn: tokio::sync::Mutex::default(), freed: Notify::default(), blocked: Mutex::new(None) }
    }
}

impl<D> Queue<D> {
    fn leave(&self) {
        step();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<D: Clone> Queue<D> {
    fn has_waiters(&self) -> bool {
        step();
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// To be called after something was given back. Costs one read while nobody waits.
    pub(super) fn wake(&self) {
        // Whoever waits has counted itself before it tried in vain, so it is seen here or has seen what was given back.
        if self.has_waiters() {
            step();
            self.freed.notify_one();
        }
    }

    /// Joins at the end, because of `denial`, and waits for the turn. Given up by dropping the future.
    pub(super) async fn join(&self, denial: &D) -> Turn<'_, D> {
        self.block(denial);
        step();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let place = Place(self);
        step();
        Turn { _guard: self.turn.lock().await, place }
    }

    /// What holds up those who wait, for others who may not pass them. Nothing, at the cost of one read, while nobody waits.
    pub(super) fn blocked(&self) -> Option<D> {
        self.has_waiters().then(|| lock(&self.blocked).clone())?
    }

    fn block(&self, denial: &D) {
        *lock(&self.blocked) = Some(denial.clone());
    }
}

/// The right to try, held by the first of the queue until it got through or gave up.
#[derive(Debug)]
pub(super) struct Turn<'a, D = Denial> {
    // Given up before the place is left: the next one must have the turn before newcomers find the queue empty.
    _guard: tokio::sync::MutexGuard<'a, ()>,
    place: Place<'a, D>,
}

impl<D: Clone> Turn<'_, D> {
    /// Waits until something was given back, at most `longest`.
    pub(super) async fn freed(&self, denial: &D, longest: Duration) {
        let queue = self.place.0;
        queue.block(denial);
        step();
        // What was freed or not is found by trying again.
        drop(tokio::time::timeout(longest, queue.freed.notified()).await);
    }
}

#[derive(Debug)]
struct Place<'a, D>(&'a Queue<D>);

impl<D> Drop for Place<'_, D> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
