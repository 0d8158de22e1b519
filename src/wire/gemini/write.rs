//! A conversation as a Gemini request. The model stands in the path.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::TOOL_NAMES;
use crate::units::{Effort, Quirks, Thinks, Tokens};
use crate::wire::call::{Edits, effort_of};
use crate::wire::canonical::{
    Choice, Conversation, Draft, Names, Part, Role, Source, Thinking, Tool, ToolCall, Translated, Turn, raw, raw_text,
};

/// Stands for the signature of a call that another model wrote.
const UNSIGNED: &str = "skip_thought_signature_validator";
/// The numbers that the format knows, and its names for them.
const KNOBS: [(&str, &str); 6] = [
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("seed", "seed"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
];

#[derive(Serialize)]
struct Content {
    role: &'static str,
    parts: Vec<Box<RawValue>>,
}

struct Writer<'a> {
    names: &'a Names,
    quirks: &'a Quirks,
    draft: &'a mut Draft,
    /// The calls so far, in order: a result names the tool, not the call.
    calls: Vec<(&'a str, &'a str)>,
}

/// Writes the request; `asked` has nothing that the target must but cannot do.
pub(in crate::wire) fn write_request(asked: &Conversation, edits: &Edits<'_>, quirks: &Quirks) -> Translated {
    let mut draft = Draft::of(asked, quirks);
    let names = Names::fit(asked, TOOL_NAMES);
    let mut writer = Writer { names: &names, quirks, draft: &mut draft, calls: Vec::new() };
    let system: Vec<_> = asked.system.iter().filter_map(|part| writer.part(part)).collect();
    let contents = writer.contents(asked);
    if !system.is_empty() {
        draft.set("systemInstruction", &BTreeMap::from([("parts", system)]));
    }
    draft.set("contents", &contents);
    tools(asked, &names, &mut draft);
    let config = generation(asked, edits, quirks, &mut draft);
    if !config.is_empty() {
        draft.set("generationConfig", &config);
    }
    draft.finish(edits, names)
}

impl<'a> Writer<'a> {
    /// Neighbours of one role as one.
    fn contents(&mut self, asked: &'a Conversation) -> Vec<Content> {
        let mut contents: Vec<Content> = Vec::new();
        for turn in &asked.turns {
            let role = if turn.role == Role::Assistant { "model" } else { "user" };
            let parts = self.parts(turn);
            match contents.last_mut() {
                Some(last) if last.role == role => last.parts.extend(parts),
                _ => contents.push(Content { role, parts }),
            }
        }
        contents.retain(|content| !content.parts.is_empty());
        contents
    }

    fn parts(&mut self, turn: &'a Turn) -> Vec<Box<RawValue>> {
        let mut results: Vec<(usize, Box<RawValue>)> = Vec::new();
        let mut rest = Vec::new();
        let mut has_call = false;
        for part in &turn.parts {
            match part {
                Part::Text { text, .. } if turn.role == Role::System && !text.is_empty() => {
                    self.draft.adjusted(format!("{}.role", turn.place));
                    rest.push(raw(&json!({ "text": format!("<system>{text}</system>") })));
                }
                Part::Call(call) => {
                    rest.push(self.call(call, !has_call, &turn.place));
                    has_call = true;
                }
                Part::Result { id, parts, is_error } => {
                    let at = self.calls.iter().rposition(|(known, _)| known == id);
                    let name = at.map_or("", |at| self.calls[at].1);
                    results.push((at.unwrap_or(usize::MAX), result(self.names.told(name), parts, *is_error)));
                    for shown in parts.iter().filter(|part| !matches!(part, Part::Text { .. })) {
                        self.draft.adjusted(format!("{}.tool_result", turn.place));
                        rest.extend(self.part(shown));
                    }
                }
                part => rest.extend(self.part(part)),
            }
        }
        // In the order of the calls, because nothing else tells results of one tool apart.
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).chain(rest).collect()
    }

    /// One part; nothing where it is empty or cannot be said.
    fn part(&mut self, part: &Part) -> Option<Box<RawValue>> {
        match part {
            Part::Text { text, is_cached } => {
                if *is_cached {
                    self.draft.dropped("cache_control");
                }
                (!text.is_empty()).then(|| raw(&json!({ "text": text })))
            }
            Part::Image { source, detail } => {
                if detail.is_some() {
                    self.draft.dropped("image_url.detail");
                }
                inline(source)
            }
            Part::File { source, .. } => inline(source),
            Part::Reasoning { place, .. } => {
                self.draft.dropped(place.as_str());
                None
            }
            Part::Call(_) | Part::Result { .. } => None,
        }
    }

    /// The first call of a turn carries the signature that came with it, where the target asks for one.
    fn call(&mut self, call: &'a ToolCall, is_first: bool, place: &str) -> Box<RawValue> {
        self.calls.push((&call.id, &call.name));
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.trim() };
        let args = raw_text(arguments).filter(|_| arguments.starts_with('{')).unwrap_or_else(|| {
            self.draft.adjusted("tool_calls.arguments");
            raw(&json!({ "arguments": call.arguments }))
        });
        let signature = (is_first && self.quirks.needs_signatures).then(|| {
            call.signature.clone().unwrap_or_else(|| {
                self.draft.adjusted(format!("{place}.tool_calls:thought_signature"));
                UNSIGNED.into()
            })
        });
        raw(&Called { function_call: Function { name: self.names.told(&call.name), args }, thought_signature: signature })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    function_call: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    args: Box<RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Responded<'a> {
    function_response: Response<'a>,
}

