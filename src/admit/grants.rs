//! How large the next grant is: cheap calls ride one that is there, dear ones wait for their own.

use crate::units::{Moment, Usd};

/// What a grant should last for, in nanoseconds: two seconds.
const SPAN: u64 = 2_000_000_000;
/// No grant is ahead of what is used by more than this part of the cap: one hundredth.
const LARGEST_PART: u64 = 100;

/// How fast a window is spent: the last full span, and the one that runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    span: u64,
    now: Spending,
    before: Spending,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spending {
    posted: Usd,
    largest_hold: Usd,
}

impl Pace {
    pub(super) fn held(&mut self, amount: Usd, at: Moment) {
        self.turn(at);
        self.now.largest_hold = self.now.largest_hold.max(amount);
    }

    pub(super) fn posted(&mut self, amount: Usd, at: Moment) {
        self.turn(at);
        self.now.posted = self.now.posted.plus(amount);
    }

    /// How far ahead of what is used a grant should be: two seconds of spending, at least the largest hold of late, at most a
    /// hundredth of the cap.
    pub(super) fn ahead(&mut self, cap: Usd, at: Moment) -> Usd {
        self.turn(at);
        let spending = self.now.posted.max(self.before.posted);
        let hold = self.now.largest_hold.max(self.before.largest_hold);
        spending.max(hold).min(furthest_ahead(cap))
    }

    fn turn(&mut self, at: Moment) {
        let span = at.as_nanos() / SPAN;
        if span != self.span {
            self.before = if span == self.span + 1 { self.now } else { Spending::default() };
            self.now = Spending::default();
            self.span = span;
        }
    }
}

/// The most that a crash may over-count: a hundredth of the cap.
pub(super) fn furthest_ahead(cap: Usd) -> Usd {
    Usd::from_nano(cap.nano() / LARGEST_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_follows_the_spending_of_late() {
        let (cap, usd) = (Usd::from_nano(1_000), Usd::from_nano);
        let second = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let mut pace = Pace::default();
        assert_eq!(pace.ahead(cap, second(0)), Usd::ZERO);
        pace.held(usd(3), second(0));
        assert_eq!(pace.ahead(cap, second(1)), usd(3));
        pace.posted(usd(2), second(1));
        pace.posted(usd(5), second(1));
        assert_eq!(pace.ahead(cap, second(3)), usd(7));
        // Never more than a hundredth of the cap.
        pace.held(usd(900), second(3));
        assert_eq!(pace.ahead(cap, second(3)), usd(10));
        // After a pause nothing is known of the rate.
        assert_eq!(pace.ahead(cap, second(9)), Usd::ZERO);
    }
}
