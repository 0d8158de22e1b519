//! A chat request, read into no format's words.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::units::Effort;
use crate::wire::call::{BadCall, Call};
use crate::wire::canonical::{Choice, Conversation, Grammar, Part, Role, Schema, Source, Thinking, Tool, ToolCall, Turn, wrapped};

/// Fields that the gateway answers itself, or that are read elsewhere.
const OURS: [&str; 5] = ["model", "stream", "stream_options", "max_tokens", "max_completion_tokens"];
/// Numbers that mean the same in other formats.
const KNOBS: [&str; 6] = ["temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty"];

#[derive(Deserialize)]
struct Message<'a> {
    role: String,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    tool_calls: Option<Vec<CallField<'a>>>,
    #[serde(borrow)]
    function_call: Option<FunctionField<'a>>,
    tool_call_id: Option<String>,
    name: Option<String>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
struct CallField<'a> {
    id: Option<String>,
    #[serde(borrow)]
    function: Option<FunctionField<'a>>,
    custom: Option<CustomField>,
    extra_content: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct CustomField {
    name: String,
    #[serde(default)]
    input: String,
}

#[derive(Deserialize)]
struct FunctionField<'a> {
    name: String,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct PartField<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    #[serde(borrow)]
    image_url: Option<&'a RawValue>,
    file: Option<FileField>,
    prompt_cache_breakpoint: Option<serde_json::Value>,
    cache_control: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ImageField {
    url: String,
    detail: Option<String>,
}

#[derive(Deserialize)]
struct FileField {
    filename: Option<String>,
    file_data: Option<String>,
}

#[derive(Deserialize)]
struct ToolField<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(borrow)]
    function: Option<Declared<'a>>,
    custom: Option<DeclaredCustom>,
}

#[derive(Deserialize)]
struct DeclaredCustom {
    name: String,
    description: Option<String>,
    format: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Declared<'a> {
    name: String,
    description: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct FormatField<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(borrow)]
    json_schema: Option<SchemaField<'a>>,
}

#[derive(Deserialize)]
struct SchemaField<'a> {
    name: Option<String>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    strict: Option<bool>,
}

/// Reads all of a chat call.
pub(in crate::wire) fn read_request(call: &Call) -> Result<Conversation, BadCall> {
    let mut asked = Conversation {
        is_streaming: call.is_streaming(),
        thinking_field: "reasoning_effort",
        verbosity_field: "verbosity",
        ..Conversation::default()
    };
    let mut newer = None;
    for (name, value) in call.fields() {
        match name {
            "max_completion_tokens" => newer = value.parse().ok(),
            "max_tokens" => asked.limit = value.parse().ok(),
            name if OURS.contains(&name) => {}
            name => field(&mut asked, name, value).map_err(|error| unreadable(name, &error))?,
        }
    }
    asked.limit = newer.or(asked.limit).filter(|limit| *limit > 0);
    asked.checked("messages")
}

pub(in crate::wire) fn unreadable(name: &str, error: &serde_json::Error) -> BadCall {
    // What serde says of a value may quote it: only its place is passed on.
    BadCall::parameter(name, format!("`{name}` cannot be read (column {})", error.column()))
}