#[derive(Serialize)]
struct Response<'a> {
    name: &'a str,
    response: Box<RawValue>,
}

/// A result that is a JSON object is the response itself.
fn result(name: &str, parts: &[Part], is_error: bool) -> Box<RawValue> {
    let texts = parts.iter().filter_map(|part| if let Part::Text { text, .. } = part { Some(text.as_str()) } else { None });
    let text = texts.collect::<Vec<_>>().join("\n");
    let object = raw_text(text.trim()).filter(|_| !is_error && text.trim_start().starts_with('{'));
    let response = object.unwrap_or_else(|| raw(&BTreeMap::from([(if is_error { "error" } else { "result" }, text)])));
    raw(&Responded { function_response: Response { name, response } })
}

fn inline(source: &Source) -> Option<Box<RawValue>> {
    match source {
        Source::Data { media_type, data } => Some(raw(&json!({ "inlineData": { "mimeType": media_type, "data": data } }))),
        Source::Url(_) => None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declared<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a RawValue>,
}

fn tools(asked: &Conversation, names: &Names, draft: &mut Draft) {
    let declared = |tool: &Tool| {
        draft.strict(tool, false);
        let (description, parameters_json_schema) = (tool.description.as_deref(), tool.parameters.as_deref());
        raw(&Declared { name: names.told(&tool.name), description, parameters_json_schema })
    };
    let declarations: Vec<_> = asked.callable().map(declared).collect();
    if asked.tools.iter().any(|tool| tool.is_cached) {
        draft.dropped("cache_control");
    }
    if declarations.is_empty() {
        return;
    }
    draft.set("tools", &[BTreeMap::from([("functionDeclarations", declarations)])]);
    let mode = match &asked.choice {
        None => None,
        Some(Choice::Auto) => Some(json!({ "mode": "AUTO" })),
        Some(Choice::None) => Some(json!({ "mode": "NONE" })),
        Some(Choice::Any) => Some(json!({ "mode": "ANY" })),
        Some(Choice::Named(name)) => Some(json!({ "mode": "ANY", "allowedFunctionNames": [names.told(name)] })),
    };
    if let Some(mode) = mode {
        draft.set("toolConfig", &json!({ "functionCallingConfig": mode }));
    }
    if asked.parallel == Some(false) {
        draft.dropped("parallel_tool_calls");
    }
}

fn generation(asked: &Conversation, edits: &Edits<'_>, quirks: &Quirks, draft: &mut Draft) -> BTreeMap<&'static str, Box<RawValue>> {
    let mut config = BTreeMap::new();
    if let Some(limit) = edits.output_limit.map(Tokens::count).or(asked.limit) {
        config.insert("maxOutputTokens", raw(&limit));
    }
    for (name, value) in &asked.knobs {
        match KNOBS.iter().find(|(own, _)| own == name) {
            Some((_, told)) => drop(config.insert(*told, value.clone())),
            None => draft.dropped(*name),
        }
    }
    let stops: Vec<&String> = asked.stops.iter().filter(|stop| !stop.is_empty()).collect();
    if stops.len() < asked.stops.len() {
        draft.adjusted("stop");
    }
    if !stops.is_empty() {
        config.insert("stopSequences", raw(&stops));
    }
    if let Some(schema) = &asked.schema {
        config.insert("responseMimeType", raw(&"application/json"));
        config.insert("responseJsonSchema", schema.json.clone());
    } else if asked.wants_json.is_some() {
        config.insert("responseMimeType", raw(&"application/json"));
    }
    if let Some(thinking) = thinking(asked, quirks, draft) {
        config.insert("thinkingConfig", raw(&thinking));
    }
    config
}

fn thinking(asked: &Conversation, quirks: &Quirks, draft: &mut Draft) -> Option<serde_json::Value> {
    let thinking = asked.thinking?;
    let effort = match thinking {
        Thinking::Effort(effort) => effort,
        Thinking::Budget(budget) => effort_of(budget),
        Thinking::Adaptive => Effort::High,
        Thinking::Off => Effort::None,
    };
    match quirks.thinks {
        Thinks::Level => {
            let (level, is_same) = match effort {
                Effort::None => ("MINIMAL", false),
                Effort::Minimal => ("MINIMAL", true),
                Effort::Low => ("LOW", true),
                Effort::Medium => ("MEDIUM", true),
                Effort::High => ("HIGH", true),
                Effort::Xhigh | Effort::Max => ("HIGH", false),
            };
            if !is_same || !matches!(thinking, Thinking::Effort(_)) {
                draft.adjusted(asked.thinking_field);
            }
            Some(json!({ "thinkingLevel": level, "includeThoughts": true }))
        }
        Thinks::Budget => {
            let budget = match (thinking, effort) {
                (Thinking::Budget(budget), _) => budget,
                (_, Effort::None) => 0,
                (_, Effort::Minimal | Effort::Low) => 1_024,
                (_, Effort::Medium) => 8_192,
                _ => 24_576,
            };
            if !matches!(thinking, Thinking::Budget(_) | Thinking::Off) {
                draft.adjusted(asked.thinking_field);
            }
            Some(json!({ "thinkingBudget": budget, "includeThoughts": budget > 0 }))
        }
        Thinks::No | Thinks::Effort | Thinks::Adaptive => {
            if thinking != Thinking::Off {
                draft.dropped(asked.thinking_field);
            }
            None
        }
    }
}
