use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;

const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_hours(1);

/// How long the provider asks to wait, from the first of its words that can be read; 1 s to 1 h.
pub(super) fn read(headers: &HeaderMap, json: &Value, message: Option<&str>) -> Option<Duration> {
    let now = header(headers, "date").and_then(date);
    let wait = || {
        header(headers, "retry-after-ms")
            .and_then(|text| scaled(text, 1))
            .or_else(|| header(headers, "retry-after").and_then(|text| scaled(text, 1_000).or_else(|| until(date(text)?, now?))))
            .or_else(|| body(json, now))
            .or_else(|| message.and_then(in_words))
            .or_else(|| reset(headers, now))
    };
    // A quota of the day does not come back when the short delay beside it says so.
    let wait = if names_daily_quota(json, 0) { Some(MOST) } else { wait() };
    wait.filter(|wait| !wait.is_zero()).map(|wait| wait.clamp(LEAST, MOST))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A date as HTTP writes it.
fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

fn until(then: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(then.duration_since(now)).ok().filter(|wait| !wait.is_zero())
}

/// A plain decimal number of units of so many milliseconds; zero and below are no answer.
fn scaled(text: &str, unit_ms: u64) -> Option<Duration> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) || whole.is_empty() {
        return None;
    }
    // What does not fit is longer than any wait that is kept.
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let micros_of_part: u64 = format!("{part:0<6}")[..6].parse().ok()?;
    let micros = whole.saturating_mul(unit_ms * 1_000).saturating_add(micros_of_part.saturating_mul(unit_ms) / 1_000);
    (micros > 0).then(|| Duration::from_micros(micros))
}

/// `2.35s`, `6m0s`, `12ms`, `1h2m`, or a plain number of seconds.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Some(wait) = scaled(rest, 1_000) {
        return Some(wait);
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = sum.saturating_add(scaled(number, unit_ms).unwrap_or_default());
        rest = tail;
    }
    (!sum.is_zero()).then_some(sum)
}

/// A delay in the body: Google's `retryDelay`, or the reset header that an aggregator hands on.
fn body(json: &Value, now: Option<Timestamp>) -> Option<Duration> {
    if let Some(delay) = find(json, "retryDelay", 0) {
        return span(delay.as_str()?);
    }
    let reset = find(json, "X-RateLimit-Reset", 0)?;
    let ms: i64 = reset.as_i64().or_else(|| reset.as_str()?.parse().ok())?;
    until(Timestamp::from_millisecond(ms).ok()?, now?)
}

/// `Please try again in 2.35s.`, `Please retry after 8 seconds.`
fn in_words(message: &str) -> Option<Duration> {
    let text = message.to_lowercase();
    let (_, behind) = text.split_once("try again in ").or_else(|| text.split_once("retry after "))?;
    let mut words = behind.split_whitespace();
    let amount = words.next()?.trim_end_matches(['.', ',']);
    let unit_ms = match words.next().unwrap_or_default() {
        unit if unit.starts_with("millisecond") => 1,
        unit if unit.starts_with("minute") => 60_000,
        unit if unit.starts_with("hour") => 3_600_000,
        unit if unit.starts_with("second") => 1_000,
        _ => return span(amount),
    };
    scaled(amount, unit_ms)
}

/// The reset header of a dimension of which nothing remains; the latest of several.
fn reset(headers: &HeaderMap, now: Option<Timestamp>) -> Option<Duration> {
    let spent = headers.iter().filter(|(name, value)| name.as_str().contains("remaining") && value.as_bytes() == b"0");
    spent
        .filter_map(|(name, _)| {
            let text = header(headers, &name.as_str().replace("remaining", "reset"))?;
            span(text).or_else(|| until(text.parse().ok()?, now?))
        })
        .max()
}

fn names_daily_quota(json: &Value, depth: u8) -> bool {
    find(json, "violations", depth).and_then(Value::as_array).is_some_and(|list| {
        list.iter().any(|violation| violation.get("quotaId").and_then(Value::as_str).is_some_and(|id| id.contains("PerDay")))
    })
}

fn find<'a>(json: &'a Value, key: &str, depth: u8) -> Option<&'a Value> {
    if depth > 8 {
        return None;
    }
    match json {
        Value::Array(list) => list.iter().find_map(|item| find(item, key, depth + 1)),
        Value::Object(fields) => fields.get(key).or_else(|| fields.values().find_map(|value| find(value, key, depth + 1))),
        _ => None,
    }
}
