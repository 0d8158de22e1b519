//! Between YAML and JSON: a node as JSON text, for `set:`, and a JSON value as the file would have it, for hints.

use super::codes::Code;
use super::decode::Findings;
use super::diagnostic::Diagnostic;
use super::tree::{Node, Scalar, Value};

/// The value in YAML's flow form, what is short first: `{ name: coding, match: { … }, chain: […] }`. Nothing for null.
pub(super) fn flow(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => String::new(),
        Value::String(text) if needs_quotes(text) => quoted(text),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".into(),
        Value::Object(entries) => {
            let mut sorted: Vec<(&String, &Value)> = entries.iter().collect();
            sorted.sort_by_key(|(_, value)| (value.is_array(), value.is_object()));
            let entries: Vec<String> = sorted.into_iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Whether a text would be read as something else without its quotes.
fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text.contains(['{', '}', '[', ']', ',', '#', '"', '\''])
        || text.contains(": ")
        || text.starts_with(['*', '&', '!', '@', '%'])
}

/// The JSON text of a node, or nothing once a finding says why. Numbers keep their digits: `0.10` and twenty-digit integers stay as
/// written.
pub(super) fn read(node: &Node, findings: &mut Findings) -> Option<String> {
    match &node.value {
        Value::Nothing => Some("null".into()),
        Value::Scalar(scalar) => plain(node, scalar, findings),
        Value::List(items) => {
            let items: Vec<Option<String>> = items.iter().map(|item| read(item, findings)).collect();
            let items: Option<Vec<String>> = items.into_iter().collect();
            Some(format!("[{}]", items?.join(",")))
        }
        Value::Map(entries) => {
            let entries: Vec<Option<String>> =
                entries.iter().map(|entry| read(&entry.value, findings).map(|value| format!("{}:{value}", quoted(&entry.key)))).collect();
            let entries: Option<Vec<String>> = entries.into_iter().collect();
            Some(format!("{{{}}}", entries?.join(",")))
        }
    }
}

fn plain(node: &Node, scalar: &Scalar, findings: &mut Findings) -> Option<String> {
    let text = scalar.text.as_str();
    if scalar.is_quoted {
        return Some(quoted(text));
    }
    if matches!(text, "true" | "false") || is_number(text) {
        return Some(text.into());
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || "_.eExX".contains(c))
        || matches!(text, ".inf" | "-.inf" | ".nan")
    {
        let message = format!("`{text}` is a number to some and a text to others");
        findings.push(Diagnostic::error(Code::BAD_COUNT, node.place, message).hint("write it as JSON does, or put it in quotes"));
        return None;
    }
    Some(quoted(text))
}

/// Whether the text is a number as JSON writes them.
fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.into()).to_string()
}
