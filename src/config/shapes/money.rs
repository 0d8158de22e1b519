//! Dollars per window and per time: caps and paces.

use std::num::NonZeroU64;
use std::time::Duration;

use super::quantity_finding;
use super::scalar_schema;
use crate::config::codes::Code;
use crate::config::decode::{Findings, Shape, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::tree::{Node, Scalar};
use crate::units::{Period, QuantityError, Rate, Usd};

/// `$300/month`.
#[derive(Debug)]
pub(in crate::config) struct CapText;

scalar_schema!(CapText: {
    "type": "string",
    "pattern": r"^\$(?=[^/]*[1-9])[0-9]+(_[0-9]+)*(\.[0-9](_?[0-9]){0,8})? ?/ ?(hour|day|week|month|total)$"
});

impl Shape for CapText {
    type Value = (Usd, Period);

    fn read(node: &Node, findings: &mut Findings) -> Option<(Usd, Period)> {
        let scalar = scalar(node, "a cap such as `$300/month`", findings)?;
        let text = scalar.text.as_str();
        let parts = text.split_once('/').map(|(amount, period)| (amount.trim_end(), period.trim()));
        let Some((amount, period)) = parts.filter(|(amount, period)| amount.starts_with('$') && Period::parse(period).is_some()) else {
            findings.push(no_cap(node, scalar));
            return None;
        };
        match amount.parse::<Usd>() {
            Ok(usd) if usd > Usd::default() => {
                findings.spelled(node, || format!("{amount}/{period}"));
                Some((usd, Period::parse(period)?))
            }
            Ok(_) => {
                let finding = Diagnostic::error(Code::BAD_CAP, node.place, format!("a cap of `{text}` lets nothing through"));
                findings.push(finding.hint("write an amount above zero; what must not be used at all is taken out of the chains"));
                None
            }
            Err(error) => {
                findings.push(quantity_finding(Code::BAD_CAP, node, scalar, "a cap such as `$300/month`", &error));
                None
            }
        }
    }

    fn spelling() -> String {
        "US dollars per `hour`, `day`, `week`, `month` or in `total`, such as `$300/month`.".into()
    }

    fn example() -> serde_json::Value {
        "$300/month".into()
    }
}

/// What is wrong with a text that is no cap, and what was perhaps meant.
fn no_cap(node: &Node, scalar: &Scalar) -> Diagnostic {
    let text = scalar.text.as_str();
    let amount = text.strip_prefix('$').unwrap_or(text);
    let finding = |message: String| Diagnostic::error(Code::BAD_CAP, node.place, message);
    if amount.parse::<Usd>().is_ok() {
        let message = format!("`{text}` has no window, expected a cap such as `$300/month`");
        return finding(message).hint(format!("write `${amount}/month`, or another of `/hour`, `/day`, `/week` and `/total`"));
    }
    match meant(text) {
        Some((amount, period)) => {
            let why = if text.starts_with('$') { "has no window that fits" } else { "is no cap in dollars" };
            let message = format!("`{text}` {why}, expected a cap such as `$300/month`");
            finding(message).hint(match period {
                Meant::Window(period) => format!("write `${amount}/{period}`"),
                Meant::Year => format!("the longest window is `/month`; `${amount}/total` never begins anew"),
                Meant::Minute => format!("the shortest window is `/hour`; `pace: ${amount}/min` is what smooths spending within it"),
            })
        }
        None if matches!(text, "off" | "no" | "none" | "unlimited" | "infinite" | "inf" | "disabled") => {
            finding(format!("expected a cap such as `$300/month`, found `{text}`")).hint("take the key out: without it there is no cap")
        }
        None if matches!(text.split_once('/'), Some((amount, _)) if amount.trim_start_matches('$').starts_with('-')) => {
            finding(format!("`{text}` is negative, expected a cap such as `$300/month`"))
        }
        None => {
            let finding = finding(format!("expected a cap such as `$300/month`, found `{text}`"));
            finding.hint("a cap is dollars per window: `/hour`, `/day`, `/week`, `/month` or `/total`")
        }
    }
}

/// The window that another word stands for.
enum Meant {
    Window(Period),
    Year,
    Minute,
}

/// Amount and window of `300 USD per month`, `$300/mo` and the like.
fn meant(text: &str) -> Option<(String, Meant)> {
    let text = text.trim().to_ascii_lowercase().replace(" per ", "/").replace(" a ", "/").replace(" in ", "/").replace(" / ", "/");
    let (amount, period) = text.split_once('/').or_else(|| text.rsplit_once(' '))?;
    let amount = amount.trim().trim_start_matches('$');
    let amount = ["usd", "dollars", "dollar", "$"].iter().find_map(|unit| amount.strip_suffix(unit)).unwrap_or(amount).trim();
    amount.parse::<Usd>().ok()?;
    let period = match period.trim() {
        "hour" | "h" | "hr" | "hourly" | "hours" | "1h" | "60m" => Meant::Window(Period::Hour),
        "day" | "d" | "daily" | "days" | "1d" | "24h" => Meant::Window(Period::Day),
        "week" | "w" | "wk" | "weekly" | "weeks" | "7d" | "1w" => Meant::Window(Period::Week),
        "month" | "mo" | "m" | "mon" | "mth" | "monthly" | "months" | "30d" | "31d" | "1mo" => Meant::Window(Period::Month),
        "total" | "lifetime" | "ever" | "forever" | "all" | "overall" | "once" => Meant::Window(Period::Total),
        "year" | "y" | "yr" | "yearly" | "annual" | "annually" | "365d" | "quarter" => Meant::Year,
        "min" | "minute" | "s" | "sec" | "second" => Meant::Minute,
        _ => return None,
    };
    Some((amount.to_owned(), period))
}

/// `$20/hour`, in micro-dollars.
#[derive(Debug)]
pub(in crate::config) struct Pace;

scalar_schema!(Pace: {
    "type": "string",
    "pattern": r"^\$(?=[^/]*[1-9])[0-9]+(_[0-9]+)*(\.[0-9](_?[0-9]){0,5})? ?/ ?(s|min|hour|day)$"
});

impl Shape for Pace {
    type Value = Rate;

    fn read(node: &Node, findings: &mut Findings) -> Option<Rate> {
        let scalar = scalar(node, "a pace such as `$20/hour`", findings)?;
        match pace(&scalar.text) {
            Ok(rate) => Some(rate),
            Err(error) => {
                let finding = quantity_finding(Code::BAD_RATE, node, scalar, "a pace such as `$20/hour`", &error);
                let is_spelling = matches!(error, QuantityError::Unit { .. } | QuantityError::NotANumber(_));
                findings.push(match meant(&scalar.text) {
                    Some((amount, period)) if is_spelling => finding.hint(match period {
                        Meant::Window(Period::Hour) => format!("write `${amount}/hour`"),
                        Meant::Window(Period::Day) => format!("write `${amount}/day`"),
                        Meant::Minute => format!("write `${amount}/min`"),
                        _ => "a pace is per `s`, `min`, `hour` or `day`; for longer there is `budget`".into(),
                    }),
                    _ if is_spelling => finding.hint("a pace is dollars per `s`, `min`, `hour` or `day`"),
                    _ => finding,
                });
                None
            }
        }
    }

    fn spelling() -> String {
        "US dollars per `s`, `min`, `hour` or `day`, such as `$20/hour`.".into()
    }

    fn example() -> serde_json::Value {
        "$20/hour".into()
    }
}

fn pace(text: &str) -> Result<Rate, QuantityError> {
    let wrong_unit = || QuantityError::Unit { text: text.into(), expected: "a pace such as `$20/hour`" };
    let (amount, unit) = text.split_once('/').ok_or_else(wrong_unit)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return Err(wrong_unit()),
    };
    if !amount.starts_with('$') {
        return Err(wrong_unit());
    }
    let usd: Usd = amount.trim_end().parse()?;
    let amount = NonZeroU64::new(usd.nano() / 1_000).ok_or_else(|| QuantityError::Zero(text.into()))?;
    Ok(Rate { amount, per: Duration::from_secs(seconds), burst: amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_of_other_programs_are_understood() {
        for (text, wanted) in [
            ("300/month", Some(("300", "month"))),
            ("$300/mo", Some(("300", "month"))),
            ("$300 per month", Some(("300", "month"))),
            ("300 USD monthly", Some(("300", "month"))),
            ("$2_000/30d", Some(("2_000", "month"))),
            ("$40 daily", Some(("40", "day"))),
            ("$40 in total", Some(("40", "total"))),
            ("monthly", None),
            ("$x/month", None),
        ] {
            let found = meant(text).and_then(|(amount, period)| match period {
                Meant::Window(period) => Some((amount, period.as_str())),
                _ => None,
            });
            assert_eq!(found, wanted.map(|(amount, period): (&str, &str)| (amount.to_owned(), period)), "{text}");
        }
    }

    #[test]
    fn a_pace_is_micro_dollars() {
        for (text, micros, seconds) in
            [("$20/hour", Some(20_000_000), 3_600), ("$0.000_001/s", Some(1), 1), ("$0/s", None, 1), ("20/hour", None, 1)]
        {
            let rate = pace(text).ok();
            assert_eq!(rate.map(|rate| rate.amount.get()), micros, "{text}");
            assert!(rate.is_none_or(|rate| rate.per.as_secs() == seconds), "{text}");
        }
    }
}
