//! How fast a target lately was: the median of its times, newer ones counting more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::units::Moment;

/// After so long an observation counts half.
const HALF_LIFE: Duration = Duration::from_mins(2);
/// After so many others it counts half, too.
const HALF_COUNT: f32 = 16.0;
/// Each bucket is so much wider than the one before it.
const WIDTH: f64 = 1.05;
/// From 100 µs up to an hour.
const BUCKETS: usize = 360;
const SHORTEST: f64 = 100e-6;

/// What kind of answer is waited for: the first content of a stream, or a whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    Stream,
    Whole,
}

/// The times of one target by what was awaited. Reading takes no lock.
#[derive(Debug, Default)]
pub(super) struct Pace {
    stream: Decayed,
    whole: Decayed,
}

impl Pace {
    pub(super) fn add(&self, awaited: Awaited, took: Duration, now: Moment) {
        self.of(awaited).add(took, now);
    }

    /// The median; nothing before the first observation.
    pub(super) fn median(&self, awaited: Awaited) -> Option<Duration> {
        match self.of(awaited).median_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    fn of(&self, awaited: Awaited) -> &Decayed {
        match awaited {
            Awaited::Stream => &self.stream,
            Awaited::Whole => &self.whole,
        }
    }
}

#[derive(Debug, Default)]
struct Decayed {
    /// Worked out where an observation is added; 0 before the first.
    median_micros: AtomicU64,
    weights: Mutex<Option<Box<Weights>>>,
}

#[derive(Debug)]
struct Weights {
    buckets: [f32; BUCKETS],
    latest: Moment,
}

impl Decayed {
    fn add(&self, took: Duration, now: Moment) {
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let weights = weights.get_or_insert_with(|| Box::new(Weights { buckets: [0.0; BUCKETS], latest: now }));
        let age = now.since(weights.latest).as_secs_f32() / HALF_LIFE.as_secs_f32() + 1.0 / HALF_COUNT;
        let kept = (-age).exp2();
        weights.buckets.iter_mut().for_each(|weight| *weight *= kept);
        weights.latest = now;
        if let Some(weight) = weights.buckets.get_mut(bucket(took)) {
            *weight += 1.0;
        }
        self.median_micros.store(weights.median_micros(), Ordering::Relaxed);
    }
}

impl Weights {
    fn median_micros(&self) -> u64 {
        let mut left = self.buckets.iter().sum::<f32>() / 2.0;
        let middle = self.buckets.iter().position(|weight| {
            left -= weight;
            left <= 0.0
        });
        let seconds = SHORTEST * WIDTH.powf(f64::from(u32::try_from(middle.unwrap_or_default()).unwrap_or(u32::MAX)) + 0.5);
        u64::try_from(Duration::from_secs_f64(seconds).as_micros()).unwrap_or(u64::MAX).max(1)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of buckets")]
fn bucket(took: Duration) -> usize {
    let steps = (took.as_secs_f64() / SHORTEST).max(1.0).ln() / WIDTH.ln();
    (steps as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Clock;

    fn median_ms(pace: &Pace) -> Option<u64> {
        pace.median(Awaited::Stream).map(|median| u64::try_from(median.as_millis()).unwrap())
    }

    #[test]
    fn the_median_stands_within_a_bucket_of_the_true_one() {
        let now = Clock::manual().now();
        for ms in [1, 20, 333, 4_000, 120_000] {
            let pace = Pace::default();
            assert_eq!(median_ms(&pace), None);
            // One in three is ten times as slow.
            (0..30).for_each(|at| pace.add(Awaited::Stream, Duration::from_millis(if at % 3 == 0 { ms * 10 } else { ms }), now));
            let median = pace.median(Awaited::Stream).unwrap().as_secs_f64() * 1e3;
            let exact = Duration::from_millis(ms).as_secs_f64() * 1e3;
            assert!((median / exact - 1.0).abs() < 0.03, "{median} for {exact}");
            assert_eq!(pace.median(Awaited::Whole), None);
        }
    }

    #[test]
    fn newer_times_outweigh_older_ones_by_count_and_by_time() {
        let now = Clock::manual().now();
        let slow = Duration::from_millis(900);
        let fast = Duration::from_millis(90);
        let pace = Pace::default();
        (0..10_000).for_each(|_| pace.add(Awaited::Stream, slow, now));
        (0..14).for_each(|_| pace.add(Awaited::Stream, fast, now));
        assert!(median_ms(&pace).unwrap() > 800, "more than half of the weight is old");
        (0..4).for_each(|_| pace.add(Awaited::Stream, fast, now));
        assert!(median_ms(&pace).unwrap() < 100);
        // A single one after a long silence says more than all before it.
        pace.add(Awaited::Stream, slow, now.plus(Duration::from_mins(20)));
        assert!(median_ms(&pace).unwrap() > 800);
    }
}
