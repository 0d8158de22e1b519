//! An Anthropic request, read into no format's words.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::units::Effort;
use crate::wire::call::{BadCall, Call};
use crate::wire::canonical::{Choice, Conversation, Part, Role, Schema, Source, Thinking, Tool, ToolCall, Turn, compact};
use crate::wire::openai::unreadable;

#[derive(Deserialize)]
struct Message<'a> {
    role: String,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// Every kind of block in one, because a tagged union would copy the raw values.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    source: Option<SourceField>,
    title: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    tool_use_id: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    is_error: Option<bool>,
    cache_control: Option<Value>,
}

#[derive(Deserialize)]
struct SourceField {
    #[serde(rename = "type")]
    kind: String,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Declared<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: String,
    description: Option<String>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
    strict: Option<bool>,
    cache_control: Option<Value>,
}

#[derive(Deserialize)]
struct OutputConfig<'a> {
    effort: Option<String>,
    #[serde(borrow)]
    format: Option<FormatField<'a>>,
}

#[derive(Deserialize)]
struct FormatField<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// Reads all of a messages call.
pub(in crate::wire) fn read_request(call: &Call) -> Result<Conversation, BadCall> {
    let mut asked = Conversation { is_streaming: call.is_streaming(), thinking_field: "thinking", ..Conversation::default() };
    for (name, value) in call.fields().filter(|(_, value)| *value != "null") {
        field(&mut asked, name, value).map_err(|error| unreadable(name, &error))?;
    }
    asked.checked("messages")
}

fn field(asked: &mut Conversation, name: &str, value: &str) -> serde_json::Result<()> {
    match name {
        "model" | "stream" => {}
        "max_tokens" => asked.limit = serde_json::from_str(value)?,
        "system" => content(asked, value, "system", |asked, part| asked.system.push(part))?,
        "messages" => messages(asked, serde_json::from_str(value)?)?,
        "stop_sequences" => asked.stops = serde_json::from_str(value)?,
        "temperature" => drop(asked.knobs.insert("temperature", serde_json::from_str(value)?)),
        "top_p" => drop(asked.knobs.insert("top_p", serde_json::from_str(value)?)),
        "top_k" => drop(asked.knobs.insert("top_k", serde_json::from_str(value)?)),
        "tools" => tools(asked, serde_json::from_str(value)?),
        "tool_choice" => choice(asked, &serde_json::from_str(value)?),
        "thinking" => thinking(asked, &serde_json::from_str(value)?),
        "output_config" => output_config(asked, &serde_json::from_str(value)?),
        "metadata" => {
            let metadata: serde_json::Map<String, Value> = serde_json::from_str(value)?;
            asked.extras.extend(metadata.keys().map(|key| format!("metadata.{key}")));
        }
        "mcp_servers" => asked.musts.push(name.into()),
        _ => asked.extras.push(name.into()),
    }
    Ok(())
}

fn messages(asked: &mut Conversation, messages: Vec<Message<'_>>) -> serde_json::Result<()> {
    for (index, message) in messages.into_iter().enumerate() {
        let place = format!("messages[{index}]");
        let role = match message.role.as_str() {
            "assistant" => Role::Assistant,
            "system" => Role::System,
            "user" => Role::User,
            _ => {
                asked.refuse(&format!("{place}.role"), "be `user` or `assistant`");
                Role::User
            }
        };
        let mut parts = Vec::new();
        content(asked, message.content.map_or("null", RawValue::get), &place, |_, part| parts.push(part))?;
        asked.turns.push(Turn { role, parts, place });
    }
    Ok(())
}

/// A text, or a list of blocks. What no other format has is a must.
fn content(asked: &mut Conversation, content: &str, place: &str, mut into: impl FnMut(&mut Conversation, Part)) -> serde_json::Result<()> {
    if content.starts_with('"') {
        into(asked, Part::Text { text: serde_json::from_str(content)?, is_cached: false });
        return Ok(());
    }
    if !content.starts_with('[') {
        let param = if place == "system" { place.to_owned() } else { format!("{place}.content") };
        asked.refuse(&param, "be a text or a list of blocks");
        return Ok(());
    }
    let blocks: Vec<Block<'_>> = serde_json::from_str(content)?;
    for (index, block) in blocks.into_iter().enumerate() {
        let place = format!("{place}.content[{index}]:{}", block.kind);
        match read(asked, block, &place)? {
            Some(part) => into(asked, part),
            None if place.ends_with(":text") => asked.refuse(&place.replacen(":text", ".text", 1), "be a text"),
            None => asked.musts.push(place),
        }
    }
    Ok(())
}

