use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use super::quantity::{QuantityError, parse_count};

/// So many of something per time, with the amount that may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub amount: NonZeroU64,
    pub per: Duration,
    /// What a full limit lets through at once; one period's amount unless the file says otherwise.
    pub burst: NonZeroU64,
}

impl Rate {
    /// Reads `500/min` or `200k/hour`: a count per `s`, `min`, `hour` or `day`, more than zero.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let wrong_unit = || QuantityError::Unit { text: text.into(), expected: "a rate such as `500/min`, per s, min, hour or day" };
        let (count, unit) = text.split_once('/').ok_or_else(wrong_unit)?;
        let per = Duration::from_secs(match unit.trim() {
            "s" => 1,
            "min" => 60,
            "hour" => 3_600,
            "day" => 86_400,
            _ => return Err(wrong_unit()),
        });
        let amount = NonZeroU64::new(parse_count(count.trim())?).ok_or_else(|| QuantityError::Zero(text.into()))?;
        Ok(Self { amount, per, burst: amount })
    }

    #[must_use]
    pub fn with_burst(self, burst: NonZeroU64) -> Self {
        Self { burst, ..self }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "min",
            3_600 => "hour",
            _ => "day",
        };
        write!(f, "{}/{unit}", self.amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_parse_and_print() {
        for (text, printed, seconds) in
            [("500/min", "500/min", 60), ("200k/hour", "200000/hour", 3_600), ("5/s", "5/s", 1), ("1M/day", "1000000/day", 86_400)]
        {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.to_string(), rate.per.as_secs(), rate.burst), (printed.into(), seconds, rate.amount));
        }
        for text in ["500", "0/min", "-1/min", "500/fortnight", "/min", "5/minute"] {
            assert!(Rate::parse(text).is_err(), "{text:?}");
        }
    }
}
