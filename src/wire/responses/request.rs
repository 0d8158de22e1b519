//! A Responses request, read into no format's words.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::units::Effort;
use crate::wire::call::{BadCall, Call};
use crate::wire::canonical::{Choice, Conversation, Grammar, Part, Role, Schema, Source, Thinking, Tool, ToolCall, Turn, compact, wrapped};
use crate::wire::openai::unreadable;

/// What every kind of item may have, because a tagged union would copy the raw values.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    call_id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    input: Option<String>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PartField {
    #[serde(rename = "type", default)]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<String>,
    detail: Option<String>,
    filename: Option<String>,
    file_data: Option<String>,
    file_url: Option<String>,
    prompt_cache_breakpoint: Option<Value>,
}

#[derive(Deserialize)]
struct ToolField<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    name: Option<String>,
    description: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
    format: Option<Value>,
}

#[derive(Deserialize)]
struct TextField<'a> {
    #[serde(borrow)]
    format: Option<FormatField<'a>>,
    verbosity: Option<String>,
}

#[derive(Deserialize)]
struct FormatField<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    name: Option<String>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    strict: Option<bool>,
}

/// Reads all of a Responses call.
pub(in crate::wire) fn read_request(call: &Call) -> Result<Conversation, BadCall> {
    let mut asked = Conversation {
        is_streaming: call.is_streaming(),
        thinking_field: "reasoning",
        verbosity_field: "text.verbosity",
        ..Conversation::default()
    };
    for (name, value) in call.fields().filter(|(_, value)| *value != "null") {
        field(&mut asked, name, value).map_err(|error| unreadable(name, &error))?;
    }
    asked.checked("input")
}

fn field(asked: &mut Conversation, name: &str, value: &str) -> serde_json::Result<()> {
    match name {
        "max_output_tokens" => asked.limit = serde_json::from_str(value)?,
        // Before what the input itself says at its beginning.
        "instructions" => asked.system.insert(0, Part::Text { text: serde_json::from_str(value)?, is_cached: false }),
        "input" => input(asked, value)?,
        "tools" => tools(asked, serde_json::from_str(value)?),
        "tool_choice" => choice(asked, &serde_json::from_str(value)?),
        "parallel_tool_calls" => asked.parallel = Some(serde_json::from_str(value)?),
        "temperature" => drop(asked.knobs.insert("temperature", serde_json::from_str(value)?)),
        "top_p" => drop(asked.knobs.insert("top_p", serde_json::from_str(value)?)),
        "text" => text(asked, &serde_json::from_str(value)?),
        "reasoning" => reasoning(asked, &serde_json::from_str(value)?),
        "previous_response_id" | "conversation" | "prompt" => asked.musts.push(name.into()),
        "background" if value == "true" => asked.musts.push(name.into()),
        "top_logprobs" if value != "0" => asked.musts.push(name.into()),
        "include" if value.contains("logprobs") => asked.musts.push(name.into()),
        "include" => {
            let all: Vec<Value> = serde_json::from_str(value)?;
            asked.extras.extend((!all.is_empty()).then(|| name.into()));
        }
        name if does_without(name, value) => {}
        _ => asked.extras.push(name.into()),
    }
    Ok(())
}

/// Fields that are read elsewhere, and those that ask for what a target without them does.
fn does_without(name: &str, value: &str) -> bool {
    match name {
        "model" | "stream" | "stream_options" | "background" | "top_logprobs" => true,
        "store" => value == "false",
        "metadata" => value == "{}",
        "truncation" => value == "\"disabled\"",
        _ => false,
    }
}

fn input(asked: &mut Conversation, value: &str) -> serde_json::Result<()> {
    if value.starts_with('"') {
        let parts = vec![Part::Text { text: serde_json::from_str(value)?, is_cached: false }];
        asked.turns.push(Turn { role: Role::User, parts, place: "input".into() });
        return Ok(());
    }
    let items: Vec<Item<'_>> = serde_json::from_str(value)?;
    for (index, item) in items.into_iter().enumerate() {
        self::item(asked, item, format!("input[{index}]"))?;
    }
    Ok(())
}

fn item(asked: &mut Conversation, item: Item<'_>, place: String) -> serde_json::Result<()> {
    let kind = item.kind.as_deref().unwrap_or("message");
    match kind {
        "message" => {
            let parts = content(asked, item.content, &place)?;
            match item.role.as_deref().unwrap_or_default() {
                "system" | "developer" if asked.turns.is_empty() => asked.system.extend(parts),
                "system" | "developer" => asked.turns.push(Turn { role: Role::System, parts, place }),
                "assistant" => assistant(asked, parts, place),
                "user" => asked.turns.push(Turn { role: Role::User, parts, place }),
                _ => asked.refuse(&format!("{place}.role"), "be `user`, `assistant`, `system` or `developer`"),
            }
        }
        "function_call" | "custom_tool_call" => {
            let raw = item.arguments.map(RawValue::get);
            let arguments = raw.map(|raw| serde_json::from_str(raw).unwrap_or_else(|_| compact(raw)));
            let arguments = arguments.or_else(|| item.input.as_deref().map(wrapped)).unwrap_or_default();
            let (id, name) = (item.call_id.unwrap_or_default(), item.name.unwrap_or_default());
            if id.is_empty() || name.is_empty() {
                asked.refuse(&format!("{place}.{}", if name.is_empty() { "name" } else { "call_id" }), "be there");
            }
            assistant(asked, vec![Part::Call(ToolCall { id, name, arguments, signature: None })], place);
        }
        "function_call_output" | "custom_tool_call_output" => {
            if item.call_id.as_ref().is_none_or(String::is_empty) {
                asked.refuse(&format!("{place}.call_id"), "be there");
            }
            let parts = content(asked, item.output, &place)?;
            let parts = vec![Part::Result { id: item.call_id.unwrap_or_default(), parts, is_error: false }];
            asked.turns.push(Turn { role: Role::User, parts, place });
        }
        "reasoning" => {
            let told = item.content.and_then(thought).or_else(|| thought(item.summary?));
            let parts = vec![Part::Reasoning { place: format!("{place}:reasoning"), text: told }];
            assistant(asked, parts, place);
        }
        kind => asked.musts.push(format!("{place}:{kind}")),
    }
    Ok(())
}

