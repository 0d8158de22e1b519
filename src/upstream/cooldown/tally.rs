//! What a target did lately, counted without a lock.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::units::Moment;

/// How many seconds are looked back on.
const SECONDS: u64 = 10;
/// Slots in the ring: a few more than are looked at, so that a late writer does not meet a reader.
const SLOTS: usize = 16;

/// Events of the last ten seconds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// One slot a second: the second in the upper half, the count in the lower.
    slots: [AtomicU64; SLOTS],
}

impl Tally {
    pub(super) fn count(&self, now: Moment) {
        let second = second_of(now);
        let slot = &self.slots[usize::try_from(second).unwrap_or_default() % SLOTS];
        let mut told = slot.load(Ordering::Relaxed);
        loop {
            // A slot of another second begins anew.
            let next = if told >> 32 == second { told.saturating_add(1) } else { (second << 32) | 1 };
            match slot.compare_exchange_weak(told, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => told = changed,
            }
        }
    }

    pub(super) fn recent(&self, now: Moment) -> u64 {
        let second = second_of(now);
        let recent = |told: u64| (second + 1 - SECONDS.min(second + 1)..=second).contains(&(told >> 32));
        self.slots.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|told| recent(*told)).map(|told| told & 0xFFFF_FFFF).sum()
    }
}

/// The second in 32 bits: enough for 136 years.
fn second_of(now: Moment) -> u64 {
    (now.as_nanos() / 1_000_000_000) & 0xFFFF_FFFF
}

const SAMPLES: usize = 256;

/// The last 256 times to first content.
#[derive(Debug)]
pub(super) struct Latencies {
    /// Microseconds, at least 1; 0 = nothing yet.
    samples: [AtomicU32; SAMPLES],
    next: AtomicUsize,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { samples: [const { AtomicU32::new(0) }; SAMPLES], next: AtomicUsize::new(0) }
    }
}

impl Latencies {
    pub(super) fn add(&self, ttft: Duration) {
        let micros = u32::try_from(ttft.as_micros()).unwrap_or(u32::MAX).max(1);
        self.samples[self.next.fetch_add(1, Ordering::Relaxed) % SAMPLES].store(micros, Ordering::Relaxed);
    }

    /// The median and the 99th percentile; nothing before the first sample.
    pub(super) fn percentiles(&self) -> Option<(Duration, Duration)> {
        let mut samples: Vec<u32> = self.samples.iter().map(|sample| sample.load(Ordering::Relaxed)).filter(|micros| *micros > 0).collect();
        samples.sort_unstable();
        let at = |percent: usize| samples.get(samples.len() * percent / 100).map(|micros| Duration::from_micros((*micros).into()));
        Some((at(50)?, at(99)?))
    }
}
