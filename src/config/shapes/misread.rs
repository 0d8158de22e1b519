//! Quantities that cannot be read: why not, and what was perhaps meant.

use crate::config::codes::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::tree::{Node, Scalar};
use crate::units::{QuantityError, parse_share};

/// Why a quantity cannot be read, and what was perhaps meant.
pub(in crate::config) fn quantity_finding(code: Code, node: &Node, scalar: &Scalar, expected: &str, error: &QuantityError) -> Diagnostic {
    let text = scalar.text.as_str();
    let message = match error {
        // A run of digits is a number; only its size can be wrong.
        QuantityError::NotANumber(_) if digits_of(text).is_some_and(|count| count > 15) => format!("`{text}` is too large"),
        QuantityError::NotANumber(_) => format!("expected {expected}, found `{text}`"),
        QuantityError::Unit { .. } if !text.starts_with(|c: char| c.is_ascii_digit()) => format!("expected {expected}, found `{text}`"),
        QuantityError::Negative(_) => format!("`{text}` is negative, expected {expected}"),
        QuantityError::Unit { .. } => format!("`{text}` has no unit that fits, expected {expected}"),
        QuantityError::TooFine(_) => format!("`{text}` has more than nine decimals"),
        QuantityError::TooLarge(_) => format!("`{text}` is too large"),
        QuantityError::Zero(_) => format!("`{text}` must be more than zero"),
    };
    let finding = Diagnostic::error(code, node.place, message);
    let is_about_spelling = matches!(error, QuantityError::NotANumber(_) | QuantityError::Unit { .. });
    match hint(code, text) {
        Some(hint) if is_about_spelling && digits_of(text).is_none_or(|count| count <= 15) => finding.hint(hint),
        _ => finding,
    }
}