/// The texts of a list of reasoning or of summaries of it; nothing where there are none.
fn thought(parts: &RawValue) -> Option<String> {
    let parts: Vec<PartField> = serde_json::from_str(parts.get()).ok()?;
    let texts: Vec<String> = parts.into_iter().filter_map(|part| part.text).filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

/// What a model says comes in several items, which are one turn.
fn assistant(asked: &mut Conversation, parts: Vec<Part>, place: String) {
    match asked.turns.last_mut() {
        Some(last) if last.role == Role::Assistant => last.parts.extend(parts),
        _ => asked.turns.push(Turn { role: Role::Assistant, parts, place }),
    }
}

/// A text, or a list of parts. What no other format has is a must.
fn content(asked: &mut Conversation, content: Option<&RawValue>, place: &str) -> serde_json::Result<Vec<Part>> {
    let Some(content) = content.map(RawValue::get).filter(|content| *content != "null") else { return Ok(Vec::new()) };
    if content.starts_with('"') {
        return Ok(vec![Part::Text { text: serde_json::from_str(content)?, is_cached: false }]);
    }
    let fields: Vec<PartField> = serde_json::from_str(content)?;
    let mut parts = Vec::with_capacity(fields.len());
    for (index, field) in fields.into_iter().enumerate() {
        let place = format!("{place}.content[{index}]:{}", field.kind);
        match part(field) {
            Some(part) => parts.push(part),
            None if place.ends_with("text") => asked.refuse(&format!("{}.text", &place[..place.rfind(':').unwrap_or(0)]), "be a text"),
            None => asked.musts.push(place),
        }
    }
    Ok(parts)
}

fn part(field: PartField) -> Option<Part> {
    match field.kind.as_str() {
        "input_text" | "output_text" | "text" | "refusal" => {
            let is_cached = field.prompt_cache_breakpoint.is_some();
            field.text.or(field.refusal).map(|text| Part::Text { text, is_cached })
        }
        "input_image" => {
            let detail = field.detail.filter(|detail| detail != "auto");
            field.image_url.map(|url| Part::Image { source: Source::of_url(&url), detail })
        }
        "input_file" => {
            let url = field.file_data.or(field.file_url)?;
            Some(Part::File { source: Source::of_url(&url), name: field.filename })
        }
        _ => None,
    }
}

fn tools(asked: &mut Conversation, tools: Vec<ToolField<'_>>) {
    for field in tools {
        match (field.kind.as_str(), field.name) {
            ("function", Some(name)) => asked.tools.push(Tool {
                name,
                description: field.description,
                parameters: field.parameters.filter(|schema| schema.get() != "null").map(ToOwned::to_owned),
                is_strict: field.strict,
                is_cached: false,
                is_free: false,
            }),
            ("custom", Some(name)) => {
                let grammar = field.format.as_ref().filter(|format| format["type"] == "grammar").and_then(Grammar::read);
                asked.tools.push(Tool::free(name, field.description, grammar));
            }
            _ => asked.musts.push("tools".into()),
        }
    }
}

fn choice(asked: &mut Conversation, choice: &Value) {
    let word = |word: &str| match word {
        "auto" => Some(Choice::Auto),
        "none" => Some(Choice::None),
        "required" => Some(Choice::Any),
        _ => None,
    };
    let name = |value: &Value| value["name"].as_str().map(str::to_owned);
    asked.choice = match (choice, choice["type"].as_str()) {
        (Value::String(text), _) => word(text),
        (_, Some("function" | "custom")) => name(choice).map(Choice::Named),
        (_, Some("allowed_tools")) => {
            asked.allowed = Some(choice["tools"].as_array().into_iter().flatten().filter_map(name).collect());
            word(choice["mode"].as_str().unwrap_or_default())
        }
        _ => None,
    };
    match (&asked.choice, choice) {
        (Some(_), _) => {}
        (None, Value::String(_)) => asked.refuse("tool_choice", "be `auto`, `none`, `required`, or name a tool"),
        (None, _) => asked.musts.push("tool_choice".into()),
    }
}

fn text(asked: &mut Conversation, text: &TextField<'_>) {
    asked.verbosity.clone_from(&text.verbosity);
    let Some(format) = &text.format else { return };
    match (format.kind.as_str(), format.schema) {
        ("json_schema", Some(schema)) => {
            let (name, json) = (format.name.clone(), schema.to_owned());
            asked.schema = Some(Schema { name, json, is_strict: format.strict, field: "text.format" });
        }
        ("json_object", _) => asked.wants_json = Some("text.format"),
        ("text", _) => {}
        _ => asked.musts.push("text.format".into()),
    }
}

fn reasoning(asked: &mut Conversation, reasoning: &serde_json::Map<String, Value>) {
    for (name, value) in reasoning.iter().filter(|(_, value)| !value.is_null()) {
        match (name.as_str(), value.as_str().and_then(Effort::parse)) {
            ("effort", Some(Effort::None)) => asked.thinking = Some(Thinking::Off),
            ("effort", Some(effort)) => asked.thinking = Some(Thinking::Effort(effort)),
            _ => asked.extras.push(format!("reasoning.{name}")),
        }
    }
}
