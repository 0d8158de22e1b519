//! A record as a line of JSON, the same that serde writes, in a third of its time: every request pays for its line, and most of serde's
//! time goes into asking the names of our own fields for quotes.

use std::time::Duration;

use serde::Serialize;

use super::{AttemptRecord, Record, STAMP, UsageRecord};

/// Puts `,"name":` behind the line.
macro_rules! key {
    ($line:expr, $name:literal) => {
        $line.extend_from_slice(concat!(",\"", $name, "\":").as_bytes())
    };
}

/// Writes the record behind what `line` holds, without an end of line.
pub(super) fn write(record: &Record, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"request_id\":");
    text(line, &record.request_id);
    key!(line, "at");
    line.push(b'"');
    // Writing to memory does not fail, here and below.
    STAMP.print_timestamp(&record.at, &mut *line).ok();
    line.push(b'"');
    key!(line, "endpoint");
    word(line, record.endpoint.as_str());
    if let Some(rule) = &record.rule {
        key!(line, "rule");
        text(line, rule.as_str());
    }
    key!(line, "revision");
    text(line, &record.revision);
    asked(line, record);
    if let Some(target) = &record.target {
        key!(line, "target");
        text(line, target.as_str());
    }
    if let Some(model) = &record.served_model {
        key!(line, "served_model");
        text(line, model);
    }
    key!(line, "outcome");
    word(line, record.outcome.as_str());
    key!(line, "status");
    digits(line, record.status.into());
    if let Some(code) = &record.code {
        key!(line, "code");
        text(line, code);
    }
    key!(line, "attempts");
    line.push(b'[');
    for (index, one) in record.attempts.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        attempt(line, one);
    }
    line.push(b']');
    key!(line, "skipped");
    if record.skipped.is_empty() {
        line.extend_from_slice(b"[]");
    } else {
        by_serde(line, &record.skipped);
    }
    spent(line, record);
    key!(line, "duration_ms");
    millis(line, record.duration);
    key!(line, "own_ms");
    millis(line, record.own);
    line.push(b'}');
}

/// What was asked, and by whom.
fn asked(line: &mut Vec<u8>, record: &Record) {
    key!(line, "task");
    text(line, record.task.as_str());
    key!(line, "task_source");
    word(line, record.task_source);
    if let Some(confidence) = record.task_confidence {
        key!(line, "task_confidence");
        thousandths(line, confidence.thousandths().into());
    }
    if let Some(other) = &record.task_runner_up {
        key!(line, "task_runner_up");
        text(line, other.as_str());
    }
    if !record.task_signs.is_empty() {
        key!(line, "task_signs");
        line.push(b'[');
        for (index, sign) in record.task_signs.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            text(line, sign);
        }
        line.push(b']');
    }
    key!(line, "requested_model");
    text(line, &record.requested_model);
    key!(line, "stream");
    line.extend_from_slice(if record.stream { b"true" } else { b"false" });
    if let Some(caller) = &record.caller {
        key!(line, "caller");
        text(line, caller.as_str());
    }
    if !record.tags.is_empty() {
        key!(line, "tags");
        by_serde(line, &record.tags);
    }
    if !record.labels.is_empty() {
        key!(line, "labels");
        by_serde(line, &record.labels);
    }
}

/// Tokens, money and the time to the first of them.
fn spent(line: &mut Vec<u8>, record: &Record) {
    if let Some(estimate) = record.prompt_tokens_estimate {
        key!(line, "prompt_tokens_estimate");
        digits(line, estimate);
    }
    if let Some(UsageRecord { input, cache_read, cache_write, output, reasoning }) = record.usage {
        key!(line, "usage");
        line.extend_from_slice(b"{\"input\":");
        digits(line, input);
        key!(line, "cache_read");
        digits(line, cache_read);
        key!(line, "cache_write");
        digits(line, cache_write);
        key!(line, "output");
        digits(line, output);
        key!(line, "reasoning");
        digits(line, reasoning);
        line.push(b'}');
    }
    key!(line, "usage_source");
    word(line, record.usage_source.as_str());
    if let Some(cost) = record.cost_nano_usd {
        key!(line, "cost_nano_usd");
        line.extend_from_slice(itoa::Buffer::new().format(cost.nano()).as_bytes());
    }
    if let Some(ttft) = record.ttft {
        key!(line, "ttft_ms");
        millis(line, ttft);
    }
}

fn attempt(line: &mut Vec<u8>, attempt: &AttemptRecord) {
    line.extend_from_slice(b"{\"target\":");
    text(line, attempt.target.as_str());
    if let Some(fault) = attempt.fault {
        key!(line, "fault");
        word(line, fault);
    }
    if let Some(class) = attempt.class {
        key!(line, "class");
        word(line, class);
    }
    key!(line, "phase");
    word(line, attempt.phase);
    if let Some(status) = attempt.status {
        key!(line, "status");
        digits(line, status.into());
    }
    key!(line, "duration_ms");
    millis(line, attempt.duration);
    line.push(b'}');
}

/// A text from outside.
fn text(line: &mut Vec<u8>, text: &str) {
    // Summed up, not looked for: the compiler makes vector instructions of it.
    let marks = text.bytes().fold(0, |marks, b| marks | u8::from(b < 0x20 || b == b'"' || b == b'\\'));
    if marks == 0 { word(line, text) } else { by_serde(line, text) }
}

/// A text that holds nothing to be escaped.
fn word(line: &mut Vec<u8>, word: &str) {
    line.push(b'"');
    line.extend_from_slice(word.as_bytes());
    line.push(b'"');
}

fn digits(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Milliseconds with up to three decimals.
fn millis(line: &mut Vec<u8>, duration: Duration) {
    thousandths(line, u64::try_from((duration.as_nanos() + 500) / 1_000).unwrap_or(u64::MAX));
}

/// As a decimal fraction without zeros at its end, but for the first.
fn thousandths(line: &mut Vec<u8>, number: u64) {
    digits(line, number / 1_000);
    line.push(b'.');
    let count = match number {
        _ if !number.is_multiple_of(10) => 3,
        _ if !number.is_multiple_of(100) => 2,
        _ => 1,
    };
    // The one in front keeps the zeros behind it.
    line.extend_from_slice(&itoa::Buffer::new().format(1_000 + number % 1_000).as_bytes()[1..=count]);
}

fn by_serde(line: &mut Vec<u8>, part: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(line, part).ok();
}
