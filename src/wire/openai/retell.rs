//! Any answer as a chat completion.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::units::Usage;
use crate::wire::canonical::{Assembly, End, ToolCall, raw_text, unwrapped};
use crate::wire::reading::Finish;
use crate::wire::retell::{Spoken, call_id};

/// Writes a whole answer.
pub(in crate::wire) fn retell(answer: &Assembly, end: End, of: &Spoken<'_>) -> Bytes {
    let (text, refusal, reasoning) = (answer.text(), answer.refusal(), answer.reasoning());
    let calls: Vec<Value> = answer.calls().enumerate().map(|(index, call)| call_of(call, index, of)).collect();
    let some = |text: String| (!text.is_empty()).then_some(text);
    let mut message = json!({ "role": "assistant", "content": some(text), "refusal": some(refusal) });
    if let Some(reasoning) = some(reasoning) {
        message["reasoning_content"] = reasoning.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let body = json!({
        "id": of.id,
        "object": "chat.completion",
        "created": of.created,
        "model": of.model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(end.finish) }],
    });
    let body = body.to_string();
    let text = match end.usage {
        Some(told) => format!("{},\"usage\":{}}}", &body[..body.len() - 1], told_usage(&told, end.cost).get()),
        None => body,
    };
    Bytes::from(text)
}

fn call_of(call: &ToolCall, index: usize, of: &Spoken<'_>) -> Value {
    let name = of.names.own(&call.name);
    if of.names.is_free(name) {
        let custom = json!({ "name": name, "input": unwrapped(&call.arguments) });
        return json!({ "id": call_id(&call.id, of.id, index), "type": "custom", "custom": custom });
    }
    let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
    let mut told = json!({
        "id": call_id(&call.id, of.id, index),
        "type": "function",
        "function": { "name": name, "arguments": arguments },
    });
    if let Some(signature) = &call.signature {
        told["extra_content"] = json!({ "google": { "thought_signature": signature } });
    }
    told
}

pub(super) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Error => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

/// The usage as the format has it. A cost is put in as text, because an amount of money is never a float.
pub(in crate::wire) fn told_usage(usage: &Usage, cost: Option<crate::units::Usd>) -> Box<RawValue> {
    let counts = json!({
        "prompt_tokens": usage.input_total().count(),
        "completion_tokens": usage.output.count(),
        "total_tokens": usage.total().count(),
        "prompt_tokens_details": { "cached_tokens": usage.cache_read.count(), "cache_write_tokens": usage.cache_write.count() },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning.count() },
    });
    let counts = counts.to_string();
    let text = match cost {
        Some(cost) => counts.replacen('{', &format!("{{\"cost\":{},", cost.plain()), 1),
        None => counts,
    };
    raw_text(&text).unwrap_or_default()
}
