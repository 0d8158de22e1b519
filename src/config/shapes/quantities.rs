//! Numbers with units: durations, counts, sizes, money, shares.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::misread::quantity_finding;
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
        // Zero is zero in any unit; where it is too little, some digit is none.
        let some = if MIN == 0 { "" } else { "(?=.*[1-9])" };
        let pattern = format!(r"^{some}[0-9]+(_[0-9]+)*(\.[0-9]+)? ?(ms|s|m|h|d)$");
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

    fn spelling() -> String {
        let (min, max) = (spelled(Duration::from_millis(MIN)), spelled(Duration::from_millis(MAX)));
        format!("A duration in `ms`, `s`, `m`, `h` or `d`, from {min} to {max}.")
    }

    fn example() -> serde_json::Value {
        spelled(Duration::from_secs(30).clamp(Duration::from_millis(MIN), Duration::from_millis(MAX))).into()
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
        let some = if MIN == 0 { "" } else { "(?=.*[1-9])" };
        let pattern = format!(r"^{some}(?!0[0-9])[0-9]+(_[0-9]+)*((\.[0-9]+)?[kM])?$");
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

    fn spelling() -> String {
        // Beyond a thousand billion the bound only keeps sums from overflowing.
        let most = if MAX >= 1 << 40 { String::new() } else { format!(" to {MAX}") };
        format!("A whole number from {MIN}{most}; `k` is a thousand, `M` a million.")
    }

    fn example() -> serde_json::Value {
        10.clamp(MIN, MAX).into()
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

    fn spelling() -> String {
        "A number of tokens; `k` is a thousand, `M` a million.".into()
    }

    fn example() -> serde_json::Value {
        "16k".into()
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

    fn spelling() -> String {
        format!("Bytes, or a number with `B`, `kB`, `MB`, `KiB`, `MiB` or `GiB`, from {} to {}.", size_spelled(MIN), size_spelled(MAX))
    }

    fn example() -> serde_json::Value {
        "16MiB".into()
    }
}

fn size_spelled(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

const MONEY_PATTERN: &str = r"^\$?[0-9]+(_[0-9]+)*(\.[0-9](_?[0-9]){0,8})?$";

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

    fn spelling() -> String {
        "US dollars, up to nine decimals.".into()
    }

    fn example() -> serde_json::Value {
        "$0.25".into()
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

    fn spelling() -> String {
        "US dollars per million tokens, up to nine decimals.".into()
    }

    fn example() -> serde_json::Value {
        2.5.into()
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

scalar_schema!(Percent: { "type": "string", "pattern": r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?) ?%$" });

impl Shape for Percent {
    type Value = Share;

    fn read(node: &Node, findings: &mut Findings) -> Option<Share> {
        let scalar = scalar(node, "a share such as `80%`", findings)?;
        parse_share(&scalar.text)
            .map_err(|error| findings.push(quantity_finding(Code::BAD_SHARE, node, scalar, "a share such as `80%`", &error)))
            .ok()
    }

    fn spelling() -> String {
        "A share from 0% to 100%.".into()
    }

    fn example() -> serde_json::Value {
        "0.5%".into()
    }
}
