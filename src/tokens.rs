//! An estimate of how many tokens a text is, without a tokenizer.

use crate::units::Tokens;

/// About how many tokens `text` is.
#[must_use]
pub fn estimate(text: &[u8]) -> Tokens {
    Tokens::new(text.len().div_ceil(4) as u64)
}
