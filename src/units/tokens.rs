use std::fmt;

/// A number of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(u64);

impl Tokens {
    pub const ZERO: Self = Self(0);
    /// No provider reports more for one call: 2^40. What is above is not believed.
    pub const PLAUSIBLE: Self = Self(1 << 40);

    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    #[must_use]
    pub fn count(self) -> u64 {
        self.0
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, stopping at zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    #[must_use]
    pub fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one attempt used, by kind. The three input parts do not overlap; `reasoning` is a part of `output`,
/// `audio_input` of `input_uncached`, `audio_output` of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_uncached: Tokens,
    pub cache_read: Tokens,
    /// All that was written to the provider's cache, the five-minute and one-hour parts included.
    pub cache_write: Tokens,
    pub cache_write_1h: Tokens,
    /// All billed output.
    pub output: Tokens,
    pub reasoning: Tokens,
    pub audio_input: Tokens,
    pub audio_output: Tokens,
}

impl Usage {
    /// Both together, part by part.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input_uncached: self.input_uncached.plus(other.input_uncached),
            cache_read: self.cache_read.plus(other.cache_read),
            cache_write: self.cache_write.plus(other.cache_write),
            cache_write_1h: self.cache_write_1h.plus(other.cache_write_1h),
            output: self.output.plus(other.output),
            reasoning: self.reasoning.plus(other.reasoning),
            audio_input: self.audio_input.plus(other.audio_input),
            audio_output: self.audio_output.plus(other.audio_output),
        }
    }

    #[must_use]
    pub fn input_total(&self) -> Tokens {
        self.input_uncached.plus(self.cache_read).plus(self.cache_write)
    }

    /// Input and output together, as limits in tokens count them.
    #[must_use]
    pub fn total(&self) -> Tokens {
        self.input_total().plus(self.output)
    }
}
