//! Numbers with units: durations, counts, sizes, money, shares.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::scalar_schema;
use crate::config::codes::Code;
use crate::config::decode::{Findings, Shape, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::tree::{Node, Scalar, Value};
use crate::units::{Price, QuantityError, Share, Tokens, Usd, parse_bytes, parse_count, parse_duration, parse_share};

/// Milliseconds in a second, minute, hour and day, for the bounds of [`Time`].
pub(in crate::config) const SECOND: u64 = 1_000;
pub(in crate::config) const MINUTE: u64 = 60 * SECOND;
pub(in crate::config) const HOUR: u64 = 60 * MINUTE;
pub(in crate::config) const DAY: u64 = 24 * HOUR;

/// A duration from `MIN` to `MAX` milliseconds.
#[derive(Debug)]
pub(in crate::config) struct Time<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> JsonSchema for Time<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^[0-9]+(_[0-9]+)*(\.[0-9]+)? ?(ms|s|m|h|d)$";
        if MIN == 0 {
            json_schema!({ "anyOf": [{ "type": "string", "pattern": pattern }, { "const": 0 }] })
        } else {
            json_schema!({ "type": "string", "pattern": pattern })
        }
    }
}

impl<const MIN: u64, const MAX: u64> Shape for Time<MIN, MAX> {
    type Value = Duration;

    fn read(node: &Node, findings: &mut Findings) -> Option<Duration> {
        let scalar = scalar(node, "a duration such as `10s`", findings)?;
        let duration = parse_duration(&scalar.text)
            .map_err(|error| findings.push(quantity_finding(Code::BAD_DURATION, node, scalar, "a duration such as `10s`", &error)))
            .ok()?;
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        if duration < min || duration > max {
            findings.push(if duration < min {
                out_of_range(node, &scalar.text, "too short", "least", &spelled(min))
            } else {
                out_of_range(node, &scalar.text, "too long", "most", &spelled(max))
            });
            return None;
        }
        findings.spelled(node, || if duration.is_zero() { "0".into() } else { spelled(duration) });
        Some(duration)
    }
}

fn out_of_range(node: &Node, text: &str, how: &str, which: &str, bound: &str) -> Diagnostic {
    Diagnostic::error(Code::OUT_OF_RANGE, node.place, format!("`{text}` is {how}: at {which} {bound}"))
}

/// A duration as the file would write it.
pub(in crate::config) fn spelled(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// A whole number from `MIN` to `MAX`, as `32000`, `32_000`, `32k` or `1M`.
#[derive(Debug)]
pub(in crate::config) struct Whole<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> JsonSchema for Whole<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^[0-9]+(_[0-9]+)*(\.[0-9]+)?[kM]?$";
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": MIN, "maximum": MAX }, { "type": "string", "pattern": pattern }] })
    }
}

impl<const MIN: u64, const MAX: u64> Shape for Whole<MIN, MAX> {
    type Value = u64;

    fn read(node: &Node, findings: &mut Findings) -> Option<u64> {
        let scalar = scalar(node, "a number such as `32k`", findings)?;
        if let Some(finding) = ambiguous_zero(node, scalar) {
            findings.push(finding);
            return None;
        }
        let count = parse_count(&scalar.text)
            .map_err(|error| findings.push(quantity_finding(Code::BAD_COUNT, node, scalar, "a number such as `32k`", &error)))
            .ok()?;
        if count < MIN || count > MAX {
            findings.push(if count < MIN {
                out_of_range(node, &scalar.text, "too small", "least", &MIN.to_string())
            } else {
                out_of_range(node, &scalar.text, "too large", "most", &MAX.to_string())
            });
            return None;
        }
        if !scalar.text.contains(['_', '.']) {
            findings.spelled(node, || spelled_count(count));
        }
        Some(count)
    }
}

/// A count as the file would write it: `32k`, `1M`, `1536`.
fn spelled_count(count: u64) -> String {
    match count {
        0 => "0".into(),
        _ if count.is_multiple_of(1_000_000) => format!("{}M", count / 1_000_000),
        _ if count.is_multiple_of(1_000) => format!("{}k", count / 1_000),
        _ => count.to_string(),
    }
}

/// A number of tokens, at least one; 2^40 is more than any model takes.
#[derive(Debug)]
pub(in crate::config) struct TokenCount;

impl JsonSchema for TokenCount {
    fn schema_name() -> Cow<'static, str> {
        "Tokens".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Whole::<1, { 1 << 40 }>::json_schema(generator)
    }
}

impl Shape for TokenCount {
    type Value = Tokens;

    fn read(node: &Node, findings: &mut Findings) -> Option<Tokens> {
        Whole::<1, { 1 << 40 }>::read(node, findings).map(Tokens::new)
    }
}

/// `010` is eight to some readers and ten to others.
fn ambiguous_zero(node: &Node, scalar: &Scalar) -> Option<Diagnostic> {
    let digits = scalar.text.strip_prefix('0')?;
    let is_ambiguous = digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_digit() || c == '_');
    is_ambiguous.then(|| {
        Diagnostic::error(Code::BAD_COUNT, node.place, format!("`{}` is read as octal by some and as decimal by others", scalar.text))
            .hint(format!("write `{}`", digits.trim_start_matches(['0', '_'])))
    })
}

