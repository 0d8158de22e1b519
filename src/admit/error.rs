//! How far estimates of prompts are from what a target's provider counts.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::units::{Ratios, Tokens};

/// The largest error that is assumed before anything is known: half as much again covers 99 % of texts in the common vocabularies.
const UNKNOWN: u32 = 1_500;
/// Nothing is assumed of the usual one.
const NONE: u32 = 1_000;
/// A smaller error takes the largest one's place by one part in so many for each answer.
const FADES: u32 = 64;
/// An error moves the usual one by one part in so many.
const MOVES: u32 = 16;

/// True tokens per thousand estimated: the largest of late, which money goes by, and the usual one, which limits go by.
#[derive(Debug)]
pub(super) struct Error {
    largest: AtomicU32,
    usual: AtomicU32,
}

impl Default for Error {
    fn default() -> Self {
        Self::from(Ratios { largest: UNKNOWN, usual: NONE })
    }
}

impl From<Ratios> for Error {
    fn from(ratios: Ratios) -> Self {
        let Ratios { largest, usual } = ratios.bounded();
        Self { largest: AtomicU32::new(largest), usual: AtomicU32::new(usual) }
    }
}

impl Error {
    pub(super) fn ratios(&self) -> Ratios {
        Ratios { largest: self.largest.load(Ordering::Relaxed), usual: self.usual.load(Ordering::Relaxed) }
    }

    /// Takes a larger error at once, and a smaller one slowly; moves the usual one a little either way. Two answers at once may
    /// count as one.
    pub(super) fn learn(&self, estimated: Tokens, counted: Tokens) {
        if estimated == Tokens::ZERO || counted == Tokens::ZERO {
            return;
        }
        let ratio = counted.count().saturating_mul(1_000) / estimated.count();
        let ratio = Ratios::bound(u32::try_from(ratio).unwrap_or(u32::MAX));
        let Ratios { largest, usual } = self.ratios();
        self.largest.store(ratio.max(largest - largest.saturating_sub(ratio).div_ceil(FADES)), Ordering::Relaxed);
        let usual = usual + ratio.saturating_sub(usual).div_ceil(MOVES) - usual.saturating_sub(ratio).div_ceil(MOVES);
        self.usual.store(usual, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_error_of_late_is_kept_and_fades() {
        let (error, tokens) = (Error::default(), Tokens::new);
        assert_eq!(error.ratios().largest, UNKNOWN);
        error.learn(tokens(100), tokens(180));
        assert_eq!(error.ratios().largest, 1_800);
        for _ in 0..1_000 {
            error.learn(tokens(100), tokens(104));
        }
        assert_eq!(error.ratios(), Ratios { largest: 1_040, usual: 1_040 });
        error.learn(tokens(100), tokens(1_000_000));
        assert_eq!(error.ratios().largest, 2_500);
        error.learn(Tokens::ZERO, tokens(5));
        assert_eq!(error.ratios().largest, 2_500);
    }

    /// One odd answer moves it by a sixteenth of the way, and answers of one kind bring it to where they are.
    #[test]
    fn the_usual_error_follows_slowly_within_its_bounds() {
        let (error, tokens) = (Error::default(), Tokens::new);
        error.learn(tokens(100), tokens(180));
        assert_eq!(error.ratios().usual, 1_050);
        for (counted, usual) in [(130, 1_300), (78, 780), (1, 500), (100_000, 2_500), (100, 1_000)] {
            for _ in 0..500 {
                error.learn(tokens(100), tokens(counted));
            }
            assert_eq!(error.ratios().usual, usual);
        }
    }

    #[test]
    fn what_was_kept_is_bounded_too() {
        assert_eq!(Error::from(Ratios { largest: 9_000, usual: 0 }).ratios(), Ratios { largest: 2_500, usual: 500 });
    }
}
