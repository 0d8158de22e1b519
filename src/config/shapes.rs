//! Single values as people write them: text, numbers, durations, money, rates, words.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::codes;
use super::decode::{Findings, Shape, not_yet, scalar};
use super::diagnostic::Diagnostic;
use super::tree::{Node, Scalar};
use crate::units::{Price, QuantityError, Share, Tokens, Usd, parse_bytes, parse_count, parse_duration, parse_share};

/// A shape that stands where it is used in the schema, under its own name.
macro_rules! scalar_schema {
    ($name:ident: $schema:tt) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
pub(super) use scalar_schema;

/// Any text.
#[derive(Debug)]
pub(super) struct Text;

scalar_schema!(Text: { "type": "string", "minLength": 1 });

impl Shape for Text {
    type Value = String;

    fn read(node: &Node, findings: &mut Findings) -> Option<String> {
        scalar(node, "a text", findings).map(|scalar| scalar.text.clone())
    }
}

/// `true` or `false`.
#[derive(Debug)]
pub(super) struct Flag;

scalar_schema!(Flag: { "type": "boolean" });

impl Shape for Flag {
    type Value = bool;

    fn read(node: &Node, findings: &mut Findings) -> Option<bool> {
        let scalar = scalar(node, "`true` or `false`", findings)?;
        let finding = |text: &str| Diagnostic::error(codes::BAD_FLAG, node.place, format!("expected `true` or `false`, found `{text}`"));
        match (scalar.text.as_str(), scalar.is_quoted) {
            ("true", false) => return Some(true),
            ("false", false) => return Some(false),
            ("true" | "false", true) => findings.push(finding(&scalar.text).hint("write it without quotes")),
            (text, _) => {
                let meant = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" => Some("true"),
                    "no" | "off" | "n" | "false" => Some("false"),
                    _ => None,
                };
                let finding = finding(text);
                findings.push(match meant {
                    Some(meant) => finding.hint(format!("write `{meant}`: YAML 1.2 has no other word for it")),
                    None => finding,
                });
            }
        }
        None
    }
}

/// Milliseconds in a second, minute, hour and day, for the bounds of [`Time`].
pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// A duration from `MIN` to `MAX` milliseconds.
#[derive(Debug)]
pub(super) struct Time<const MIN: u64, const MAX: u64>;

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
            .map_err(|error| findings.push(quantity_finding(codes::BAD_DURATION, node, scalar, "a duration such as `10s`", &error)))
            .ok()?;
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        if duration < min || duration > max {
            let message = format!("`{}` is outside {} to {}", scalar.text, spelled(min), spelled(max));
            findings.push(Diagnostic::error(codes::OUT_OF_RANGE, node.place, message));
            return None;
        }
        Some(duration)
    }
}

/// A duration as the file would write it.
pub(super) fn spelled(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(unit, _)| ms >= *unit && ms % unit == 0) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// A whole number from `MIN` to `MAX`, as `32000`, `32_000`, `32k` or `1M`.
#[derive(Debug)]
pub(super) struct Whole<const MIN: u64, const MAX: u64>;

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
            .map_err(|error| findings.push(quantity_finding(codes::BAD_COUNT, node, scalar, "a number such as `32k`", &error)))
            .ok()?;
        if count < MIN || count > MAX {
            let message = format!("`{}` is outside {MIN} to {MAX}", scalar.text);
            findings.push(Diagnostic::error(codes::OUT_OF_RANGE, node.place, message));
            return None;
        }
        Some(count)
    }
}

/// A number of tokens, at least one; 2^40 is more than any model takes.
#[derive(Debug)]
pub(super) struct TokenCount;

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
        Diagnostic::error(codes::BAD_COUNT, node.place, format!("`{}` is read as octal by some and as decimal by others", scalar.text))
            .hint(format!("write `{}`", digits.trim_start_matches(['0', '_'])))
    })
}

/// A size in bytes from `MIN` to `MAX`: `16MiB`, `10MB`, `4096`.
#[derive(Debug)]
pub(super) struct Size<const MIN: u64, const MAX: u64>;

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
            .map_err(|error| findings.push(quantity_finding(codes::BAD_SIZE, node, scalar, "a size such as `16MiB`", &error)))
            .ok()?;
        if bytes < MIN || bytes > MAX {
            let message = format!("`{}` is outside {} to {}", scalar.text, size_spelled(MIN), size_spelled(MAX));
            findings.push(Diagnostic::error(codes::OUT_OF_RANGE, node.place, message));
            return None;
        }
        Some(bytes)
    }
}

