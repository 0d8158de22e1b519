use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Choice, Conversation, Names, Thinking, Tool, raw};
use crate::units::{Effort, Lack, Quirks, Thinks};
use crate::wire::call::{Edits, effort_of};

/// A request for a target of another format in the making, and what became of the client's fields on the way.
#[derive(Debug, Default)]
pub(in crate::wire) struct Draft {
    fields: BTreeMap<String, Box<RawValue>>,
    dropped: BTreeSet<String>,
    adjusted: BTreeSet<String>,
}

/// A request as a target of another format gets it.
#[derive(Clone, Debug, Default)]
pub struct Translated {
    pub body: Bytes,
    /// The client's fields that the target does not have, in order of their names.
    pub dropped: Vec<String>,
    /// Those that mean about the same there.
    pub adjusted: Vec<String>,
    pub(in crate::wire) names: Names,
    /// What an answer says again of the request, where the client's format has that.
    pub(in crate::wire) echo: Option<Arc<str>>,
    /// Embeddings are told as bytes in base64, not as lists of numbers.
    pub(in crate::wire) wants_base64: bool,
}

impl Draft {
    pub(in crate::wire) fn of(asked: &Conversation, quirks: &Quirks) -> Self {
        let mut draft = Self { dropped: asked.extras.iter().cloned().collect(), ..Self::default() };
        if asked.verbosity.is_some() && !quirks.takes_verbosity {
            draft.dropped(asked.verbosity_field);
        }
        if asked.tools.iter().any(|tool| tool.is_free) {
            draft.adjusted("tools");
        }
        draft
    }

    pub(in crate::wire) fn set(&mut self, name: &str, value: &impl Serialize) {
        self.fields.insert(name.to_owned(), raw(value));
    }

    pub(in crate::wire) fn dropped(&mut self, name: impl Into<String>) {
        self.dropped.insert(name.into());
    }

    pub(in crate::wire) fn adjusted(&mut self, name: impl Into<String>) {
        self.adjusted.insert(name.into());
    }

    /// Takes over the numbers that the target knows, under the target's names; drops the others.
    pub(in crate::wire) fn knobs(&mut self, asked: &Conversation, known: &[(&str, &str)]) {
        for (name, value) in &asked.knobs {
            match known.iter().find(|(own, _)| own == name) {
                Some((_, told)) => self.set(told, value),
                None => self.dropped(*name),
            }
        }
    }

    /// Marks a text up to which the prompt is to be cached, where the target has such marks.
    pub(in crate::wire) fn mark(&mut self, told: &mut Value, is_cached: bool, quirks: &Quirks) {
        match (is_cached, quirks.cache_breakpoints) {
            (true, true) => told["prompt_cache_breakpoint"] = json!({ "mode": "explicit" }),
            (true, false) => self.dropped("cache_control"),
            (false, _) => {}
        }
    }

    /// Whether a tool's arguments keep to its schema, where the target `takes` such a word.
    pub(in crate::wire) fn strict(&mut self, tool: &Tool, takes: bool) -> Option<bool> {
        if tool.is_strict == Some(true) && !takes {
            self.dropped("tools.strict");
        }
        tool.is_strict.filter(|_| takes)
    }

    /// The tools as `OpenAI`'s formats have them, and which of them are to be called. `named`: how one is named that must be.
    pub(in crate::wire) fn tools(&mut self, tools: &[Box<RawValue>], asked: &Conversation, quirks: &Quirks, named: impl Fn(&str) -> Value) {
        self.set("tools", &tools);
        match &asked.choice {
            None => {}
            Some(Choice::Auto) => self.set("tool_choice", &"auto"),
            Some(Choice::None) => self.set("tool_choice", &"none"),
            Some(Choice::Any) => self.set("tool_choice", &"required"),
            Some(Choice::Named(name)) => self.set("tool_choice", &named(name)),
        }
        match asked.parallel {
            Some(_) if quirks.lacks.has(Lack::ParallelTools) => self.dropped("parallel_tool_calls"),
            Some(parallel) => self.set("parallel_tool_calls", &parallel),
            None => {}
        }
    }

    /// The word for effort that the target is told, if any.
    pub(in crate::wire) fn effort(&mut self, asked: &Conversation, quirks: &Quirks) -> Option<Effort> {
        let thinking = asked.thinking?;
        if quirks.thinks == Thinks::No {
            if thinking != Thinking::Off {
                self.dropped(asked.thinking_field);
            }
            return None;
        }
        let (wanted, is_same) = match thinking {
            Thinking::Effort(effort) => (effort, true),
            Thinking::Budget(budget) => (effort_of(budget), false),
            Thinking::Off if !quirks.efforts.is_empty() => (Effort::None, true),
            // What it does by itself, and whether it can be told not to, differs from model to model.
            Thinking::Adaptive | Thinking::Off => {
                self.adjusted(asked.thinking_field);
                return None;
            }
        };
        let told = quirks.efforts.nearest(wanted);
        if told != wanted || !is_same {
            self.adjusted(asked.thinking_field);
        }
        Some(told)
    }

    pub(in crate::wire) fn remove(&mut self, name: &str) -> bool {
        self.fields.remove(name).is_some()
    }

    pub(in crate::wire) fn finish(mut self, edits: &Edits<'_>, names: Names) -> Translated {
        for (name, value) in edits.set.iter().filter(|(name, _)| !matches!(name.as_str(), "model" | "stream" | "stream_options")) {
            self.fields.insert(name.clone(), value.clone());
        }
        Translated {
            // Text that was read as JSON is written as JSON.
            body: serde_json::to_vec(&self.fields).unwrap_or_default().into(),
            dropped: self.dropped.into_iter().collect(),
            adjusted: self.adjusted.into_iter().collect(),
            names,
            echo: None,
            wants_base64: false,
        }
    }
}

/// The parts of a message, or its text alone where nothing else is said; nothing where there are none.
pub(in crate::wire) fn content_of(parts: Vec<Value>) -> Option<Value> {
    match parts.as_slice() {
        [] => None,
        [only] if only["text"].is_string() && only.as_object().is_some_and(|only| only.len() == 2) => Some(only["text"].clone()),
        _ => Some(Value::Array(parts)),
    }
}
