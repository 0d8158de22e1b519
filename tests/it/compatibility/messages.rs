//! Anthropic messages, as a client and as a provider.

use serde_json::{Value, json};

use super::story::{Answer, Asked, Streamed, Tool, ToolCall, finish, list, string, text_of};
use crate::support::Got;

const FINISHES: [(&str, &str); 2] = [("end_turn", "stop"), ("tool_use", "tool_calls")];

pub(super) fn ask(asked: &Asked, model: &str) -> Value {
    let said = match &asked.image {
        None => json!(asked.said),
        Some(data) => {
            json!([{ "type": "text", "text": asked.said }, { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": data } }])
        }
    };
    let mut messages = vec![json!({ "role": "user", "content": said })];
    if !asked.calls.is_empty() {
        messages.push(json!({ "role": "assistant", "content": asked.calls.iter().map(call).collect::<Vec<_>>() }));
        let result = |(id, text): &(String, String)| json!({ "type": "tool_result", "tool_use_id": id, "content": text });
        messages.push(json!({ "role": "user", "content": asked.results.iter().map(result).collect::<Vec<_>>() }));
    }
    let mut body =
        json!({ "model": model, "max_tokens": 16_000, "system": asked.system, "messages": messages, "stream": asked.is_streaming });
    if !asked.tools.is_empty() {
        body["tools"] = asked.tools.iter().map(|tool| json!({ "name": tool.name, "input_schema": tool.schema })).collect();
    }
    if let Some(schema) = &asked.schema {
        body["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema } });
    }
    if asked.thinks {
        body["thinking"] = json!({ "type": "enabled", "budget_tokens": 8_000 });
    }
    body
}

pub(super) fn read(body: &Value) -> Asked {
    let blocks: Vec<&Value> = list(&body["messages"]).iter().flat_map(|message| list(&message["content"])).collect();
    let of = |kind: &'static str| blocks.iter().filter(move |block| block["type"] == kind);
    let picture = of("image").find(|block| block["source"]["type"] == "base64" && block["source"]["media_type"] == "image/png");
    Asked {
        system: text_of(&body["system"]),
        said: text_of(&body["messages"][0]["content"]),
        image: picture.map(|block| string(&block["source"]["data"])),
        tools: list(&body["tools"]).iter().map(|tool| Tool { name: string(&tool["name"]), schema: tool["input_schema"].clone() }).collect(),
        calls: of("tool_use").map(|block| called(block)).collect(),
        results: of("tool_result").map(|block| (string(&block["tool_use_id"]), text_of(&block["content"]))).collect(),
        schema: body["output_config"]["format"].get("schema").cloned(),
        thinks: ["enabled", "adaptive"].iter().any(|kind| body["thinking"]["type"] == *kind),
        is_streaming: body["stream"] == true,
    }
}

fn call(call: &ToolCall) -> Value {
    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments })
}

fn called(block: &Value) -> ToolCall {
    ToolCall { id: string(&block["id"]), name: string(&block["name"]), arguments: block["input"].clone() }
}

fn stop_reason(answer: &Answer) -> &'static str {
    FINISHES.iter().find(|(_, finish)| *finish == answer.finish).unwrap().0
}

pub(super) fn whole(answer: &Answer) -> Value {
    let mut content = Vec::new();
    if !answer.reasoning.is_empty() {
        content.push(json!({ "type": "thinking", "thinking": answer.reasoning, "signature": "U0lH" }));
    }
    if !answer.text.is_empty() {
        content.push(json!({ "type": "text", "text": answer.text }));
    }
    content.extend(answer.calls.iter().map(call));
    json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": stop_reason(answer),
        "stop_sequence": null, "usage": { "input_tokens": answer.input, "output_tokens": answer.output } })
}

/// The events up to the last content, and those that end the stream.
pub(super) fn events(answer: &Answer) -> [Vec<String>; 2] {
    let mut content =
        vec![json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": answer.input, "output_tokens": 1 } } })];
    let mut blocks: Vec<(Value, Vec<Value>)> = Vec::new();
    if !answer.reasoning.is_empty() {
        let deltas = vec![
            json!({ "type": "thinking_delta", "thinking": answer.reasoning }),
            json!({ "type": "signature_delta", "signature": "U0lH" }),
        ];
        blocks.push((json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas));
    }
    if !answer.text.is_empty() {
        let deltas = answer.pieces().into_iter().map(|piece| json!({ "type": "text_delta", "text": piece })).collect();
        blocks.push((json!({ "type": "text", "text": "" }), deltas));
    }
    for call in &answer.calls {
        let text = call.arguments.to_string();
        let (first, second) = text.split_at(5);
        let deltas = [first, second].map(|piece| json!({ "type": "input_json_delta", "partial_json": piece })).to_vec();
        blocks.push((json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": {} }), deltas));
    }
    let last = blocks.len() - 1;
    for (index, (block, deltas)) in blocks.into_iter().enumerate() {
        content.push(json!({ "type": "content_block_start", "index": index, "content_block": block }));
        content.extend(deltas.into_iter().map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })));
        if index != last {
            content.push(json!({ "type": "content_block_stop", "index": index }));
        }
    }
    let end = vec![
        json!({ "type": "content_block_stop", "index": last }),
        json!({ "type": "message_delta", "delta": { "stop_reason": stop_reason(answer), "stop_sequence": null }, "usage": { "output_tokens": answer.output } }),
        json!({ "type": "message_stop" }),
    ];
    [content, end].map(|events| events.iter().map(told).collect())
}

fn told(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", string(&event["type"]))
}

pub(super) fn answered(got: &Got) -> Answer {
    let body = got.json();
    let of = |kind: &'static str| list(&body["content"]).iter().filter(move |block| block["type"] == kind);
    Answer {
        text: of("text").map(|block| string(&block["text"])).collect(),
        reasoning: of("thinking").map(|block| string(&block["thinking"])).collect(),
        calls: of("tool_use").map(called).collect(),
        finish: finish(&body["stop_reason"], &FINISHES),
        input: body["usage"]["input_tokens"].as_u64().unwrap_or_default(),
        output: body["usage"]["output_tokens"].as_u64().unwrap_or_default(),
    }
}

pub(super) fn streamed(got: &Got) -> Streamed {
    let mut all = Streamed::default();
    let mut arguments: Vec<String> = Vec::new();
    for event in got.events() {
        let answer = &mut all.answer;
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => answer.input = event["message"]["usage"]["input_tokens"].as_u64().unwrap_or_default(),
            "content_block_start" if event["content_block"]["type"] == "tool_use" => {
                answer.calls.push(called(&event["content_block"]));
                arguments.push(String::new());
            }
            "content_block_delta" => {
                answer.text += &string(&event["delta"]["text"]);
                answer.reasoning += &string(&event["delta"]["thinking"]);
                if let Some(last) = arguments.last_mut() {
                    *last += &string(&event["delta"]["partial_json"]);
                }
            }
            "message_delta" => {
                answer.finish = finish(&event["delta"]["stop_reason"], &FINISHES);
                answer.output = event["usage"]["output_tokens"].as_u64().unwrap_or_default();
                answer.input = event["usage"]["input_tokens"].as_u64().unwrap_or(answer.input);
            }
            "message_stop" => all.is_complete = true,
            "error" => all.has_error = event["error"]["type"].is_string() && event["error"]["message"].is_string(),
            _ => {}
        }
    }
    for (call, text) in all.answer.calls.iter_mut().zip(&arguments) {
        call.arguments = serde_json::from_str(text).unwrap_or_default();
    }
    all
}
