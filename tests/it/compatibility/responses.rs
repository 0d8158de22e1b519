//! OpenAI responses, as a client and as a provider.

use serde_json::{Value, json};

use super::story::{Answer, Asked, Streamed, Tool, ToolCall, inner, list, string, text_of};
use crate::support::Got;

pub(super) fn ask(asked: &Asked, model: &str) -> Value {
    let mut content = vec![json!({ "type": "input_text", "text": asked.said })];
    content.extend(
        asked
            .image
            .iter()
            .map(|data| json!({ "type": "input_image", "detail": "auto", "image_url": format!("data:image/png;base64,{data}") })),
    );
    let mut input = vec![json!({ "type": "message", "role": "user", "content": content })];
    input.extend(asked.calls.iter().map(call));
    input.extend(asked.results.iter().map(|(id, text)| json!({ "type": "function_call_output", "call_id": id, "output": text })));
    let mut body = json!({ "model": model, "instructions": asked.system, "input": input, "store": false });
    if !asked.tools.is_empty() {
        let told = |tool: &Tool| json!({ "type": "function", "name": tool.name, "parameters": tool.schema, "strict": true });
        body["tools"] = asked.tools.iter().map(told).collect();
    }
    if let Some(schema) = &asked.schema {
        body["text"] = json!({ "format": { "type": "json_schema", "name": "output", "strict": true, "schema": schema } });
    }
    if asked.thinks {
        body["reasoning"] = json!({ "effort": "medium", "summary": "auto" });
    }
    if asked.is_streaming {
        body["stream"] = true.into();
    }
    body
}

pub(super) fn read(body: &Value) -> Asked {
    let items = list(&body["input"]);
    let of = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
    let says = |role: &'static str| items.iter().filter(move |item| item["role"] == role).map(|item| text_of(&item["content"]));
    let user = items.iter().find(|item| item["role"] == "user").cloned().unwrap_or_default();
    let image = list(&user["content"]).iter().find_map(|part| part["image_url"].as_str()?.strip_prefix("data:image/png;base64,"));
    let alone = string(&body["input"]);
    Asked {
        system: [string(&body["instructions"])].into_iter().chain(says("system")).chain(says("developer")).collect(),
        said: [alone].into_iter().chain(says("user")).collect(),
        image: image.map(str::to_owned),
        tools: list(&body["tools"]).iter().map(|tool| Tool { name: string(&tool["name"]), schema: tool["parameters"].clone() }).collect(),
        calls: of("function_call").map(called).collect(),
        results: of("function_call_output").map(|item| (string(&item["call_id"]), text_of(&item["output"]))).collect(),
        schema: body["text"]["format"].get("schema").cloned(),
        thinks: body["reasoning"]["effort"] == "medium",
        is_streaming: body["stream"] == true,
    }
}