/// How many digits a text begins with, when at most a unit follows them.
fn digits_of(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'_').count();
    let rest = text.get(digits..)?;
    (digits > 0 && !rest.contains(|c: char| c.is_ascii_digit() || ".:".contains(c)) && !rest.starts_with(['e', 'E', 'x'])).then_some(digits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn hint(code: Code, text: &str) -> Option<String> {
    if matches!(text, "off" | "no" | "none" | "unlimited" | "infinite" | "inf" | "disabled") {
        return Some(match code {
            Code::BAD_RATE => "take the key out: without it there is no such limit".into(),
            _ => "take the key out to have the default".into(),
        });
    }
    if text.starts_with("${") {
        return Some("only secrets are read from the environment; write the value itself".into());
    }
    if let Some((whole, power)) = text.split_once(['e', 'E'])
        && is_digits(whole)
        && is_digits(power)
    {
        return match power.parse::<usize>() {
            Ok(zeros) if zeros <= 12 => Some(format!("write the number out: `{whole}{}`", "0".repeat(zeros))),
            _ => Some("write the number out".into()),
        };
    }
    if text.starts_with("0x") || text.starts_with("0o") || text.starts_with("0b") {
        return Some("write it as a decimal number".into());
    }
    if let Some((first, second)) = text.split_once(':')
        && is_digits(first)
        && is_digits(second)
    {
        return Some("clock times mean nothing here; write a number and its unit, such as `90s` or `12h`".into());
    }
    meant(code, text).map(|meant| format!("write `{meant}`")).or_else(|| told(code, text))
}

/// The same quantity as it is written here.
fn meant(code: Code, text: &str) -> Option<String> {
    if let Some((whole, rest)) = text.split_once(',')
        && is_digits(whole)
        && is_digits(rest)
    {
        return match code {
            Code::BAD_MONEY => Some(format!("{whole}.{rest}")),
            _ if rest.len() == 3 => Some(format!("{whole}_{rest}")),
            _ => None,
        };
    }
    let (number, unit) = number_and_unit(text)?;
    let unit = unit.to_ascii_lowercase();
    let here = match code {
        Code::BAD_DURATION => match unit.as_str() {
            "sec" | "secs" | "second" | "seconds" => "s",
            "min" | "mins" | "minute" | "minutes" => "m",
            "hr" | "hrs" | "hour" | "hours" => "h",
            "day" | "days" => "d",
            "msec" | "msecs" | "millis" | "milliseconds" => "ms",
            "w" | "week" | "weeks" => return Some(format!("{}d", number.parse::<u64>().ok()?.checked_mul(7)?)),
            _ => return None,
        },
        Code::BAD_RATE => match unit.as_str() {
            "" | "rpm" | "tpm" | "per minute" => "/min",
            "rps" | "tps" | "per second" => "/s",
            "rph" | "tph" | "per hour" => "/hour",
            "rpd" | "tpd" | "per day" => "/day",
            _ => return None,
        },
        Code::BAD_SIZE => match unit.as_str() {
            "k" | "ki" | "kib" => "KiB",
            "m" | "mi" | "mib" | "meg" | "megs" | "megabytes" => "MiB",
            "g" | "gi" | "gib" => "GiB",
            "kb" => "kB",
            "mb" => "MB",
            "bytes" => "B",
            _ => return None,
        },
        Code::BAD_COUNT => match unit.as_str() {
            "k" => "k",
            "m" | "mio" | "million" => "M",
            "%" => "",
            _ => return None,
        },
        Code::BAD_SHARE => match unit.as_str() {
            "" => return percent(number),
            "percent" | "pct" => "%",
            _ => return None,
        },
        Code::BAD_MONEY => match unit.as_str() {
            "usd" | "$" | "dollars" | "dollar" => return Some(format!("${number}")),
            "c" | "ct" | "cent" | "cents" => {
                let cents: u64 = number.parse().ok()?;
                return Some(format!("${}.{:02}", cents / 100, cents % 100));
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(format!("{number}{here}"))
}

/// A plain number as a share: up to one with decimals is a part of one, `0.8`, and anything else was meant in percent.
fn percent(number: &str) -> Option<String> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let percent = match (whole, decimals) {
        (_, "") => whole.to_owned(),
        ("0" | "1", _) => {
            let (hundredths, rest) = format!("{decimals:0<2}").split_at_checked(2).map(|(two, rest)| (two.to_owned(), rest.to_owned()))?;
            let shifted = format!("{whole}{hundredths}.{rest}");
            shifted.trim_start_matches('0').trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => number.to_owned(),
    };
    let percent = if percent.is_empty() || percent.starts_with('.') { format!("0{percent}%") } else { format!("{percent}%") };
    parse_share(&percent).is_ok().then_some(percent)
}

/// A plain number and the word behind it.
fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let is_number = number.starts_with(|c: char| c.is_ascii_digit()) && number.ends_with(|c: char| c.is_ascii_digit());
    (is_number && number.matches('.').count() <= 1).then_some((number, unit.trim()))
}

/// How such a quantity is written, where nobody can say which one was meant.
fn told(code: Code, text: &str) -> Option<String> {
    Some(match code {
        Code::BAD_DURATION if is_digits(text) => format!("write its unit: `{text}s` or `{text}ms`"),
        Code::BAD_DURATION => "its units are ms, s, m, h and d".into(),
        Code::BAD_RATE => "its periods are s, min, hour and day".into(),
        Code::BAD_MONEY if text.ends_with("/1M") || text.ends_with("/M") || text.ends_with("/mtok") => {
            "prices are for a million tokens: write the dollars alone".into()
        }
        Code::BAD_MONEY if text.contains('/') => "an amount here has no period".into(),
        Code::BAD_MONEY if text == "free" => "write `0`".into(),
        Code::BAD_MONEY => "amounts are US dollars, written `$1.50`".into(),
        Code::BAD_SIZE => "its units are B, kB, MB, KiB, MiB and GiB".into(),
        Code::BAD_COUNT => "write a whole number, with `k` for a thousand or `M` for a million where that helps".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Code, hint};

    #[test]
    fn quantities_of_other_programs_are_translated() {
        for (code, text, wanted) in [
            (Code::BAD_DURATION, "5min", "write `5m`"),
            (Code::BAD_DURATION, "10 seconds", "write `10s`"),
            (Code::BAD_DURATION, "2w", "write `14d`"),
            (Code::BAD_DURATION, "300", "write its unit: `300s` or `300ms`"),
            (Code::BAD_RATE, "500", "write `500/min`"),
            (Code::BAD_RATE, "500 rpm", "write `500/min`"),
            (Code::BAD_RATE, "unlimited", "take the key out: without it there is no such limit"),
            (Code::BAD_SIZE, "32m", "write `32MiB`"),
            (Code::BAD_COUNT, "128K", "write `128k`"),
            (Code::BAD_COUNT, "16,384", "write `16_384`"),
            (Code::BAD_COUNT, "1e3", "write the number out: `1000`"),
            (Code::BAD_MONEY, "1,25", "write `1.25`"),
            (Code::BAD_MONEY, "10 USD", "write `$10`"),
            (Code::BAD_MONEY, "5 cents", "write `$0.05`"),
            (Code::BAD_MONEY, "$5/month", "an amount here has no period"),
            (Code::BAD_SHARE, "5", "write `5%`"),
            (Code::BAD_SHARE, "0.8", "write `80%`"),
            (Code::BAD_SHARE, "0.755", "write `75.5%`"),
            (Code::BAD_SHARE, "0.05", "write `5%`"),
            (Code::BAD_SHARE, "0.005", "write `0.5%`"),
            (Code::BAD_SHARE, "1.0", "write `100%`"),
            (Code::BAD_SHARE, "12.5", "write `12.5%`"),
            (Code::BAD_SHARE, "80 percent", "write `80%`"),
            (Code::BAD_SHARE, "0.0", "write `0%`"),
        ] {
            assert_eq!(hint(code, text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["150", "1.5", "a lot"] {
            assert_eq!(hint(Code::BAD_SHARE, text), None, "{text}: no share is that");
        }
    }
}
