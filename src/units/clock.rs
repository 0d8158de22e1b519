use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Monotonic time, in nanoseconds since a fixed moment before the process's first question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where time comes from. The system clock follows tokio's, so that paused time moves both.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Stands still until a test moves it.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    #[must_use]
    pub fn manual() -> Self {
        Self::Manual(Arc::default())
    }

    /// Monotonic time, for limits, cooldowns and durations.
    #[must_use]
    pub fn now(&self) -> Moment {
        match self {
            Self::System => {
                static EPOCH: OnceLock<Instant> = OnceLock::new();
                let now = Instant::now();
                // A year early: the first to ask may be a test whose paused time runs ahead of the others'.
                let early = || now.checked_sub(Duration::from_hours(365 * 24)).unwrap_or(now);
                let elapsed = now.saturating_duration_since(*EPOCH.get_or_init(early));
                Moment(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
            }
            Self::Manual(nanos) => Moment(nanos.load(Ordering::Acquire)),
        }
    }

    /// Wall time, for what people read.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Manual(nanos) => {
                let nanos = i64::try_from(nanos.load(Ordering::Acquire)).unwrap_or(i64::MAX);
                Timestamp::UNIX_EPOCH.saturating_add(jiff::SignedDuration::from_nanos(nanos)).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Moves a manual clock; the system clock does not move.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(nanos) = self {
            nanos.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::AcqRel);
        }
    }
}
