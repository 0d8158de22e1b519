//! A conversation as an Anthropic request.

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::TOOL_NAMES;
use crate::units::{Effort, Quirks, Thinks};
use crate::wire::call::Edits;
use crate::wire::canonical::{Choice, Conversation, Draft, Names, Part, Role, Source, Thinking, Tool, Translated, Turn, raw, raw_text};

/// The fewest tokens that a budget for thinking may be.
const LEAST_BUDGET: u64 = 1_024;

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Vec<Box<RawValue>>,
}

/// Writes the request; `asked` has nothing that the target must but cannot do.
pub(in crate::wire) fn write_request(asked: &Conversation, edits: &Edits<'_>, quirks: &Quirks) -> Translated {
    let mut draft = Draft::of(asked, quirks);
    let names = Names::fit(asked, TOOL_NAMES);
    let limit = edits.output_limit.map(crate::units::Tokens::count).or(asked.limit).unwrap_or(edits.assumed_limit.count());
    draft.set("model", &edits.model);
    draft.set("max_tokens", &limit);
    if asked.is_streaming {
        draft.set("stream", &true);
    }
    let system: Vec<_> = asked.system.iter().filter_map(|part| block(part, &names, &mut draft)).collect();
    if !system.is_empty() {
        draft.set("system", &system);
    }
    let messages = messages(asked, &names, &mut draft);
    draft.set("messages", &messages);
    tools(asked, &names, quirks, &mut draft);
    let stops: Vec<&String> = asked.stops.iter().filter(|stop| !stop.trim().is_empty()).collect();
    if stops.len() < asked.stops.len() {
        draft.adjusted("stop");
    }
    if !stops.is_empty() {
        draft.set("stop_sequences", &stops);
    }
    draft.knobs(asked, &[("temperature", "temperature"), ("top_p", "top_p"), ("top_k", "top_k")]);
    if asked.knobs.get("temperature").and_then(|text| text.get().parse::<f64>().ok()).is_some_and(|heat| heat > 1.0) {
        draft.set("temperature", &1);
        draft.adjusted("temperature");
    }
    let mut output = serde_json::Map::new();
    thinking(asked, limit, quirks, &mut output, &mut draft);
    let mut config: std::collections::BTreeMap<String, Box<RawValue>> =
        output.into_iter().map(|(name, value)| (name, raw(&value))).collect();
    if let Some(schema) = &asked.schema {
        config.insert("format".into(), raw(&Format { kind: "json_schema", schema: &schema.json }));
    }
    if !config.is_empty() {
        draft.set("output_config", &config);
    }
    draft.finish(edits, names)
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a RawValue,
}

/// Neighbours of one role in one message; of a user's message the results of tools come first.
fn messages(asked: &Conversation, names: &Names, draft: &mut Draft) -> Vec<Message> {
    let mut messages: Vec<(Message, Vec<Box<RawValue>>)> = Vec::new();
    let last = asked.turns.len().saturating_sub(1);
    for (index, turn) in asked.turns.iter().enumerate() {
        let role = if turn.role == Role::Assistant { "assistant" } else { "user" };
        let (results, rest) = blocks(turn, index == last, names, draft);
        match messages.last_mut() {
            Some((message, first)) if message.role == role => {
                first.extend(results);
                message.content.extend(rest);
            }
            _ => messages.push((Message { role, content: rest }, results)),
        }
    }
    let joined = messages.into_iter().map(|(message, mut first)| {
        first.extend(message.content);
        Message { role: message.role, content: first }
    });
    joined.filter(|message| !message.content.is_empty()).collect()
}

