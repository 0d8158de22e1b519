//! The sandbox's answers in the words of the Responses API.

use bytes::Bytes;
use serde_json::{Value, json};

use super::shapes::{Call, Event, Saying, joined, message_text};

/// What of a request its answer says again, and what stands there where it said nothing.
const ECHOED: [(&str, &str); 10] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_p", "1.0"),
];

/// The text of the last item.
pub(super) fn last_text(body: &Value) -> String {
    let input = &body["input"];
    input.as_array().map_or_else(|| joined(input), |items| items.last().map(item_text).unwrap_or_default())
}

/// All text that a model would have read.
pub(super) fn prompt_text(body: &Value) -> String {
    let input = &body["input"];
    let items: Vec<String> = input.as_array().map_or_else(|| vec![joined(input)], |items| items.iter().map(item_text).collect());
    std::iter::once(joined(&body["instructions"])).chain(items).collect::<Vec<_>>().join("\n")
}

fn item_text(item: &Value) -> String {
    match &item["output"] {
        Value::String(text) => text.clone(),
        _ => message_text(item),
    }
}

/// The whole answer in one body.
pub(super) fn answer(call: &Call<'_>, saying: &Saying, created: i64) -> Value {
    body(call, saying, created, true)
}

/// The same answer as the events of a stream.
pub(super) fn events(call: &Call<'_>, saying: &Saying, created: i64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tell = |kind: &str, word: Option<usize>, mut event: Value| {
        event["type"] = kind.into();
        event["sequence_number"] = events.len().into();
        events.push(Event { word, bytes: Bytes::from(format!("event: {kind}\ndata: {event}\n\n")) });
    };
    let (id, text) = (message_id(call), saying.words.concat());
    let begun = body(call, saying, created, false);
    tell("response.created", None, json!({ "response": begun }));
    tell("response.in_progress", None, json!({ "response": begun }));
    let empty = json!({ "id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": [] });
    tell("response.output_item.added", None, json!({ "output_index": 0, "item": empty }));
    let place = |more: Value| {
        let mut place = json!({ "item_id": id, "output_index": 0, "content_index": 0 });
        for (name, value) in more.as_object().into_iter().flatten() {
            place[name] = value.clone();
        }
        place
    };
    tell("response.content_part.added", None, place(json!({ "part": part("") })));
    for (word, said) in saying.words.iter().enumerate() {
        tell("response.output_text.delta", Some(word), place(json!({ "delta": said, "logprobs": [] })));
    }
    tell("response.output_text.done", None, place(json!({ "text": text, "logprobs": [] })));
    tell("response.content_part.done", None, place(json!({ "part": part(&text) })));
    tell("response.output_item.done", None, json!({ "output_index": 0, "item": item(call, saying) }));
    let kind = if saying.is_cut { "response.incomplete" } else { "response.completed" };
    tell(kind, None, json!({ "response": body(call, saying, created, true) }));
    events
}

fn body(call: &Call<'_>, saying: &Saying, created: i64, is_done: bool) -> Value {
    let status = if is_done { status(saying) } else { "in_progress" };
    let details = (is_done && saying.is_cut).then(|| json!({ "reason": "max_output_tokens" }));
    let output: Vec<Value> = is_done.then(|| item(call, saying)).into_iter().collect();
    let (input, written) = (saying.input.count(), saying.output.count());
    let usage = json!({
        "input_tokens": input, "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
        "output_tokens": written, "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": input + written,
    });
    let mut body = json!({
        "id": format!("resp_sandbox_{}", call.number), "object": "response", "created_at": created, "status": status, "error": null,
        "incomplete_details": details, "model": call.model, "output": output, "previous_response_id": null, "store": false,
        "truncation": "disabled", "usage": is_done.then_some(usage),
    });
    for (name, default) in ECHOED {
        let said = call.body.get(name).filter(|value| !value.is_null()).cloned();
        body[name] = said.or_else(|| serde_json::from_str(default).ok()).unwrap_or_default();
    }
    // What a request may leave out of a function, and an answer may not.
    for tool in body["tools"].as_array_mut().into_iter().flatten().filter(|tool| tool["type"] == "function") {
        for name in ["parameters", "strict"] {
            tool[name] = tool[name].take();
        }
    }
    body
}

fn item(call: &Call<'_>, saying: &Saying) -> Value {
    let content = [part(&saying.words.concat())];
    json!({ "id": message_id(call), "type": "message", "status": status(saying), "role": "assistant", "content": content })
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn status(saying: &Saying) -> &'static str {
    if saying.is_cut { "incomplete" } else { "completed" }
}

fn message_id(call: &Call<'_>) -> String {
    format!("msg_sandbox_{}", call.number)
}
