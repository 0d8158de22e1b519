//! Texts without turns: OpenAI's completions and embeddings, as a client and as a provider.

use serde_json::{Value, json};

use super::story::{Answer, Asked, Streamed, finish, string};
use crate::support::Got;

/// What every text comes to.
pub(super) const VECTOR: &str = "[0.25,-0.5,1.0]";

pub(super) fn ask_completion(asked: &Asked, model: &str) -> Value {
    let mut body = json!({ "model": model, "prompt": asked.said });
    if asked.is_streaming {
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": true });
    }
    body
}

pub(super) fn read_completion(body: &Value) -> Asked {
    Asked { said: string(&body["prompt"]), is_streaming: body["stream"] == true, ..Asked::default() }
}

fn completion(text: &str, finish: Option<&str>, usage: &Value) -> Value {
    json!({ "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "usage": usage,
        "choices": [{ "text": text, "index": 0, "logprobs": null, "finish_reason": finish }] })
}

fn usage(answer: &Answer) -> Value {
    json!({ "prompt_tokens": answer.input, "completion_tokens": answer.output, "total_tokens": answer.input + answer.output })
}

pub(super) fn whole_completion(answer: &Answer) -> Value {
    completion(&answer.text, Some("stop"), &usage(answer))
}

/// The events up to the last content, and those that end the stream.
pub(super) fn completion_events(answer: &Answer) -> [Vec<String>; 2] {
    let event = |value: &Value| format!("data: {value}\n\n");
    let content = answer.pieces().into_iter().map(|piece| event(&completion(piece, None, &Value::Null))).collect();
    let mut last = completion("", None, &usage(answer));
    last["choices"] = json!([]);
    [content, vec![event(&completion("", Some("stop"), &Value::Null)), event(&last), "data: [DONE]\n\n".into()]]
}

pub(super) fn completed(got: &Got) -> Answer {
    let body = got.json();
    Answer {
        text: string(&body["choices"][0]["text"]),
        finish: finish(&body["choices"][0]["finish_reason"], &[("stop", "stop")]),
        input: body["usage"]["prompt_tokens"].as_u64().unwrap_or_default(),
        output: body["usage"]["completion_tokens"].as_u64().unwrap_or_default(),
        ..Answer::default()
    }
}

pub(super) fn streamed_completion(got: &Got) -> Streamed {
    let mut all = Streamed { is_complete: got.is_done(), ..Streamed::default() };
    for event in got.events() {
        all.has_error |= event["error"]["message"].is_string() && event["error"].get("code").is_some();
        all.answer.text += &string(&event["choices"][0]["text"]);
        if !event["choices"][0]["finish_reason"].is_null() {
            all.answer.finish = finish(&event["choices"][0]["finish_reason"], &[("stop", "stop")]);
        }
        if event["usage"].is_object() {
            all.answer.input = event["usage"]["prompt_tokens"].as_u64().unwrap_or_default();
            all.answer.output = event["usage"]["completion_tokens"].as_u64().unwrap_or_default();
        }
    }
    all
}

pub(super) fn ask_embedding(asked: &Asked, model: &str) -> Value {
    json!({ "model": model, "input": asked.said })
}

pub(super) fn read_embedding(body: &Value) -> Asked {
    Asked { said: string(&body["input"]), ..Asked::default() }
}

pub(super) fn whole_embedding(answer: &Answer) -> Value {
    let vector: Value = serde_json::from_str(&answer.text).unwrap();
    json!({ "object": "list", "model": "m", "data": [{ "object": "embedding", "index": 0, "embedding": vector }],
        "usage": { "prompt_tokens": answer.input, "total_tokens": answer.input } })
}

/// The same as Gemini has it.
pub(super) fn read_batch(body: &Value) -> Asked {
    Asked { said: string(&body["requests"][0]["content"]["parts"][0]["text"]), ..Asked::default() }
}

pub(super) fn whole_batch(answer: &Answer) -> Value {
    let vector: Value = serde_json::from_str(&answer.text).unwrap();
    json!({ "embeddings": [{ "values": vector }], "usageMetadata": { "promptTokenCount": answer.input } })
}

pub(super) fn embedded(got: &Got) -> Answer {
    let body = got.json();
    let input = body["usage"]["prompt_tokens"].as_u64().unwrap_or_default();
    Answer { text: body["data"][0]["embedding"].to_string(), finish: "stop", input, ..Answer::default() }
}