/// The results of tools in a turn, and all else.
fn blocks(turn: &Turn, is_last: bool, names: &Names, draft: &mut Draft) -> (Vec<Box<RawValue>>, Vec<Box<RawValue>>) {
    let (mut results, mut rest) = (Vec::new(), Vec::new());
    let ends_in_text = is_last && turn.role == Role::Assistant;
    for (index, part) in turn.parts.iter().enumerate() {
        let written = match part {
            Part::Text { text, is_cached } if turn.role == Role::System => {
                draft.adjusted(format!("{}.role", turn.place));
                self::text(&format!("<system>{text}</system>"), *is_cached)
            }
            Part::Text { text, is_cached } if ends_in_text && index + 1 == turn.parts.len() => self::text(text.trim_end(), *is_cached),
            part => block(part, names, draft),
        };
        if matches!(part, Part::Result { .. }) { &mut results } else { &mut rest }.extend(written);
    }
    (results, rest)
}

/// One part as a block; nothing where it is empty or cannot be said.
fn block(part: &Part, names: &Names, draft: &mut Draft) -> Option<Box<RawValue>> {
    match part {
        Part::Text { text, is_cached } => text_block(text, *is_cached),
        Part::Image { source, detail } => {
            if detail.is_some() {
                draft.dropped("image_url.detail");
            }
            Some(raw(&json!({ "type": "image", "source": written(source) })))
        }
        Part::File { source, name } => {
            let mut block = json!({ "type": "document", "source": written(source) });
            if let Some(name) = name {
                block["title"] = name.as_str().into();
            }
            Some(raw(&block))
        }
        // Only the model that wrote it may have it back, and it signs what it wrote.
        Part::Reasoning { place, .. } => {
            draft.dropped(place.as_str());
            None
        }
        Part::Call(call) => {
            let input = match call.arguments.trim() {
                "" => raw_text("{}"),
                arguments => raw_text(arguments).filter(|_| arguments.starts_with('{')),
            };
            let input = input.unwrap_or_else(|| {
                draft.adjusted("tool_calls.arguments");
                raw(&json!({ "arguments": call.arguments }))
            });
            Some(raw(&ToolUse { kind: "tool_use", id: fitting_id(&call.id), name: names.told(&call.name), input }))
        }
        Part::Result { id, parts, is_error } => {
            let content: Vec<_> = parts.iter().filter_map(|part| block(part, names, draft)).collect();
            let content = (!content.is_empty()).then_some(content);
            Some(raw(&ToolResult { kind: "tool_result", tool_use_id: fitting_id(id), content, is_error: *is_error }))
        }
    }
}

#[derive(Serialize)]
struct ToolUse<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    name: &'a str,
    input: Box<RawValue>,
}

#[derive(Serialize)]
struct ToolResult {
    #[serde(rename = "type")]
    kind: &'static str,
    tool_use_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
}

fn text(text: &str, is_cached: bool) -> Option<Box<RawValue>> {
    text_block(text, is_cached)
}

fn text_block(text: &str, is_cached: bool) -> Option<Box<RawValue>> {
    let mut block = json!({ "type": "text", "text": text });
    if is_cached {
        block["cache_control"] = json!({ "type": "ephemeral" });
    }
    // An empty block is refused.
    (!text.is_empty()).then(|| raw(&block))
}

fn written(source: &Source) -> serde_json::Value {
    match source {
        Source::Data { media_type, data } => json!({ "type": "base64", "media_type": media_type, "data": data }),
        Source::Url(url) => json!({ "type": "url", "url": url }),
    }
}

/// Ids have letters, digits, `_` and `-` alone; the same id always becomes the same.
fn fitting_id(id: &str) -> String {
    let fitted: String = id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect();
    if fitted.is_empty() { "toolu_tg_0".into() } else { fitted }
}

#[derive(Serialize)]
struct Declared<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<serde_json::Value>,
}