/// A size in bytes from `MIN` to `MAX`: `16MiB`, `10MB`, `4096`.
#[derive(Debug)]
pub(in crate::config) struct Size<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> JsonSchema for Size<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^[0-9]+(_[0-9]+)*(\.[0-9]+)? ?(B|kB|MB|KiB|MiB|GiB)?$";
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": MIN, "maximum": MAX }, { "type": "string", "pattern": pattern }] })
    }
}

impl<const MIN: u64, const MAX: u64> Shape for Size<MIN, MAX> {
    type Value = u64;

    fn read(node: &Node, findings: &mut Findings) -> Option<u64> {
        let scalar = scalar(node, "a size such as `16MiB`", findings)?;
        let bytes = parse_bytes(&scalar.text)
            .map_err(|error| findings.push(quantity_finding(Code::BAD_SIZE, node, scalar, "a size such as `16MiB`", &error)))
            .ok()?;
        if bytes < MIN || bytes > MAX {
            findings.push(if bytes < MIN {
                out_of_range(node, &scalar.text, "too small", "least", &size_spelled(MIN))
            } else {
                out_of_range(node, &scalar.text, "too large", "most", &size_spelled(MAX))
            });
            return None;
        }
        Some(bytes)
    }
}

fn size_spelled(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

const MONEY_PATTERN: &str = r"^\$?[0-9]+(_[0-9]+)*(\.[0-9]+(_[0-9]+)*)?$";

/// An amount of dollars: `$0.25`, up to nine decimals.
#[derive(Debug)]
pub(in crate::config) struct Dollars;

scalar_schema!(Dollars: { "anyOf": [{ "type": "string", "pattern": MONEY_PATTERN }, { "type": "number", "minimum": 0 }] });

impl Shape for Dollars {
    type Value = Usd;

    fn read(node: &Node, findings: &mut Findings) -> Option<Usd> {
        let amount = money(node, findings)?;
        if let Value::Scalar(Scalar { text, .. }) = &node.value
            && !text.starts_with('$')
        {
            findings.spelled(node, || format!("${text}"));
        }
        Some(amount)
    }
}

/// Dollars per million tokens: `3`, `$0.0375`.
#[derive(Debug)]
pub(in crate::config) struct PerMtok;

scalar_schema!(PerMtok: { "anyOf": [{ "type": "string", "pattern": MONEY_PATTERN }, { "type": "number", "minimum": 0 }] });

impl Shape for PerMtok {
    type Value = Price;

    fn read(node: &Node, findings: &mut Findings) -> Option<Price> {
        money(node, findings)
    }
}

fn money<T: FromStr<Err = QuantityError>>(node: &Node, findings: &mut Findings) -> Option<T> {
    let scalar = scalar(node, "an amount such as `$0.25`", findings)?;
    let parsed = scalar.text.parse();
    parsed.map_err(|error| findings.push(quantity_finding(Code::BAD_MONEY, node, scalar, "an amount such as `$0.25`", &error))).ok()
}

/// A part of a whole: `80%`.
#[derive(Debug)]
pub(in crate::config) struct Percent;

scalar_schema!(Percent: { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$" });

impl Shape for Percent {
    type Value = Share;

    fn read(node: &Node, findings: &mut Findings) -> Option<Share> {
        let scalar = scalar(node, "a share such as `80%`", findings)?;
        parse_share(&scalar.text)
            .map_err(|error| findings.push(quantity_finding(Code::BAD_SHARE, node, scalar, "a share such as `80%`", &error)))
            .ok()
    }
}

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
    match quantity_hint(code, text) {
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

fn quantity_hint(code: Code, text: &str) -> Option<String> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if text == "off" || text == "no" || text == "none" {
        return Some("take the key out to have the default".into());
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
    match code {
        Code::BAD_DURATION if is_digits(text) => Some(format!("write its unit: `{text}s` or `{text}ms`")),
        Code::BAD_DURATION => Some("its units are ms, s, m, h and d".into()),
        Code::BAD_RATE if is_digits(text) => Some(format!("write its period: `{text}/min`; periods are s, min, hour and day")),
        Code::BAD_RATE => Some("its periods are s, min, hour and day".into()),
        Code::BAD_SHARE if is_digits(text) => Some(format!("write `{text}%`")),
        Code::BAD_COUNT => text
            .strip_suffix('K')
            .or(text.strip_suffix('m'))
            .filter(|n| is_digits(n))
            .map(|n| if text.ends_with('K') { format!("write `{n}k`") } else { format!("write `{n}M`") }),
        Code::BAD_MONEY if text.contains('/') => Some("an amount here has no period".into()),
        Code::BAD_MONEY => Some("amounts are US dollars, written `$1.50`".into()),
        Code::BAD_SIZE => Some("its units are B, kB, MB, KiB, MiB and GiB".into()),
        _ => None,
    }
}