fn size_spelled(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes % unit == 0) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

const MONEY_PATTERN: &str = r"^\$?[0-9]+(_[0-9]+)*(\.[0-9]{1,9})?$";

/// An amount of dollars: `$0.25`, up to nine decimals.
#[derive(Debug)]
pub(super) struct Dollars;

scalar_schema!(Dollars: { "anyOf": [{ "type": "string", "pattern": MONEY_PATTERN }, { "type": "number", "minimum": 0 }] });

impl Shape for Dollars {
    type Value = Usd;

    fn read(node: &Node, findings: &mut Findings) -> Option<Usd> {
        money(node, findings)
    }
}

/// Dollars per million tokens: `3`, `$0.0375`.
#[derive(Debug)]
pub(super) struct PerMtok;

scalar_schema!(PerMtok: { "anyOf": [{ "type": "string", "pattern": MONEY_PATTERN }, { "type": "number", "minimum": 0 }] });

impl Shape for PerMtok {
    type Value = Price;

    fn read(node: &Node, findings: &mut Findings) -> Option<Price> {
        money(node, findings)
    }
}

fn money<T: std::str::FromStr<Err = QuantityError>>(node: &Node, findings: &mut Findings) -> Option<T> {
    let scalar = scalar(node, "an amount such as `$0.25`", findings)?;
    let parsed = scalar.text.parse();
    parsed.map_err(|error| findings.push(quantity_finding(codes::BAD_MONEY, node, scalar, "an amount such as `$0.25`", &error))).ok()
}

/// A part of a whole: `80%`.
#[derive(Debug)]
pub(super) struct Percent;

