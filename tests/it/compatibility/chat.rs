//! OpenAI chat completions, as a client and as a provider.

use serde_json::{Value, json};

use super::story::{Answer, Asked, Streamed, Tool, ToolCall, finish, inner, list, string, text_of};
use crate::support::Got;

const FINISHES: [(&str, &str); 2] = [("stop", "stop"), ("tool_calls", "tool_calls")];

pub(super) fn ask(asked: &Asked, model: &str) -> Value {
    let said = match &asked.image {
        None => json!(asked.said),
        Some(data) => {
            json!([{ "type": "text", "text": asked.said }, { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{data}") } }])
        }
    };
    let mut messages = vec![json!({ "role": "system", "content": asked.system }), json!({ "role": "user", "content": said })];
    if !asked.calls.is_empty() {
        messages.push(json!({ "role": "assistant", "content": null, "tool_calls": asked.calls.iter().map(call).collect::<Vec<_>>() }));
    }
    messages.extend(asked.results.iter().map(|(id, text)| json!({ "role": "tool", "tool_call_id": id, "content": text })));
    let mut body = json!({ "model": model, "messages": messages });
    if !asked.tools.is_empty() {
        let told = |tool: &Tool| json!({ "type": "function", "function": { "name": tool.name, "parameters": tool.schema } });
        body["tools"] = asked.tools.iter().map(told).collect();
    }
    if let Some(schema) = &asked.schema {
        body["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": "output", "strict": true, "schema": schema } });
    }
    if asked.thinks {
        body["reasoning_effort"] = "medium".into();
    }
    if asked.is_streaming {
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": true });
    }
    body
}

pub(super) fn read(body: &Value) -> Asked {
    let messages = list(&body["messages"]);
    let of = |role: &'static str| messages.iter().filter(move |message| message["role"] == role);
    let user = of("user").next().cloned().unwrap_or_default();
    let image = list(&user["content"]).iter().find_map(|part| part["image_url"]["url"].as_str()?.strip_prefix("data:image/png;base64,"));
    Asked {
        system: of("system").map(|message| text_of(&message["content"])).collect(),
        said: text_of(&user["content"]),
        image: image.map(str::to_owned),
        tools: list(&body["tools"])
            .iter()
            .map(|tool| Tool { name: string(&tool["function"]["name"]), schema: tool["function"]["parameters"].clone() })
            .collect(),
        calls: of("assistant").flat_map(|message| list(&message["tool_calls"])).map(called).collect(),
        results: of("tool").map(|message| (string(&message["tool_call_id"]), text_of(&message["content"]))).collect(),
        schema: body["response_format"]["json_schema"].get("schema").cloned(),
        thinks: body["reasoning_effort"] == "medium",
        is_streaming: body["stream"] == true,
    }
}

fn call(call: &ToolCall) -> Value {
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments.to_string() } })
}

fn called(call: &Value) -> ToolCall {
    ToolCall { id: string(&call["id"]), name: string(&call["function"]["name"]), arguments: inner(&call["function"]["arguments"]) }
}

fn usage(answer: &Answer) -> Value {
    json!({ "prompt_tokens": answer.input, "completion_tokens": answer.output, "total_tokens": answer.input + answer.output })
}

pub(super) fn whole(answer: &Answer) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text, "refusal": null });
    if !answer.calls.is_empty() {
        message["content"] = Value::Null;
        message["tool_calls"] = answer.calls.iter().map(call).collect();
    }
    if !answer.reasoning.is_empty() {
        message["reasoning_content"] = answer.reasoning.clone().into();
    }
    json!({ "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage(answer),
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": answer.finish }] })
}

/// The events up to the last content, and those that end the stream.
pub(super) fn events(answer: &Answer) -> [Vec<String>; 2] {
    let event = |choices: Value, usage: Value| {
        let chunk = json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, "usage": usage });
        format!("data: {chunk}\n\n")
    };
    let delta = |delta: Value, finish: Option<&str>| event(json!([{ "index": 0, "delta": delta, "finish_reason": finish }]), Value::Null);
    let mut content = vec![delta(json!({ "role": "assistant", "content": "" }), None)];
    if !answer.reasoning.is_empty() {
        content.push(delta(json!({ "reasoning_content": answer.reasoning }), None));
    }
    content.extend(answer.pieces().into_iter().map(|piece| delta(json!({ "content": piece }), None)));
    for (index, call) in answer.calls.iter().enumerate() {
        let text = call.arguments.to_string();
        let (first, second) = text.split_at(5);
        let begun = json!({ "index": index, "id": call.id, "type": "function", "function": { "name": call.name, "arguments": first } });
        content.push(delta(json!({ "tool_calls": [begun] }), None));
        content.push(delta(json!({ "tool_calls": [{ "index": index, "function": { "arguments": second } }] }), None));
    }
    [content, vec![delta(json!({}), Some(answer.finish)), event(json!([]), usage(answer)), "data: [DONE]\n\n".into()]]
}

pub(super) fn answered(got: &Got) -> Answer {
    let body = got.json();
    let choice = &body["choices"][0];
    Answer {
        text: string(&choice["message"]["content"]),
        reasoning: string(&choice["message"]["reasoning_content"]),
        calls: list(&choice["message"]["tool_calls"]).iter().map(called).collect(),
        finish: finish(&choice["finish_reason"], &FINISHES),
        input: body["usage"]["prompt_tokens"].as_u64().unwrap_or_default(),
        output: body["usage"]["completion_tokens"].as_u64().unwrap_or_default(),
    }
}

pub(super) fn streamed(got: &Got) -> Streamed {
    let mut all = Streamed { is_complete: got.is_done(), ..Streamed::default() };
    let mut arguments: Vec<String> = Vec::new();
    for event in got.events() {
        all.has_error |= event["error"]["message"].is_string() && event["error"].get("code").is_some();
        let (choice, answer) = (&event["choices"][0], &mut all.answer);
        answer.text += &string(&choice["delta"]["content"]);
        answer.reasoning += &string(&choice["delta"]["reasoning_content"]);
        for piece in list(&choice["delta"]["tool_calls"]) {
            let at = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
            if at == answer.calls.len() {
                answer.calls.push(called(piece));
                arguments.push(String::new());
            }
            arguments[at] += &string(&piece["function"]["arguments"]);
        }
        if !choice["finish_reason"].is_null() {
            answer.finish = finish(&choice["finish_reason"], &FINISHES);
        }
        if event["usage"].is_object() {
            answer.input = event["usage"]["prompt_tokens"].as_u64().unwrap_or_default();
            answer.output = event["usage"]["completion_tokens"].as_u64().unwrap_or_default();
        }
    }
    for (call, text) in all.answer.calls.iter_mut().zip(&arguments) {
        call.arguments = serde_json::from_str(text).unwrap_or_default();
    }
    all
}
