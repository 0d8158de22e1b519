use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::Usd;

/// Why a quantity could not be read. The message carries the text that was wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum QuantityError {
    #[error("`{0}` is no number")]
    NotANumber(String),
    #[error("`{0}` is negative")]
    Negative(String),
    #[error("`{0}` has more than nine decimals")]
    TooFine(String),
    #[error("`{0}` is too large")]
    TooLarge(String),
    #[error("`{0}` must be more than zero")]
    Zero(String),
    #[error("`{text}` has no known unit, expected {expected}")]
    Unit { text: String, expected: &'static str },
}

/// A part of a whole, in millionths: `80%` is 800,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Millionths, 0 to 1,000,000.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// How much of `whole` a `part` is, rounded down; all of it where `whole` is nothing or less than `part`.
    #[must_use]
    pub fn of_whole(part: Usd, whole: Usd) -> Self {
        let millionths = (u128::from(part.nano()) * 1_000_000).checked_div(u128::from(whole.nano())).unwrap_or(1_000_000);
        Self(u32::try_from(millionths).unwrap_or(u32::MAX).min(1_000_000))
    }

    /// This share of `whole`, rounded up.
    #[must_use]
    pub fn of(self, whole: Usd) -> Usd {
        let nano = (u128::from(whole.nano()) * u128::from(self.0)).div_ceil(1_000_000);
        Usd::from_nano(u64::try_from(nano).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        let digits = format!("{rest:04}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            decimals => write!(f, "{whole}.{decimals}%"),
        }
    }
}

/// Reads `80%` or `0.5%`, from 0 to 100.
pub fn parse_share(text: &str) -> Result<Share, QuantityError> {
    let Some(number) = text.strip_suffix('%') else {
        return Err(QuantityError::Unit { text: text.into(), expected: "a share such as `80%`" });
    };
    let nano = parse_nano(number.trim_end())?;
    if nano > 100_000_000_000 {
        return Err(QuantityError::TooLarge(text.into()));
    }
    Ok(Share(u32::try_from(nano / 100_000).unwrap_or(u32::MAX)))
}

/// Reads a count: `32000`, `32_000`, `32k` (32,000), `1.5M` (1,500,000).
pub fn parse_count(text: &str) -> Result<u64, QuantityError> {
    let (number, nano_per_unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    scaled(text, number, nano_per_unit)
}

/// Reads a size in bytes: `4096`, `64KiB`, `16MiB`, `1GiB`, `10kB`, `10MB`.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let (number, unit) = split_unit(text);
    let scale = match unit {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(QuantityError::Unit { text: text.into(), expected: "B, kB, MB, KiB, MiB or GiB" }),
    };
    scaled(text, number, scale)
}

/// Reads a duration: `20ms`, `2s`, `1.5m`, `2h`, `1d`. A unit is needed, but for `0`.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let (number, unit) = split_unit(text);
    let nano_per_unit: u64 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "" if parse_nano(number) == Ok(0) => 1,
        _ => return Err(QuantityError::Unit { text: text.into(), expected: "ms, s, m, h or d" }),
    };
    let nano = u128::from(parse_nano(number)?) * u128::from(nano_per_unit) / 1_000_000_000;
    u64::try_from(nano).map(Duration::from_nanos).map_err(|_| QuantityError::TooLarge(text.into()))
}

/// Reads a plain decimal with up to nine decimals as billionths: `1.5` is 1,500,000,000.
pub(super) fn parse_nano(text: &str) -> Result<u64, QuantityError> {
    let not_a_number = || QuantityError::NotANumber(text.into());
    if let Some(rest) = text.strip_prefix('-') {
        return Err(if rest.starts_with(|c: char| c.is_ascii_digit()) { QuantityError::Negative(text.into()) } else { not_a_number() });
    }
    let (whole, decimals) = match text.split_once('.') {
        Some((whole, decimals)) => (digits(whole).ok_or_else(not_a_number)?, digits(decimals).ok_or_else(not_a_number)?),
        None => (digits(text).ok_or_else(not_a_number)?, String::new()),
    };
    if decimals.len() > 9 {
        return Err(QuantityError::TooFine(text.into()));
    }
    format!("{whole}{decimals:0<9}").parse().map_err(|_| QuantityError::TooLarge(text.into()))
}

/// The digits of `text` without the `_` between them; nothing when it is no run of digits.
fn digits(text: &str) -> Option<String> {
    let sound = text.split('_').all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_digit()));
    sound.then(|| text.replace('_', ""))
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..end].trim_end(), &text[end..])
}

/// `number` times `scale` as a whole number; a fraction that is left over is an error.
fn scaled(text: &str, number: &str, scale: u64) -> Result<u64, QuantityError> {
    let exact = u128::from(parse_nano(number.trim_end()).map_err(|error| match error {
        QuantityError::Negative(_) => QuantityError::Negative(text.into()),
        _ => QuantityError::NotANumber(text.into()),
    })?) * u128::from(scale);
    if exact % 1_000_000_000 != 0 {
        return Err(QuantityError::NotANumber(text.into()));
    }
    u64::try_from(exact / 1_000_000_000)
        .ok()
        .filter(|count| i64::try_from(*count).is_ok())
        .ok_or_else(|| QuantityError::TooLarge(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_parse_as_people_write_them() {
        for (text, count) in [("32k", 32_000), ("1M", 1_000_000), ("1.5k", 1_500), ("2_000", 2_000), ("0", 0)] {
            assert_eq!(parse_count(text), Ok(count), "{text:?}");
        }
        for (text, bytes) in [("16MiB", 16 << 20), ("4096", 4096), ("10kB", 10_000), ("1 GiB", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text:?}");
        }
        for (text, ms) in [("20ms", 20), ("2s", 2_000), ("1.5m", 90_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text:?}");
        }
        assert_eq!(parse_share("80%").map(Share::millionths), Ok(800_000));
        assert_eq!(parse_share("0.5%").map(Share::millionths), Ok(5_000));
        for text in ["0%", "0.5%", "80%", "99.9999%", "100%"] {
            assert_eq!(parse_share(text).map(|share| share.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "k", "-5", "1e3", "0.5", "5 apples", "99999999999999999999", "12:30", "1.2345k"] {
            assert!(parse_count(text).is_err(), "{text:?}");
        }
        for text in ["5", "5 parsecs", "-2s", "s", "1w"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        for text in ["80", "101%", "-1%", "%"] {
            assert!(parse_share(text).is_err(), "{text:?}");
        }
    }
}