fn read(asked: &mut Conversation, block: Block<'_>, place: &str) -> serde_json::Result<Option<Part>> {
    let is_cached = block.cache_control.is_some();
    Ok(match block.kind.as_str() {
        "text" => block.text.map(|text| Part::Text { text, is_cached }),
        "mid_conv_system" => match block.content {
            Some(text) if text.get().starts_with('"') => {
                let text: String = serde_json::from_str(text.get())?;
                Some(Part::Text { text: format!("<system>{text}</system>"), is_cached })
            }
            _ => block.text.map(|text| Part::Text { text: format!("<system>{text}</system>"), is_cached }),
        },
        "image" => block.source.and_then(source).map(|source| Part::Image { source, detail: None }),
        "document" => match block.source {
            Some(SourceField { kind, data: Some(text), .. }) if kind == "text" => Some(Part::Text { text, is_cached }),
            other => other.and_then(source).map(|source| Part::File { source, name: block.title }),
        },
        "tool_use" => {
            let arguments = compact(block.input.map_or("{}", RawValue::get));
            let (id, name) = (block.id.unwrap_or_default(), block.name.unwrap_or_default());
            Some(Part::Call(ToolCall { id, name, arguments, signature: None }))
        }
        "tool_result" => {
            if block.tool_use_id.as_ref().is_none_or(String::is_empty) {
                asked.refuse(&place.replacen(":tool_result", ".tool_use_id", 1), "name the call that this is the result of");
            }
            let mut parts = Vec::new();
            if let Some(inner) = block.content {
                content(asked, inner.get(), place, |_, part| parts.push(part))?;
            }
            Some(Part::Result { id: block.tool_use_id.unwrap_or_default(), parts, is_error: block.is_error.unwrap_or(false) })
        }
        "thinking" | "redacted_thinking" => {
            Some(Part::Reasoning { place: place.to_owned(), text: block.thinking.filter(|text| !text.is_empty()) })
        }
        _ => None,
    })
}

fn source(field: SourceField) -> Option<Source> {
    match (field.kind.as_str(), field.media_type, field.data, field.url) {
        ("base64", Some(media_type), Some(data), _) => Some(Source::Data { media_type, data }),
        ("url", _, _, Some(url)) => Some(Source::Url(url)),
        _ => None,
    }
}

fn tools(asked: &mut Conversation, tools: Vec<Declared<'_>>) {
    for declared in tools {
        if declared.kind.as_deref().is_some_and(|kind| kind != "custom") {
            asked.musts.push("tools".into());
            continue;
        }
        asked.tools.push(Tool {
            name: declared.name,
            description: declared.description,
            parameters: declared.input_schema.map(ToOwned::to_owned),
            is_strict: declared.strict,
            is_cached: declared.cache_control.is_some(),
            is_free: false,
        });
    }
}

fn choice(asked: &mut Conversation, choice: &Value) {
    asked.choice = match choice["type"].as_str() {
        Some("any") => Some(Choice::Any),
        Some("none") => Some(Choice::None),
        Some("tool") => choice["name"].as_str().map(|name| Choice::Named(name.into())),
        Some("auto") => Some(Choice::Auto),
        _ => None,
    };
    if asked.choice.is_none() {
        asked.refuse("tool_choice", "be of type `auto`, `any`, `none`, or `tool` with a name");
    }
    asked.parallel = choice["disable_parallel_tool_use"].as_bool().map(|disabled| !disabled);
}

fn thinking(asked: &mut Conversation, thinking: &Value) {
    // The word of `output_config`, which may stand before, says more.
    let is_said = matches!(asked.thinking, Some(Thinking::Effort(_)));
    asked.thinking = match thinking["type"].as_str() {
        Some("disabled") => Some(Thinking::Off),
        Some("adaptive") if !is_said => Some(Thinking::Adaptive),
        Some("adaptive") => asked.thinking,
        Some("enabled") if thinking["budget_tokens"].is_u64() => thinking["budget_tokens"].as_u64().map(Thinking::Budget),
        _ => {
            asked.refuse("thinking", "be of type `enabled` with `budget_tokens`, `adaptive` or `disabled`");
            None
        }
    };
}

fn output_config(asked: &mut Conversation, config: &OutputConfig<'_>) {
    match config.effort.as_deref().map(Effort::parse) {
        Some(Some(effort)) if matches!(asked.thinking, None | Some(Thinking::Adaptive)) => asked.thinking = Some(Thinking::Effort(effort)),
        Some(None) => asked.extras.push("output_config.effort".into()),
        _ => {}
    }
    match &config.format {
        Some(FormatField { kind, schema: Some(schema) }) if kind == "json_schema" => {
            asked.schema = Some(Schema { name: None, json: (*schema).to_owned(), is_strict: Some(true), field: "output_config.format" });
        }
        None => {}
        Some(_) => asked.musts.push("output_config.format".into()),
    }
}
