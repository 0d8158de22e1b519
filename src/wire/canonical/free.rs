//! Tools that take a text and no JSON: to other formats they take an object with this text in it.

use serde_json::{Value, json};

use super::{Tool, raw};

/// How a tool's text is to be written, which can only be described.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire) struct Grammar<'a> {
    pub(in crate::wire) syntax: &'a str,
    pub(in crate::wire) definition: &'a str,
}

impl<'a> Grammar<'a> {
    /// Reads an object that has both; nothing where it has neither.
    pub(in crate::wire) fn read(json: &'a Value) -> Option<Self> {
        let word = |key: &str| json[key].as_str();
        let (syntax, definition) = (word("syntax"), word("definition"));
        let is_there = syntax.is_some() || definition.is_some();
        is_there.then(|| Self { syntax: syntax.unwrap_or_default(), definition: definition.unwrap_or_default() })
    }
}

impl Tool {
    /// A tool that takes a text.
    pub(in crate::wire) fn free(name: String, description: Option<String>, grammar: Option<Grammar<'_>>) -> Self {
        let told = |grammar: Grammar<'_>| format!("`input` must match this {} grammar:\n{}", grammar.syntax, grammar.definition);
        let described: Vec<String> = description.into_iter().chain(grammar.map(told)).collect();
        let parameters = json!({
            "type": "object", "properties": { "input": { "type": "string" } }, "required": ["input"], "additionalProperties": false,
        });
        let description = (!described.is_empty()).then(|| described.join("\n\n"));
        Self { name, description, parameters: Some(raw(&parameters)), is_strict: None, is_cached: false, is_free: true }
    }
}

/// A text as the arguments of a tool that takes a text alone.
pub(in crate::wire) fn wrapped(text: &str) -> String {
    json!({ "input": text }).to_string()
}

/// The text that such a tool gets; all of the arguments where they are something else.
pub(in crate::wire) fn unwrapped(arguments: &str) -> String {
    let json: Option<Value> = serde_json::from_str(arguments).ok();
    let text = json.as_ref().and_then(|json| json["input"].as_str());
    text.map_or_else(|| arguments.to_owned(), str::to_owned)
}
