//! The parts of an answer as it is written: items, and the body around them.

use serde_json::{Value, json};

use crate::units::{Usage, Usd};
use crate::wire::canonical::unwrapped;
use crate::wire::reading::Finish;
use crate::wire::retell::{Spoken, signature};

/// One part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Text(String),
    Refusal(String),
}

impl Content {
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }),
            Self::Refusal(text) => json!({ "type": "refusal", "refusal": text }),
        }
    }
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Called {
    /// By which its result names it.
    pub(super) id: String,
    /// The client's name of the tool.
    pub(super) name: String,
    /// JSON.
    pub(super) arguments: String,
    /// The tool takes a text, and no JSON.
    pub(super) is_free: bool,
}

impl Called {
    /// The text that a tool gets that takes one.
    pub(super) fn input(&self) -> String {
        unwrapped(&self.arguments)
    }

    pub(super) fn json(&self, item: &str, status: &str) -> Value {
        let Self { id, name, arguments, is_free } = self;
        if *is_free {
            return json!({ "id": item, "type": "custom_tool_call", "status": status, "call_id": id, "name": name, "input": self.input() });
        }
        json!({ "id": item, "type": "function_call", "status": status, "call_id": id, "name": name, "arguments": arguments })
    }
}

pub(super) fn message(id: &str, status: &str, content: &[Content]) -> Value {
    let content: Vec<Value> = content.iter().map(Content::json).collect();
    json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
}

pub(super) fn summary(text: &str) -> Value {
    json!({ "type": "summary_text", "text": text })
}

/// Nothing of it is encrypted, but clients send back only what says that it is.
pub(super) fn reasoning(id: &str, text: &str) -> Value {
    let summary: Vec<Value> = (!text.is_empty()).then(|| summary(text)).into_iter().collect();
    json!({ "id": id, "type": "reasoning", "summary": summary, "encrypted_content": signature(text) })
}

/// The id of an item of this answer.
pub(super) fn item_id(kind: &str, of: &Spoken<'_>, index: usize) -> String {
    format!("{kind}_{}_{index}", of.id.strip_prefix("resp_").unwrap_or(of.id))
}

/// How an answer stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) status: &'static str,
    /// The error as JSON, where it failed.
    pub(super) error: &'a str,
    pub(super) incomplete: Option<&'static str>,
    /// The items as JSON, with commas between them.
    pub(super) output: &'a str,
    /// As JSON.
    pub(super) usage: &'a str,
}

impl Standing<'_> {
    pub(super) fn begun() -> Self {
        Self { status: "in_progress", error: "null", incomplete: None, output: "", usage: "null" }
    }
}

/// A whole body.
pub(super) fn response(of: &Spoken<'_>, standing: Standing<'_>) -> String {
    let Standing { status, error, incomplete, output, usage } = standing;
    let details = incomplete.map_or("null".to_owned(), |reason| format!("{{\"reason\":\"{reason}\"}}"));
    let (id, model, created, echo) = (Value::from(of.id), Value::from(of.model), of.created, of.echo);
    format!(
        "{{\"id\":{id},\"object\":\"response\",\"created_at\":{created},\"status\":\"{status}\",\"error\":{error},\
         \"incomplete_details\":{details},\"model\":{model},\"output\":[{output}],{echo},\"usage\":{usage}}}"
    )
}

/// The status of a whole answer, and why it is none.
pub(super) fn ended(finish: Finish) -> (&'static str, Option<&'static str>) {
    match finish {
        Finish::Stop | Finish::ToolCalls | Finish::Error => ("completed", None),
        Finish::Length => ("incomplete", Some("max_output_tokens")),
        Finish::ContentFilter => ("incomplete", Some("content_filter")),
    }
}

/// The usage as the format has it. A cost is put in as text, because an amount of money is never a float.
pub(super) fn usage(usage: Option<Usage>, cost: Option<Usd>) -> String {
    let Some(usage) = usage else { return "null".into() };
    let counts = json!({
        "input_tokens": usage.input_total().count(),
        "input_tokens_details": { "cached_tokens": usage.cache_read.count(), "cache_write_tokens": usage.cache_write.count() },
        "output_tokens": usage.output.count(),
        "output_tokens_details": { "reasoning_tokens": usage.reasoning.count() },
        "total_tokens": usage.total().count(),
    });
    let counts = counts.to_string();
    match cost {
        Some(cost) => counts.replacen('{', &format!("{{\"cost\":{},", cost.plain()), 1),
        None => counts,
    }
}
