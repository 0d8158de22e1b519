//! A conversation as a chat request.

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::TOOL_NAMES;
use crate::units::{Lack, Quirks, Replay, Tokens};
use crate::wire::call::Edits;
use crate::wire::canonical::{Conversation, Draft, Names, Part, Role, Source, Tool, Translated, Turn, content_of, raw};

/// Writes the request; `asked` has nothing that the target must but cannot do.
pub(in crate::wire) fn write_request(asked: &Conversation, edits: &Edits<'_>, quirks: &Quirks) -> Translated {
    let mut draft = Draft::of(asked, quirks);
    let names = Names::fit(asked, TOOL_NAMES);
    draft.set("model", &edits.model);
    if asked.is_streaming {
        draft.set("stream", &true);
        if !quirks.lacks.has(Lack::StreamUsage) {
            draft.set("stream_options", &json!({ "include_usage": true }));
        }
    }
    let mut messages = Vec::new();
    system(asked, quirks, &mut messages, &mut draft);
    for turn in &asked.turns {
        match turn.role {
            Role::System => messages.push(raw(&json!({ "role": "system", "content": joined(&turn.parts) }))),
            Role::User => user(turn, quirks, &mut messages, &mut draft),
            Role::Assistant => messages.extend(assistant(turn, quirks.replay, &names, &mut draft)),
        }
    }
    draft.set("messages", &messages);
    tools(asked, quirks, &names, &mut draft);
    if let Some(limit) = edits.output_limit.map(Tokens::count).or(asked.limit) {
        draft.set(if quirks.names_limit_newly { "max_completion_tokens" } else { "max_tokens" }, &limit);
    }
    if !asked.stops.is_empty() {
        draft.set("stop", &asked.stops);
    }
    let known = ["temperature", "top_p", "seed", "presence_penalty", "frequency_penalty"];
    draft.knobs(asked, &known.map(|name| (name, name)));
    if let Some(effort) = draft.effort(asked, quirks) {
        draft.set("reasoning_effort", &effort.as_str());
    }
    if let Some(verbosity) = asked.verbosity.as_ref().filter(|_| quirks.takes_verbosity) {
        draft.set("verbosity", verbosity);
    }
    if let Some(schema) = &asked.schema {
        let name = schema.name.as_deref().unwrap_or("output");
        let inner = Schema { name, strict: schema.is_strict, json: &schema.json };
        draft.set("response_format", &Format { kind: "json_schema", json_schema: inner });
    } else if asked.wants_json.is_some() {
        draft.set("response_format", &json!({ "type": "json_object" }));
    }
    draft.finish(edits, names)
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    json_schema: Schema<'a>,
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(rename = "schema")]
    json: &'a RawValue,
}

fn system(asked: &Conversation, quirks: &Quirks, messages: &mut Vec<Box<RawValue>>, draft: &mut Draft) {
    let content = match asked.system.as_slice() {
        [] => return,
        [Part::Text { text, is_cached: false }] => json!(text),
        parts => parts.iter().filter_map(|part| self::part(part, quirks, draft)).collect(),
    };
    messages.push(raw(&json!({ "role": "system", "content": content })));
}

/// The results of tools, each a message of its own, then everything else.
fn user(turn: &Turn, quirks: &Quirks, messages: &mut Vec<Box<RawValue>>, draft: &mut Draft) {
    let mut rest = Vec::new();
    for part in &turn.parts {
        if let Part::Result { id, parts, is_error } = part {
            if *is_error {
                draft.adjusted(format!("{}.is_error", turn.place));
            }
            let text = format!("{}{}", if *is_error { "Error: " } else { "" }, joined(parts));
            messages.push(raw(&json!({ "role": "tool", "tool_call_id": id, "content": text })));
            for shown in parts.iter().filter(|part| !matches!(part, Part::Text { .. })) {
                draft.adjusted(format!("{}.tool_result", turn.place));
                rest.extend(self::part(shown, quirks, draft));
            }
        } else {
            rest.extend(self::part(part, quirks, draft));
        }
    }
    messages.extend(content_of(rest).map(|content| raw(&json!({ "role": "user", "content": content }))));
}

fn assistant(turn: &Turn, replay: Replay, names: &Names, draft: &mut Draft) -> Option<Box<RawValue>> {
    let (mut calls, mut texts, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
    let has_calls = turn.parts.iter().any(|part| matches!(part, Part::Call(_)));
    let is_replayed = replay == Replay::Always || (replay == Replay::Tools && has_calls);
    for part in &turn.parts {
        match part {
            Part::Text { text, .. } if !text.is_empty() => texts.push(text.as_str()),
            Part::Call(call) => calls.push(json!({
                "id": call.id, "type": "function",
                "function": { "name": names.told(&call.name), "arguments": call.arguments },
            })),
            Part::Reasoning { text: Some(text), .. } if is_replayed => thoughts.push(text.as_str()),
            Part::Reasoning { place, .. } => draft.dropped(place.as_str()),
            _ => {}
        }
    }
    let content = match texts.as_slice() {
        [] if calls.is_empty() => return None,
        [] => serde_json::Value::Null,
        [text] => json!(text),
        texts => texts.iter().map(|text| json!({ "type": "text", "text": text })).collect(),
    };
    let mut message = json!({ "role": "assistant", "content": content });
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    if !thoughts.is_empty() {
        message["reasoning_content"] = thoughts.join("\n\n").into();
    }
    Some(raw(&message))
}

/// One part of a message; nothing where a chat request has no such part.
fn part(part: &Part, quirks: &Quirks, draft: &mut Draft) -> Option<serde_json::Value> {
    match part {
        Part::Text { text, .. } if text.is_empty() => None,
        Part::Text { text, is_cached } => {
            let mut told = json!({ "type": "text", "text": text });
            draft.mark(&mut told, *is_cached, quirks);
            Some(told)
        }
        Part::Image { source, detail } => {
            let mut image = json!({ "url": source.url() });
            if let Some(detail) = detail {
                image["detail"] = detail.as_str().into();
            }
            Some(json!({ "type": "image_url", "image_url": image }))
        }
        Part::File { source, name } => {
            let name = name.as_deref().unwrap_or("document.pdf");
            match source {
                Source::Data { .. } => Some(json!({ "type": "file", "file": { "filename": name, "file_data": source.url() } })),
                Source::Url(_) => None,
            }
        }
        Part::Reasoning { place, .. } => {
            draft.dropped(place.as_str());
            None
        }
        Part::Call(_) | Part::Result { .. } => None,
    }
}

/// All texts, one a line.
fn joined(parts: &[Part]) -> String {
    let texts: Vec<&str> =
        parts.iter().filter_map(|part| if let Part::Text { text, .. } = part { Some(text.as_str()) } else { None }).collect();
    texts.join("\n")
}

#[derive(Serialize)]
struct Declared<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

fn tools(asked: &Conversation, quirks: &Quirks, names: &Names, draft: &mut Draft) {
    let declared = |tool: &Tool| {
        let Tool { name, description, parameters, is_cached, .. } = tool;
        if *is_cached {
            draft.dropped("cache_control");
        }
        let strict = draft.strict(tool, !quirks.lacks.has(Lack::StrictTools));
        let function = Function { name: names.told(name), description: description.as_deref(), parameters: parameters.as_deref(), strict };
        raw(&Declared { kind: "function", function })
    };
    let tools: Vec<_> = asked.callable().map(declared).collect();
    if tools.is_empty() {
        return;
    }
    draft.tools(&tools, asked, quirks, |name| json!({ "type": "function", "function": { "name": names.told(name) } }));
}
