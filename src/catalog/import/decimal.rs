//! Prices from the digits of a JSON number, which never become a binary fraction.

use crate::units::Price;

/// Decimals that a price keeps.
const FINEST: usize = 9;

/// The price that a JSON number or text says, its point moved right by so many digits; what is finer than a billionth of a dollar is
/// rounded up. The message says what is wrong.
pub(super) fn price(json: &str, digits: i32) -> Result<Price, String> {
    let text = json.trim().trim_matches('"');
    let wrong = || format!("`{text}` is no price");
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().map_err(|_| wrong())?),
        None => (text, 0),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) || exponent.abs() > 40 || all.len() > 60 {
        return Err(wrong());
    }
    let point = i32::try_from(whole.len()).map_err(|_| wrong())? + exponent + digits;
    // Zeros in front and behind, so that the point stands among the digits.
    let all = format!("{}{all}", "0".repeat(usize::try_from(1 - point).unwrap_or(0)));
    let point = usize::try_from(point.max(1)).map_err(|_| wrong())?;
    let all = format!("{all:0<width$}", width = point + FINEST);
    let (whole, part) = all.split_at(point);
    let (kept, rest) = part.split_at(FINEST);
    let whole = whole.trim_start_matches('0');
    let exact: Price = format!("{}.{kept}", if whole.is_empty() { "0" } else { whole }).parse().map_err(|_| wrong())?;
    if rest.bytes().all(|digit| digit == b'0') { Ok(exact) } else { exact.next().ok_or_else(wrong) }
}

#[cfg(test)]
mod tests {
    use super::price;

    #[test]
    fn digits_stay_digits() {
        for (json, digits, nano) in [
            ("2.5", 0, Some(2_500_000_000)),
            ("0", 0, Some(0)),
            ("\"0.28\"", 0, Some(280_000_000)),
            ("2.5e-06", 6, Some(2_500_000_000)),
            ("1e-7", 6, Some(100_000_000)),
            ("0.000000025", 6, Some(25_000_000)),
            ("15E-6", 6, Some(15_000_000_000)),
            // What a program made of 0.15, and of 0.1.
            ("1.4999999999999999e-07", 6, Some(150_000_000)),
            ("1.0000000000000001e-07", 6, Some(100_000_001)),
            ("1e-30", 6, Some(1)),
            ("-1", 0, None),
            ("null", 0, None),
            ("1e99", 6, None),
            ("1e20", 6, None),
            ("", 0, None),
        ] {
            assert_eq!(price(json, digits).ok().map(crate::units::Price::nano), nano, "{json}");
        }
    }
}
