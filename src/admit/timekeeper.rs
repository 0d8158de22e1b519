//! Which time windows go by: the wall clock's, unless it jumps ahead.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::book::Now;
use crate::units::Moment;

/// Jumps up to here are believed at once, larger ones ahead after this long.
const BELIEVED: SignedDuration = SignedDuration::from_mins(10);

/// Compares the wall clock with the time that the machine itself has counted.
#[derive(Debug)]
pub(super) struct Timekeeper {
    wall: Timestamp,
    at: Moment,
    /// What the machine counted beside the monotonic clock, which stands still while it sleeps.
    asleep: Option<SignedDuration>,
    suspect_since: Option<Moment>,
}

impl Timekeeper {
    pub(super) fn new(wall: Timestamp, at: Moment) -> Self {
        Self { wall, at, asleep: asleep(at), suspect_since: None }
    }

    /// The time to go by at a moment when the wall clock says `wall`.
    pub(super) fn read(&mut self, wall: Timestamp, at: Moment) -> Now {
        let passed = SignedDuration::try_from(at.since(self.at)).unwrap_or(SignedDuration::MAX);
        let expected = self.wall.saturating_add(passed).unwrap_or(Timestamp::MAX);
        let jump = wall.duration_since(expected);
        if jump > BELIEVED && !self.has_slept(jump, at) {
            let since = *self.suspect_since.get_or_insert(at);
            if at.since(since) < BELIEVED.unsigned_abs() {
                return Now { wall: expected, at, claimed: Some(wall) };
            }
        }
        self.accept(wall, at);
        Now { wall, at, claimed: None }
    }

    /// Believes the wall clock from here on.
    pub(super) fn accept(&mut self, wall: Timestamp, at: Moment) {
        (self.wall, self.at, self.suspect_since) = (wall, at, None);
    }

    /// Whether the machine has slept about as long as the wall clock jumped.
    fn has_slept(&mut self, jump: SignedDuration, at: Moment) -> bool {
        let (Some(before), Some(now)) = (self.asleep, asleep(at)) else { return false };
        let has_slept = jump.saturating_sub(now.saturating_sub(before)).abs() <= BELIEVED;
        if has_slept {
            self.asleep = Some(now);
        }
        has_slept
    }
}

/// The time since the machine was started, sleep included, beside the monotonic clock. Absent where it is not told.
fn asleep(at: Moment) -> Option<SignedDuration> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: u64 = uptime.split('.').next()?.parse().ok()?;
    let counted = SignedDuration::try_from(at.since(Moment::default())).ok()?;
    SignedDuration::try_from(Duration::from_secs(seconds)).ok()?.checked_sub(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l08_l09_a_jump_ahead_is_believed_after_ten_minutes_and_one_back_at_once() {
        let start: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let (wall, at) =
            (|minutes: i64| start + SignedDuration::from_mins(minutes), |minutes: u64| Moment::from_nanos(minutes * 60_000_000_000));
        let mut keeper = Timekeeper::new(start, at(0));
        let mut read = |walled: i64, counted: u64| {
            let now = keeper.read(wall(walled), at(counted));
            (now.wall, now.claimed)
        };
        assert_eq!(read(1, 1), (wall(1), None));
        // Small steps are the clock's own business.
        assert_eq!(read(9, 1), (wall(9), None));
        assert_eq!(read(600, 2), (wall(10), Some(wall(600))));
        assert_eq!(read(605, 7), (wall(15), Some(wall(605))));
        assert_eq!(read(610, 12), (wall(610), None));
        assert_eq!(read(611, 13), (wall(611), None));
        assert_eq!(read(300, 14), (wall(300), None));
        // Set right again within the ten minutes, it never was suspect.
        assert_eq!(read(900, 15), (wall(301), Some(wall(900))));
        assert_eq!(read(302, 16), (wall(302), None));
    }
}