scalar_schema!(Percent: { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$" });

impl Shape for Percent {
    type Value = Share;

    fn read(node: &Node, findings: &mut Findings) -> Option<Share> {
        let scalar = scalar(node, "a share such as `80%`", findings)?;
        parse_share(&scalar.text)
            .map_err(|error| findings.push(quantity_finding(codes::BAD_SHARE, node, scalar, "a share such as `80%`", &error)))
            .ok()
    }
}

/// Why a quantity cannot be read, and what was perhaps meant.
pub(super) fn quantity_finding(code: &'static str, node: &Node, scalar: &Scalar, expected: &str, error: &QuantityError) -> Diagnostic {
    let text = scalar.text.as_str();
    let message = match error {
        QuantityError::NotANumber(_) => format!("expected {expected}, found `{text}`"),
        QuantityError::Negative(_) => format!("`{text}` is negative, expected {expected}"),
        QuantityError::Unit { .. } => format!("`{text}` has no unit that fits, expected {expected}"),
        QuantityError::TooFine(_) => format!("`{text}` has more than nine decimals"),
        QuantityError::TooLarge(_) => format!("`{text}` is too large"),
        QuantityError::Zero(_) => format!("`{text}` must be more than zero"),
    };
    let finding = Diagnostic::error(code, node.place, message);
    match quantity_hint(code, text) {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

fn quantity_hint(code: &'static str, text: &str) -> Option<String> {
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
        return Some(format!("write the number out: `{}`", written_out(whole, power)));
    }
    if let Some((first, second)) = text.split_once(':')
        && is_digits(first)
        && is_digits(second)
    {
        return Some("clock times mean nothing here; write a number and its unit, such as `90s` or `12h`".into());
    }
    match code {
        codes::BAD_DURATION if is_digits(text) => Some(format!("write its unit: `{text}s` or `{text}ms`")),
        codes::BAD_DURATION => Some("its units are ms, s, m, h and d".into()),
        codes::BAD_RATE if is_digits(text) => Some(format!("write its period: `{text}/min`; periods are s, min, hour and day")),
        codes::BAD_RATE => Some("its periods are s, min, hour and day".into()),
        codes::BAD_SHARE if is_digits(text) => Some(format!("write `{text}%`")),
        codes::BAD_COUNT => text
            .strip_suffix('K')
            .or(text.strip_suffix('m'))
            .filter(|n| is_digits(n))
            .map(|n| if text.ends_with('K') { format!("write `{n}k`") } else { format!("write `{n}M`") }),
        codes::BAD_MONEY if text.contains('/') => Some("an amount here has no period".into()),
        codes::BAD_MONEY => Some("amounts are US dollars, written `$1.50`".into()),
        codes::BAD_SIZE => Some("its units are B, kB, MB, KiB, MiB and GiB".into()),
        _ => None,
    }
}

/// `1e3` as `1000`, as far as that is readable.
fn written_out(whole: &str, power: &str) -> String {
    match power.parse::<usize>() {
        Ok(zeros) if zeros <= 12 => format!("{whole}{}", "0".repeat(zeros)),
        _ => "1000".into(),
    }
}

/// `host:port`, the host an IP address.
#[derive(Debug)]
pub(super) struct Address;

scalar_schema!(Address: { "type": "string", "pattern": r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}$" });

impl Shape for Address {
    type Value = SocketAddr;

    fn read(node: &Node, findings: &mut Findings) -> Option<SocketAddr> {
        let scalar = scalar(node, "an address such as `127.0.0.1:8080`", findings)?;
        let text = scalar.text.as_str();
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let message = format!("expected an address such as `127.0.0.1:8080`, found `{text}`");
        let finding = Diagnostic::error(codes::BAD_ADDRESS, node.place, message);
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        findings.push(match (port, text.rsplit_once(':')) {
            (Some(port), None | Some(("" | "localhost", _))) => finding.hint(format!("write `127.0.0.1:{port}`")),
            (Some(port), Some(("*", _))) => finding.hint(format!("write `0.0.0.0:{port}`, or `[::]:{port}` for both IP versions")),
            (Some(_), Some(_)) => finding.hint("the host is an IP address, not a name"),
            (None, _) => finding.hint("write an IP address, a colon and a port"),
        });
        None
    }
}

/// An IANA time zone.
#[derive(Debug)]
pub(super) struct Zone;

scalar_schema!(Zone: { "type": "string", "examples": ["UTC", "Europe/Berlin"] });

impl Shape for Zone {
    type Value = String;

    fn read(node: &Node, findings: &mut Findings) -> Option<String> {
        let scalar = scalar(node, "a time zone such as `Europe/Berlin`", findings)?;
        let zones = jiff::tz::TimeZoneDatabase::bundled();
        if zones.get(&scalar.text).is_ok() {
            return Some(scalar.text.clone());
        }
        let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
        let finding = Diagnostic::error(codes::BAD_TIMEZONE, node.place, format!("`{}` is no time zone", scalar.text));
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        findings.push(match super::diagnostic::nearest(&scalar.text, &known) {
            Some(name) => finding.hint(format!("did you mean `{name}`?")),
            None => finding.hint("zones are named as in `UTC` or `Europe/Berlin`"),
        });
        None
    }
}

/// A setting whose only value in this version is `false`.
#[derive(Debug)]
pub(super) struct FalseYet;

scalar_schema!(FalseYet: { "const": false });

impl Shape for FalseYet {
    type Value = ();

    fn read(node: &Node, findings: &mut Findings) -> Option<()> {
        if Flag::read(node, findings)? {
            findings.push(not_yet(node.label, "`true` here"));
            return None;
        }
        Some(())
    }
}

/// A word of a closed list, and what it stands for.
macro_rules! words {
    ($(#[doc = $about:literal])* $name:ident: $type:ty { $($word:literal => $value:expr,)* } later [$($later:literal),*]) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        pub(in crate::config) struct $name;

        $crate::config::shapes::scalar_schema!($name: { "enum": [$($word),*] });

        impl $crate::config::decode::Shape for $name {
            type Value = $type;

            fn read(node: &$crate::config::tree::Node, findings: &mut $crate::config::decode::Findings) -> Option<$type> {
                match $crate::config::shapes::word(node, &[$($word),*], &[$($later),*], findings)? {
                    $($word => Some($value),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use words;

/// The word at a node when it is one of `known`; a finding with the nearest one otherwise.
pub(super) fn word<'a>(node: &'a Node, known: &[&str], later: &[&str], findings: &mut Findings) -> Option<&'a str> {
    let expected = super::diagnostic::listed(known);
    let text = scalar(node, &format!("one of {expected}"), findings)?.text.as_str();
    if known.contains(&text) {
        return Some(text);
    }
    if later.contains(&text) {
        findings.push(not_yet(node.place, &format!("`{text}`")));
    } else {
        let finding = Diagnostic::error(codes::UNKNOWN_WORD, node.place, format!("expected one of {expected}, found `{text}`"));
        findings.push(match super::diagnostic::nearest(text, known) {
            Some(name) => finding.hint(format!("did you mean `{name}`?")),
            None => finding,
        });
    }
    None
}
