use std::fmt;

use super::QuantityError;
use super::quantity::parse_nano;

/// How good a target's answers are for one task, measured or judged, in thousandths. 0 to 100; `tollgate bench` writes 0 to 10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u32);

impl Score {
    /// So many of `n` right, told as 0 to 10: rounded down, so that no floor is reached by rounding.
    #[must_use]
    pub fn of_ten(right: u64, n: u64) -> Self {
        let thousandths = (u128::from(right) * 10_000).checked_div(u128::from(n)).unwrap_or_default();
        Self(u32::try_from(thousandths).unwrap_or(u32::MAX).min(10_000))
    }

    #[must_use]
    pub fn thousandths(self) -> u32 {
        self.0
    }

    /// Reads `9.4`: up to three decimals, 0 to 100.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let nano = parse_nano(text)?;
        if nano % 1_000_000 != 0 {
            return Err(QuantityError::NotANumber(text.into()));
        }
        let thousandths = u32::try_from(nano / 1_000_000).ok().filter(|thousandths| *thousandths <= 100_000);
        thousandths.map(Self).ok_or_else(|| QuantityError::TooLarge(text.into()))
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000, self.0 % 1_000);
        let digits = format!("{rest:03}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            decimals => write!(f, "{whole}.{decimals}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_parse_and_print() {
        for (text, thousandths) in [("9.4", 9_400), ("0", 0), ("8.125", 8_125), ("10", 10_000), ("100", 100_000), ("0.010", 10)] {
            assert_eq!(Score::parse(text).map(Score::thousandths), Ok(thousandths), "{text:?}");
        }
        for text in ["", "-1", "9.1234", "100.001", "101", "9,4", "high"] {
            assert!(Score::parse(text).is_err(), "{text:?}");
        }
        assert_eq!([9_400, 10_000, 50].map(|it| Score(it).to_string()), ["9.4", "10", "0.05"]);
    }

    #[test]
    fn a_score_of_right_answers_is_never_rounded_up() {
        assert_eq!([(2, 3), (7, 7), (0, 9), (0, 0)].map(|(right, n)| Score::of_ten(right, n).to_string()), ["6.666", "10", "0", "0"]);
    }
}