fn field(asked: &mut Conversation, name: &str, value: &str) -> serde_json::Result<()> {
    if value == "null" {
        return Ok(());
    }
    match name {
        "messages" => messages(asked, serde_json::from_str(value)?),
        "tools" => tools(asked, serde_json::from_str(value)?),
        "functions" => {
            let declared: Vec<Declared<'_>> = serde_json::from_str(value)?;
            asked.tools.extend(declared.into_iter().map(tool));
        }
        "tool_choice" | "function_call" => choice(asked, &serde_json::from_str(value)?),
        "parallel_tool_calls" => asked.parallel = Some(serde_json::from_str(value)?),
        "stop" if value.starts_with('"') => asked.stops.push(serde_json::from_str(value)?),
        "stop" => asked.stops = serde_json::from_str(value)?,
        "response_format" => response_format(asked, &serde_json::from_str(value)?),
        "reasoning_effort" => {
            let word: String = serde_json::from_str(value)?;
            match Effort::parse(&word) {
                Some(Effort::None) => asked.thinking = Some(Thinking::Off),
                Some(effort) => asked.thinking = Some(Thinking::Effort(effort)),
                None => asked.extras.push(name.into()),
            }
        }
        "verbosity" => asked.verbosity = Some(serde_json::from_str(value)?),
        "n" if value != "1" => asked.musts.push(name.into()),
        "logprobs" if value != "false" => asked.musts.push(name.into()),
        "top_logprobs" | "prediction" | "audio" | "web_search_options" => asked.musts.push(name.into()),
        "modalities" if value.contains("\"audio\"") => asked.musts.push(name.into()),
        "n" | "logprobs" | "modalities" => {}
        // What a target does that was not told.
        "store" if value == "false" => {}
        "metadata" if value == "{}" => {}
        _ => match KNOBS.into_iter().find(|knob| *knob == name) {
            Some(knob) => drop(asked.knobs.insert(knob, serde_json::from_str(value)?)),
            None => asked.extras.push(name.into()),
        },
    }
    Ok(())
}

fn messages(asked: &mut Conversation, messages: Vec<Message<'_>>) {
    for (index, message) in messages.into_iter().enumerate() {
        let place = format!("messages[{index}]");
        let mut parts = Vec::new();
        if let Some(text) = message.reasoning_content.filter(|text| !text.is_empty()) {
            parts.push(Part::Reasoning { place: format!("{place}:reasoning_content"), text: Some(text) });
        }
        content(asked, message.content, &place, &mut parts);
        parts.extend(message.refusal.map(|text| Part::Text { text, is_cached: false }));
        let role = match message.role.as_str() {
            "system" | "developer" if asked.turns.is_empty() => {
                asked.system.extend(parts);
                continue;
            }
            "system" | "developer" => Role::System,
            "assistant" => Role::Assistant,
            "tool" | "function" => {
                let id = message.tool_call_id.or(message.name).unwrap_or_default();
                if id.is_empty() {
                    asked.refuse(&format!("{place}.tool_call_id"), "name the call that this is the result of");
                }
                parts = vec![Part::Result { id, parts, is_error: false }];
                Role::User
            }
            "user" => Role::User,
            _ => {
                asked.refuse(&format!("{place}.role"), "be `system`, `developer`, `user`, `assistant` or `tool`");
                Role::User
            }
        };
        if role == Role::Assistant {
            let legacy = message.function_call.map(|function| called(function.name.clone(), Some(function), None));
            let calls = message.tool_calls.into_iter().flatten();
            parts.extend(calls.map(of_field).chain(legacy));
        }
        asked.turns.push(Turn { role, parts, place });
    }
}

fn of_field(call: CallField<'_>) -> Part {
    let id = call.id.unwrap_or_default();
    match call.custom {
        Some(CustomField { name, input }) => Part::Call(ToolCall { id, name, arguments: wrapped(&input), signature: None }),
        None => called(id, call.function, call.extra_content),
    }
}

fn called(id: String, function: Option<FunctionField<'_>>, extra: Option<serde_json::Value>) -> Part {
    let (name, arguments) = function.map_or_else(Default::default, |function| (function.name, function.arguments.unwrap_or_default()));
    let signature = extra.and_then(|extra| Some(extra.get("google")?.get("thought_signature")?.as_str()?.to_owned()));
    Part::Call(ToolCall { id, name, arguments: arguments.into_owned(), signature })
}

