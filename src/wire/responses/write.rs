//! A conversation as a Responses request.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::TOOL_NAMES;
use crate::units::{Quirks, Tokens};
use crate::wire::call::Edits;
use crate::wire::canonical::{Conversation, Draft, Names, Part, Role, Source, Tool, Translated, Turn, content_of, raw};

/// Writes the request; `asked` has nothing that the target must but cannot do. The provider is to keep nothing of it: nobody would
/// ask for it there.
pub(in crate::wire) fn write_request(asked: &Conversation, edits: &Edits<'_>, quirks: &Quirks) -> Translated {
    let mut draft = Draft::of(asked, quirks);
    let names = Names::fit(asked, TOOL_NAMES);
    draft.set("model", &edits.model);
    draft.set("store", &false);
    if asked.is_streaming {
        draft.set("stream", &true);
    }
    let mut items = Vec::new();
    system(asked, quirks, &mut items, &mut draft);
    for turn in &asked.turns {
        match turn.role {
            Role::System => items.extend(message("developer", &turn.parts, quirks, &mut draft)),
            Role::User => user(turn, quirks, &mut items, &mut draft),
            Role::Assistant => assistant(turn, &names, &mut items, &mut draft),
        }
    }
    draft.set("input", &items);
    tools(asked, quirks, &names, &mut draft);
    if let Some(limit) = edits.output_limit.map(Tokens::count).or(asked.limit) {
        draft.set("max_output_tokens", &limit);
    }
    draft.knobs(asked, &[("temperature", "temperature"), ("top_p", "top_p")]);
    if let Some(effort) = draft.effort(asked, quirks) {
        draft.set("reasoning", &json!({ "effort": effort.as_str() }));
    }
    text(asked, quirks, &mut draft);
    draft.finish(edits, names)
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
}

fn text(asked: &Conversation, quirks: &Quirks, draft: &mut Draft) {
    let format = match &asked.schema {
        Some(schema) => {
            let name = Some(schema.name.as_deref().unwrap_or("output"));
            Some(Format { kind: "json_schema", name, strict: schema.is_strict, schema: Some(&schema.json) })
        }
        None => asked.wants_json.map(|_| Format { kind: "json_object", name: None, strict: None, schema: None }),
    };
    let verbosity = asked.verbosity.as_deref().filter(|_| quirks.takes_verbosity);
    if format.is_some() || verbosity.is_some() {
        draft.set("text", &Text { format, verbosity });
    }
}

fn system(asked: &Conversation, quirks: &Quirks, items: &mut Vec<Box<RawValue>>, draft: &mut Draft) {
    match asked.system.as_slice() {
        [] => {}
        [Part::Text { text, is_cached: false }] => draft.set("instructions", text),
        parts => items.extend(message("developer", parts, quirks, draft)),
    }
}

/// A message of these parts; nothing where all of them are empty or cannot be said.
fn message(role: &str, parts: &[Part], quirks: &Quirks, draft: &mut Draft) -> Option<Box<RawValue>> {
    let parts = parts.iter().filter_map(|part| self::part(part, quirks, draft)).collect();
    content_of(parts).map(|content| raw(&json!({ "role": role, "content": content })))
}

/// The results of tools, each an item of its own, then everything else.
fn user(turn: &Turn, quirks: &Quirks, items: &mut Vec<Box<RawValue>>, draft: &mut Draft) {
    let (results, rest): (Vec<&Part>, Vec<&Part>) = turn.parts.iter().partition(|part| matches!(part, Part::Result { .. }));
    for part in results {
        let Part::Result { id, parts, is_error } = part else { continue };
        let mut told: Vec<Value> = parts.iter().filter_map(|part| self::part(part, quirks, draft)).collect();
        if *is_error {
            draft.adjusted(format!("{}.is_error", turn.place));
        }
        let mark = if *is_error { "Error: " } else { "" };
        let texts: Option<Vec<&str>> = told.iter().map(|part| part["text"].as_str()).collect();
        let output = if let Some(texts) = texts {
            Value::from(mark.to_owned() + &texts.join("\n"))
        } else {
            told.splice(0..0, is_error.then(|| json!({ "type": "input_text", "text": mark })));
            Value::Array(told)
        };
        items.push(raw(&json!({ "type": "function_call_output", "call_id": id, "output": output })));
    }
    let rest: Vec<Value> = rest.into_iter().filter_map(|part| self::part(part, quirks, draft)).collect();
    items.extend(content_of(rest).map(|content| raw(&json!({ "role": "user", "content": content }))));
}

/// What the model said, an item for each part.
fn assistant(turn: &Turn, names: &Names, items: &mut Vec<Box<RawValue>>, draft: &mut Draft) {
    for part in &turn.parts {
        match part {
            Part::Text { text, .. } if !text.is_empty() => items.push(raw(&json!({ "role": "assistant", "content": text }))),
            Part::Call(call) => {
                let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
                let (id, name) = (&call.id, names.told(&call.name));
                items.push(raw(&json!({ "type": "function_call", "call_id": id, "name": name, "arguments": arguments })));
            }
            Part::Reasoning { place, .. } => draft.dropped(place.as_str()),
            _ => {}
        }
    }
}

/// One part of a message; nothing where it is empty or cannot be said.
fn part(part: &Part, quirks: &Quirks, draft: &mut Draft) -> Option<Value> {
    match part {
        Part::Text { text, .. } if text.is_empty() => None,
        Part::Text { text, is_cached } => {
            let mut told = json!({ "type": "input_text", "text": text });
            draft.mark(&mut told, *is_cached, quirks);
            Some(told)
        }
        Part::Image { source, detail } => {
            let detail = detail.as_deref().unwrap_or("auto");
            Some(json!({ "type": "input_image", "detail": detail, "image_url": source.url() }))
        }
        Part::File { source: Source::Url(url), .. } => Some(json!({ "type": "input_file", "file_url": url })),
        Part::File { source, name } => {
            let name = name.as_deref().unwrap_or("document.pdf");
            Some(json!({ "type": "input_file", "filename": name, "file_data": source.url() }))
        }
        Part::Reasoning { place, .. } => {
            draft.dropped(place.as_str());
            None
        }
        Part::Call(_) | Part::Result { .. } => None,
    }
}

#[derive(Serialize)]
struct Declared<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Box<RawValue>,
    /// Said always: where it is not, this API means yes, and every other one no.
    strict: bool,
}

fn tools(asked: &Conversation, quirks: &Quirks, names: &Names, draft: &mut Draft) {
    let mut has_mark = false;
    let declared = |tool: &Tool| {
        has_mark |= tool.is_cached;
        raw(&Declared {
            kind: "function",
            name: names.told(&tool.name),
            description: tool.description.as_deref(),
            parameters: tool.parameters.clone().unwrap_or_else(|| raw(&json!({ "type": "object", "properties": {} }))),
            strict: tool.is_strict.unwrap_or(false),
        })
    };
    let tools: Vec<_> = asked.callable().map(declared).collect();
    if has_mark {
        draft.dropped("cache_control");
    }
    if tools.is_empty() {
        return;
    }
    draft.tools(&tools, asked, quirks, |name| json!({ "type": "function", "name": names.told(name) }));
}
