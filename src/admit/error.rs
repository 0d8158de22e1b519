//! How far estimates of prompts fall short of what a target's provider counts.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::units::Tokens;

/// What is assumed before anything is known: half as much again covers 99 % of texts in the common vocabularies.
const UNKNOWN: u32 = 1_500;
/// Beyond these an estimate or a count is wrong in another way.
const LEAST: u64 = 500;
const MOST: u64 = 2_500;
/// A smaller error takes its place by one part in so many for each answer.
const FADES: u32 = 64;

/// True tokens per thousand estimated: the largest of late.
#[derive(Debug)]
pub(super) struct Error(AtomicU32);

impl Default for Error {
    fn default() -> Self {
        Self(AtomicU32::new(UNKNOWN))
    }
}

impl Error {
    pub(super) fn thousandths(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes a larger error at once, and a smaller one slowly. Two answers at once may count as one.
    pub(super) fn learn(&self, estimated: Tokens, counted: Tokens) {
        if estimated == Tokens::ZERO || counted == Tokens::ZERO {
            return;
        }
        let ratio = (counted.count().saturating_mul(1_000) / estimated.count()).clamp(LEAST, MOST);
        let (ratio, before) = (u32::try_from(ratio).unwrap_or(UNKNOWN), self.thousandths());
        self.0.store(ratio.max(before - before.saturating_sub(ratio).div_ceil(FADES)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_error_of_late_is_kept_and_fades() {
        let (error, tokens) = (Error::default(), Tokens::new);
        assert_eq!(error.thousandths(), UNKNOWN);
        error.learn(tokens(100), tokens(180));
        assert_eq!(error.thousandths(), 1_800);
        for _ in 0..1_000 {
            error.learn(tokens(100), tokens(104));
        }
        assert_eq!(error.thousandths(), 1_040);
        error.learn(tokens(100), tokens(1_000_000));
        assert_eq!(error.thousandths(), 2_500);
        error.learn(Tokens::ZERO, tokens(5));
        assert_eq!(error.thousandths(), 2_500);
    }
}
