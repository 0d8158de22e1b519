use std::fmt;
use std::str::FromStr;

use super::quantity::{QuantityError, parse_nano};

/// US dollars, counted in billionths. Largest value: about 18.4 billion dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u64);

impl Usd {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(u64::MAX);

    #[must_use]
    pub const fn from_nano(nano: u64) -> Self {
        Self(nano)
    }

    /// Billionths of a dollar.
    #[must_use]
    pub fn nano(self) -> u64 {
        self.0
    }

    /// The sum, stopping at [`Usd::MAX`].
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, stopping at zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Plain decimal without a sign, as headers and records carry it: `0.000453`.
    #[must_use]
    pub fn plain(self) -> String {
        let mut text = String::new();
        self.write_plain(&mut text);
        text
    }

    /// Writes [`plain`](Self::plain) behind a text. Every answer tells sums in its headers: this takes a fraction of formatting's time.
    pub fn write_plain(self, text: &mut String) {
        let (whole, nano) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        push_digits(text, whole);
        if nano > 0 {
            let mut digits = itoa::Buffer::new();
            // The one in front keeps the zeros behind it.
            let digits = &digits.format(1_000_000_000 + nano)[1..];
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
    }
}

/// Writes a whole number behind a text.
pub fn push_digits(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.plain())
    }
}

/// Reads `$0.25`, `0.25` or `$2_000`: up to nine decimals, `_` between digits.
impl FromStr for Usd {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_nano(text.strip_prefix('$').unwrap_or(text)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_parse() {
        for (text, nano) in [("0", 0), ("1.5", 1_500_000_000), ("$0.25", 250_000_000), ("$2_000", 2_000_000_000_000), ("0.000000001", 1)] {
            assert_eq!(text.parse::<Usd>().map(Usd::nano), Ok(nano), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "$", "-1", "1.", ".5", "1e3", "1__0", "_1", "0.0000000001", "99999999999", "NaN"] {
            assert!(text.parse::<Usd>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn dollars_print_without_trailing_zeros() {
        for (nano, text) in [(0, "$0"), (1, "$0.000000001"), (1_500_000_000, "$1.5"), (10_000_000_000, "$10")] {
            assert_eq!(Usd(nano).to_string(), text);
        }
    }
}
