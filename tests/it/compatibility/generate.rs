//! Gemini's `generateContent`, as a provider.

use serde_json::{Value, json};

use super::story::{Answer, Asked, Tool, ToolCall, list, string, text_of};

const IDS: [&str; 2] = ["call_a", "call_b"];

/// Calls and results have no ids here: they go by their order and their names.
pub(super) fn read(body: &Value, is_streaming: bool) -> Asked {
    let parts: Vec<&Value> = list(&body["contents"]).iter().flat_map(|content| list(&content["parts"])).collect();
    let calls: Vec<ToolCall> = parts
        .iter()
        .filter_map(|part| part.get("functionCall"))
        .zip(IDS)
        .map(|(call, id)| ToolCall { id: id.into(), name: string(&call["name"]), arguments: call["args"].clone() })
        .collect();
    let id = |name: &Value| calls.iter().find(|call| *name == call.name).map(|call| call.id.clone()).unwrap_or_default();
    let picture = parts.iter().find(|part| part["inlineData"]["mimeType"] == "image/png");
    let declared = &body["tools"][0]["functionDeclarations"];
    Asked {
        system: text_of(&body["systemInstruction"]["parts"]),
        said: text_of(&body["contents"][0]["parts"]),
        image: picture.map(|part| string(&part["inlineData"]["data"])),
        tools: list(declared)
            .iter()
            .map(|tool| Tool { name: string(&tool["name"]), schema: tool["parametersJsonSchema"].clone() })
            .collect(),
        results: parts
            .iter()
            .filter_map(|part| part.get("functionResponse"))
            .map(|result| (id(&result["name"]), string(&result["response"]["result"])))
            .collect(),
        calls,
        schema: body["generationConfig"].get("responseJsonSchema").cloned(),
        thinks: body["generationConfig"]["thinkingConfig"]["includeThoughts"] == true,
        is_streaming,
    }
}

pub(super) fn whole(answer: &Answer) -> Value {
    told(&parts(answer, &answer.text), Some("STOP"), answer)
}

/// The events up to the last content, and those that end the stream.
pub(super) fn events(answer: &Answer) -> [Vec<String>; 2] {
    let event = |parts: &[Value], finish| format!("data: {}\r\n\r\n", told(parts, finish, answer));
    let pieces = answer.pieces();
    let mut content = vec![event(&parts(answer, pieces.first().unwrap_or(&"")), None)];
    content.extend(pieces.iter().skip(1).map(|piece| event(&[json!({ "text": piece })], None)));
    [content, vec![event(&[], Some("STOP"))]]
}

fn parts(answer: &Answer, text: &str) -> Vec<Value> {
    let thought = (!answer.reasoning.is_empty()).then(|| json!({ "text": answer.reasoning, "thought": true }));
    let text = (!text.is_empty()).then(|| json!({ "text": text }));
    let calls = answer.calls.iter().map(|call| json!({ "functionCall": { "name": call.name, "args": call.arguments } }));
    thought.into_iter().chain(text).chain(calls).collect()
}

fn told(parts: &[Value], finish: Option<&str>, answer: &Answer) -> Value {
    let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
    if let Some(finish) = finish {
        candidate["finishReason"] = finish.into();
    }
    json!({ "candidates": [candidate], "modelVersion": "m", "responseId": "r1", "usageMetadata": { "promptTokenCount": answer.input,
        "candidatesTokenCount": answer.output, "totalTokenCount": answer.input + answer.output } })
}
