//! An estimate of how many tokens a text is, without a tokenizer.

use crate::units::Tokens;

#[must_use]
pub fn estimate(text: &[u8]) -> Tokens {
    Tokens::new(u64::try_from(text.len().div_ceil(4)).unwrap_or(u64::MAX))
}
