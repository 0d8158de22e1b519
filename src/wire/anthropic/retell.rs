//! Any answer as an Anthropic one.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::units::Usage;
use crate::wire::canonical::{Assembly, End, Said, raw, raw_text};
use crate::wire::reading::Finish;
use crate::wire::retell::{Spoken, call_id, signature};

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Box<RawValue>>,
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    usage: Box<RawValue>,
}

#[derive(Serialize)]
struct ToolUse<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    name: &'a str,
    input: Box<RawValue>,
}

/// Writes a whole answer.
pub(in crate::wire) fn retell(answer: &Assembly, end: End, of: &Spoken<'_>) -> Bytes {
    let message = Message {
        id: of.id,
        kind: "message",
        role: "assistant",
        model: of.model,
        content: answer.parts.iter().enumerate().map(|(index, part)| block(part, index, of)).collect(),
        stop_reason: stop_reason(end.finish, answer.sequence.is_some(), !answer.refusal().is_empty()),
        stop_sequence: answer.sequence.as_deref(),
        usage: usage(end),
    };
    serde_json::to_vec(&message).unwrap_or_default().into()
}

fn block(part: &Said, index: usize, of: &Spoken<'_>) -> Box<RawValue> {
    match part {
        Said::Text(text) | Said::Refusal(text) => raw(&json!({ "type": "text", "text": text })),
        Said::Reasoning { text, .. } => raw(&json!({ "type": "thinking", "thinking": text, "signature": signature(text) })),
        Said::Redacted(data) => raw(&json!({ "type": "redacted_thinking", "data": data })),
        Said::Call { call, .. } => {
            let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.trim() };
            let input = raw_text(arguments).filter(|_| arguments.starts_with('{'));
            raw(&ToolUse {
                kind: "tool_use",
                id: call_id(&call.id, of.id, index),
                name: of.names.own(&call.name),
                input: input.unwrap_or_else(|| raw(&json!({ "arguments": call.arguments }))),
            })
        }
    }
}

pub(super) fn stop_reason(finish: Finish, has_sequence: bool, is_refused: bool) -> &'static str {
    match finish {
        Finish::Stop | Finish::Error if is_refused => "refusal",
        Finish::Stop if has_sequence => "stop_sequence",
        Finish::Stop | Finish::Error => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter => "refusal",
    }
}

/// The usage in the format's own split: the cached part stands beside the rest, not in it.
pub(super) fn counts(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input_uncached.count(),
        "cache_creation_input_tokens": usage.cache_write.count(),
        "cache_read_input_tokens": usage.cache_read.count(),
        "output_tokens": usage.output.count(),
    })
}

/// With the cost put in as text, because an amount of money is never a float.
pub(super) fn usage(end: End) -> Box<RawValue> {
    let counts = counts(&end.usage.unwrap_or_default()).to_string();
    let text = match end.cost {
        Some(cost) => counts.replacen('{', &format!("{{\"cost\":{},", cost.plain()), 1),
        None => counts,
    };
    raw_text(&text).unwrap_or_default()
}