fn call(call: &ToolCall) -> Value {
    json!({ "type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments.to_string() })
}

fn called(item: &Value) -> ToolCall {
    ToolCall { id: string(&item["call_id"]), name: string(&item["name"]), arguments: inner(&item["arguments"]) }
}

fn response(status: &str, output: &[Value], usage: &Value) -> Value {
    json!({ "id": "resp_1", "object": "response", "created_at": 1, "status": status, "error": null, "incomplete_details": null, "model": "m",
        "instructions": null, "metadata": {}, "output": output, "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "usage": usage, "max_output_tokens": null, "previous_response_id": null, "text": { "format": { "type": "text" } },
        "reasoning": { "effort": null, "summary": null }, "truncation": "disabled", "store": false })
}

fn usage(answer: &Answer) -> Value {
    json!({ "input_tokens": answer.input, "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 }, "output_tokens": answer.output,
        "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": answer.input + answer.output })
}

fn items(answer: &Answer) -> Vec<Value> {
    let mut output = Vec::new();
    if !answer.reasoning.is_empty() {
        output.push(json!({ "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": answer.reasoning }] }));
    }
    if !answer.text.is_empty() {
        output.push(json!({ "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{ "type": "output_text", "text": answer.text, "annotations": [], "logprobs": [] }] }));
    }
    for each in &answer.calls {
        let mut item = call(each);
        item["id"] = format!("fc_{}", each.id).into();
        item["status"] = "completed".into();
        output.push(item);
    }
    output
}

pub(super) fn whole(answer: &Answer) -> Value {
    response("completed", &items(answer), &usage(answer))
}

/// The events up to the last content, and those that end the stream.
pub(super) fn events(answer: &Answer) -> [Vec<String>; 2] {
    let begun = response("in_progress", &[], &Value::Null);
    let mut content =
        vec![json!({ "type": "response.created", "response": begun }), json!({ "type": "response.in_progress", "response": begun })];
    let mut end = Vec::new();
    for (index, item) in items(answer).into_iter().enumerate() {
        content.append(&mut end);
        let (id, mut empty) = (item["id"].clone(), item.clone());
        let told = |kind: &str, more: Value| {
            let mut event = json!({ "type": kind, "item_id": id, "output_index": index });
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        match item["type"].as_str().unwrap() {
            "reasoning" => {
                empty["summary"] = json!([]);
                content.push(json!({ "type": "response.output_item.added", "output_index": index, "item": empty }));
                let (part, text) = (item["summary"][0].clone(), item["summary"][0]["text"].clone());
                let none = json!({ "type": "summary_text", "text": "" });
                content.push(told("response.reasoning_summary_part.added", json!({ "summary_index": 0, "part": none })));
                content.push(told("response.reasoning_summary_text.delta", json!({ "summary_index": 0, "delta": text })));
                end.push(told("response.reasoning_summary_text.done", json!({ "summary_index": 0, "text": text })));
                end.push(told("response.reasoning_summary_part.done", json!({ "summary_index": 0, "part": part })));
            }
            "message" => {
                empty["content"] = json!([]);
                empty["status"] = "in_progress".into();
                content.push(json!({ "type": "response.output_item.added", "output_index": index, "item": empty }));
                let none = json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] });
                content.push(told("response.content_part.added", json!({ "content_index": 0, "part": none })));
                for piece in answer.pieces() {
                    content.push(told("response.output_text.delta", json!({ "content_index": 0, "delta": piece, "logprobs": [] })));
                }
                end.push(told("response.output_text.done", json!({ "content_index": 0, "text": answer.text, "logprobs": [] })));
                end.push(told("response.content_part.done", json!({ "content_index": 0, "part": item["content"][0] })));
            }
            _ => {
                empty["arguments"] = "".into();
                empty["status"] = "in_progress".into();
                content.push(json!({ "type": "response.output_item.added", "output_index": index, "item": empty }));
                let text = string(&item["arguments"]);
                let (first, second) = text.split_at(5);
                content.push(told("response.function_call_arguments.delta", json!({ "delta": first })));
                content.push(told("response.function_call_arguments.delta", json!({ "delta": second })));
                end.push(told("response.function_call_arguments.done", json!({ "name": item["name"], "arguments": text })));
            }
        }
        end.push(json!({ "type": "response.output_item.done", "output_index": index, "item": item }));
    }
    end.push(json!({ "type": "response.completed", "response": whole(answer) }));
    let mut number = 0;
    [content, end].map(|events| {
        let mut told = Vec::new();
        for mut event in events {
            event["sequence_number"] = number.into();
            number += 1;
            told.push(format!("event: {}\ndata: {event}\n\n", string(&event["type"])));
        }
        told
    })
}

fn of_response(body: &Value) -> Answer {
    let items = list(&body["output"]);
    let of = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
    let calls: Vec<ToolCall> = of("function_call").map(called).collect();
    Answer {
        text: of("message").map(|item| text_of(&item["content"])).collect(),
        reasoning: of("reasoning").map(|item| [&item["summary"], &item["content"]].map(text_of).concat()).collect(),
        finish: if body["status"] != "completed" {
            "something else"
        } else if calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        },
        calls,
        input: body["usage"]["input_tokens"].as_u64().unwrap_or_default(),
        output: body["usage"]["output_tokens"].as_u64().unwrap_or_default(),
    }
}

pub(super) fn answered(got: &Got) -> Answer {
    of_response(&got.json())
}

/// What the deltas say must be what the response at the end says.
pub(super) fn streamed(got: &Got) -> Streamed {
    let mut all = Streamed::default();
    let (mut text, mut calls) = (String::new(), Vec::<String>::new());
    for (number, event) in got.events().iter().enumerate() {
        if event["sequence_number"] != number {
            return Streamed::default();
        }
        match event["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" => text += &string(&event["delta"]),
            "response.output_item.added" if event["item"]["type"] == "function_call" => calls.push(String::new()),
            "response.function_call_arguments.delta" => *calls.last_mut().unwrap() += &string(&event["delta"]),
            "response.completed" => {
                all.answer = of_response(&event["response"]);
                let same = all.answer.calls.iter().map(|call| call.arguments.clone());
                all.is_complete =
                    all.answer.text == text && same.eq(calls.iter().map(|text| serde_json::from_str::<Value>(text).unwrap_or_default()));
            }
            "error" | "response.failed" => all.has_error = true,
            _ => {}
        }
    }
    if !all.is_complete {
        all.answer.text = text;
    }
    all
}