/// A text, or a list of parts. What no other format has is a must.
fn content(asked: &mut Conversation, content: Option<&RawValue>, place: &str, into: &mut Vec<Part>) {
    let Some(content) = content.map(RawValue::get) else { return };
    if let Ok(text) = serde_json::from_str::<String>(content) {
        into.push(Part::Text { text, is_cached: false });
        return;
    }
    let Ok(parts) = serde_json::from_str::<Vec<PartField<'_>>>(content) else {
        asked.refuse(&format!("{place}.content"), "be a text or a list of parts");
        return;
    };
    for (index, part) in parts.into_iter().enumerate() {
        let is_cached = part.prompt_cache_breakpoint.is_some() || part.cache_control.is_some();
        let read = match (part.kind.as_str(), part.text.or(part.refusal), part.image_url, part.file) {
            ("text" | "refusal", Some(text), _, _) => Some(Part::Text { text, is_cached }),
            ("image_url", _, Some(image), _) => self::image(image),
            ("file", _, _, Some(FileField { filename, file_data: Some(data) })) => {
                Some(Part::File { source: Source::of_url(&data), name: filename })
            }
            _ => None,
        };
        match read {
            Some(part) => into.push(part),
            None if matches!(part.kind.as_str(), "text" | "refusal" | "image_url") => {
                asked.refuse(&format!("{place}.content[{index}].{}", part.kind), "be there");
            }
            None => asked.musts.push(format!("{place}.content[{index}]:{}", part.kind)),
        }
    }
}

fn image(image: &RawValue) -> Option<Part> {
    let image = match serde_json::from_str::<String>(image.get()) {
        Ok(url) => ImageField { url, detail: None },
        Err(_) => serde_json::from_str(image.get()).ok()?,
    };
    Some(Part::Image { source: Source::of_url(&image.url), detail: image.detail.filter(|detail| detail != "auto") })
}

fn tools(asked: &mut Conversation, tools: Vec<ToolField<'_>>) {
    for field in tools {
        match (field.kind.as_str(), field.function, field.custom) {
            ("function", Some(declared), _) => asked.tools.push(tool(declared)),
            ("custom", _, Some(DeclaredCustom { name, description, format })) => {
                let grammar = format.as_ref().and_then(|format| Grammar::read(&format["grammar"]));
                asked.tools.push(Tool::free(name, description, grammar));
            }
            _ => asked.musts.push("tools".into()),
        }
    }
}

fn tool(declared: Declared<'_>) -> Tool {
    Tool {
        name: declared.name,
        description: declared.description,
        parameters: declared.parameters.map(ToOwned::to_owned),
        is_strict: declared.strict,
        is_cached: false,
        is_free: false,
    }
}

fn choice(asked: &mut Conversation, choice: &serde_json::Value) {
    let name = |value: &serde_json::Value| {
        let named = value.get("function").or_else(|| value.get("custom")).and_then(|tool| tool.get("name"));
        let name = named.or_else(|| value.get("name"));
        name.and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let word = |word: &str| match word {
        "auto" => Some(Choice::Auto),
        "none" => Some(Choice::None),
        "required" | "any" => Some(Choice::Any),
        _ => None,
    };
    asked.choice = match choice {
        serde_json::Value::String(text) => word(text),
        value => match value.get("allowed_tools") {
            Some(allowed) => {
                let names: Vec<String> = allowed["tools"].as_array().into_iter().flatten().filter_map(name).collect();
                asked.allowed = Some(names);
                word(allowed["mode"].as_str().unwrap_or_default())
            }
            None => name(value).map(Choice::Named),
        },
    };
    if asked.choice.is_none() {
        asked.refuse("tool_choice", "be `auto`, `none`, `required`, or name a tool");
    }
}

fn response_format(asked: &mut Conversation, format: &FormatField<'_>) {
    match (format.kind.as_str(), &format.json_schema) {
        ("json_schema", Some(SchemaField { name, schema: Some(schema), strict })) => {
            let (name, json) = (name.clone(), (*schema).to_owned());
            asked.schema = Some(Schema { name, json, is_strict: *strict, field: "response_format" });
        }
        ("text", _) => {}
        ("json_object", _) => asked.wants_json = Some("response_format"),
        _ => asked.musts.push("response_format".into()),
    }
}