fn tools(asked: &Conversation, names: &Names, quirks: &Quirks, draft: &mut Draft) {
    let declared = |tool: &Tool| -> Box<RawValue> {
        let bare = || raw(&json!({ "type": "object", "properties": {} }));
        raw(&Declared {
            name: names.told(&tool.name),
            description: tool.description.as_deref(),
            input_schema: tool.parameters.clone().unwrap_or_else(bare),
            strict: draft.strict(tool, quirks.structured_outputs),
            cache_control: tool.is_cached.then(|| json!({ "type": "ephemeral" })),
        })
    };
    let tools: Vec<_> = asked.callable().map(declared).collect();
    if tools.is_empty() {
        return;
    }
    draft.set("tools", &tools);
    let mut choice = match &asked.choice {
        None if asked.parallel == Some(false) => Some(json!({ "type": "auto" })),
        None => None,
        Some(Choice::Auto) => Some(json!({ "type": "auto" })),
        Some(Choice::None) => Some(json!({ "type": "none" })),
        Some(Choice::Any) => Some(json!({ "type": "any" })),
        Some(Choice::Named(name)) => Some(json!({ "type": "tool", "name": names.told(name) })),
    };
    if let Some(choice) = choice.as_mut().filter(|choice| asked.parallel == Some(false) && choice["type"] != "none") {
        choice["disable_parallel_tool_use"] = true.into();
    }
    if let Some(choice) = choice {
        draft.set("tool_choice", &choice);
    }
}

fn thinking(asked: &Conversation, limit: u64, quirks: &Quirks, output: &mut serde_json::Map<String, serde_json::Value>, draft: &mut Draft) {
    let Some(thinking) = asked.thinking else { return };
    let field = asked.thinking_field;
    match (quirks.thinks, thinking) {
        (Thinks::Adaptive | Thinks::Budget, Thinking::Off) => draft.set("thinking", &json!({ "type": "disabled" })),
        (Thinks::Adaptive, thinking) => {
            draft.set("thinking", &json!({ "type": "adaptive" }));
            let (word, is_same) = match thinking {
                Thinking::Effort(Effort::Minimal) => ("low", false),
                Thinking::Effort(effort) => (effort.as_str(), true),
                Thinking::Budget(budget) => (crate::wire::call::effort_of(budget).as_str(), false),
                Thinking::Adaptive | Thinking::Off => return,
            };
            output.insert("effort".into(), word.into());
            if !is_same {
                draft.adjusted(field);
            }
        }
        (Thinks::Budget, thinking) => {
            draft.adjusted(field);
            let budget = budget(thinking, limit).filter(|_| may_think(asked));
            if let Some(budget) = budget {
                draft.set("thinking", &json!({ "type": "enabled", "budget_tokens": budget }));
                for knob in ["temperature", "top_k", "top_p"] {
                    if draft.remove(knob) {
                        draft.dropped(knob);
                    }
                }
            }
        }
        (Thinks::No | Thinks::Effort | Thinks::Level, Thinking::Off) => {}
        (Thinks::No | Thinks::Effort | Thinks::Level, _) => draft.dropped(field),
    }
}

/// A share of the limit, and below it; nothing where the limit leaves too little.
fn budget(thinking: Thinking, limit: u64) -> Option<u64> {
    let percent = match thinking {
        Thinking::Budget(budget) => return (budget < limit).then_some(budget),
        Thinking::Effort(Effort::None | Effort::Minimal) => 10,
        Thinking::Effort(Effort::Low) => 20,
        Thinking::Effort(Effort::Medium) => 50,
        Thinking::Effort(Effort::High) | Thinking::Adaptive | Thinking::Off => 80,
        Thinking::Effort(Effort::Xhigh | Effort::Max) => 95,
    };
    let budget = (limit.saturating_mul(percent) / 100).max(LEAST_BUDGET);
    (budget < limit).then_some(budget)
}

/// Thinking is refused where a tool must be called, and where the last calls come without the thinking that was signed with them.
fn may_think(asked: &Conversation) -> bool {
    let is_forced = matches!(asked.choice, Some(Choice::Any | Choice::Named(_)));
    let last = asked.turns.iter().rev().find(|turn| turn.role == Role::Assistant);
    let has_calls = last.is_some_and(|turn| turn.parts.iter().any(|part| matches!(part, Part::Call(_))));
    !is_forced && !has_calls
}
