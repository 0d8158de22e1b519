use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Call, UsageOption};
use crate::units::{Endpoint, Lacks, Tokens};

/// Bodies up to this size come as one piece: a copy costs less than a second write.
const ONE_PIECE: usize = 16 << 10;
const LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];
const RESPONSES_LIMIT: &str = "max_output_tokens";

/// What changes on the way to a target.
#[derive(Clone, Copy, Debug)]
pub struct Edits<'a> {
    pub model: &'a str,
    /// Ask for usage at the end of a stream. Says nothing about calls that are not streamed.
    pub include_usage: bool,
    /// The one limit on output that is sent, where there must be one.
    pub output_limit: Option<Tokens>,
    /// The limit for a format that cannot do without one, where neither the client nor `output_limit` says any.
    pub assumed_limit: Tokens,
    /// Fields that the file sets; `model`, `stream` and `stream_options` are not among what it can set.
    pub set: &'a BTreeMap<String, Box<RawValue>>,
    /// What the target does not have: what stands for it in the call is left out or said otherwise.
    pub lacks: Lacks,
}

/// A place of the body and what stands there instead.
struct Patch {
    place: Range<usize>,
    text: String,
}

impl Call {
    /// The body to send, in pieces that share the client's bytes. Only what `edits` names changes; every other byte stays.
    #[must_use]
    pub fn write(&self, edits: &Edits<'_>) -> Vec<Bytes> {
        let mut patches = self.patches(edits);
        if patches.is_empty() {
            return vec![self.body().clone()];
        }
        // An insertion behind a field goes before the removal of what follows the field.
        patches.sort_by_key(|patch| (patch.place.start, patch.place.end));
        let mut pieces = Vec::with_capacity(patches.len() * 2 + 1);
        let mut from = 0;
        for patch in patches {
            pieces.push(self.body().slice(from..patch.place.start));
            pieces.push(Bytes::from(patch.text));
            from = patch.place.end;
        }
        pieces.push(self.body().slice(from..));
        pieces.retain(|piece| !piece.is_empty());
        if self.body().len() <= ONE_PIECE { vec![Bytes::from(pieces.concat())] } else { pieces }
    }

    fn patches(&self, edits: &Edits<'_>) -> Vec<Patch> {
        if let Some(place) = &self.facts.form_model {
            let place = (self.model() != edits.model).then(|| place.clone());
            return place.into_iter().map(|place| Patch { place, text: edits.model.into() }).collect();
        }
        let mut patches: Vec<Patch> = self.stand_ins().into_iter().map(|place| Patch { place, text: String::new() }).collect();
        let roles = self.developers(edits.lacks);
        patches.extend(roles.into_iter().map(|(_, place)| Patch { place, text: quoted("system") }));
        let mut removed: Vec<usize> = self.left_out(edits.lacks).filter(|index| !self.is_set(*index, edits)).collect();
        // New fields stand behind the model.
        let mut added = String::new();
        // The others tell it unasked, or are not read.
        if edits.include_usage
            && self.is_streaming()
            && matches!(self.endpoint(), Endpoint::Chat | Endpoint::Completions | Endpoint::Embeddings)
        {
            self.include_usage(&mut patches, &mut added);
        }
        let limit = edits.output_limit.filter(|_| self.endpoint().writes_tokens());
        if let Some(limit) = limit {
            removed.extend(self.limit(limit, &mut patches, &mut added));
        }
        for (name, value) in edits.set {
            let is_ours = matches!(name.as_str(), "model" | "stream" | "stream_options");
            let is_limited = limit.is_some() && (LIMITS.contains(&name.as_str()) || name == RESPONSES_LIMIT);
            if !is_ours && !is_limited {
                self.set(name, value.get(), &mut patches, &mut added);
            }
        }
        patches.extend(self.removals(removed));
        let Some(model) = self.find("model").map(|index| self.fields[index].value.clone()) else {
            patches.push(self.model_first(edits.model, &added));
            return patches;
        };
        if self.model() != edits.model {
            patches.push(Patch { place: model, text: quoted(edits.model) + &added });
        } else if !added.is_empty() {
            patches.push(Patch { place: model.end..model.end, text: added });
        }
        patches
    }

    /// The model before all other fields, in a body that has none.
    fn model_first(&self, model: &str, added: &str) -> Patch {
        let open = self.body().iter().position(|byte| *byte == b'{').map_or(0, |open| open + 1);
        let comma = if self.fields.is_empty() { "" } else { "," };
        Patch { place: open..open, text: format!("\"model\":{}{added}{comma}", quoted(model)) }
    }

    fn include_usage(&self, patches: &mut Vec<Patch>, added: &mut String) {
        match self.usage_option() {
            UsageOption::On => {}
            UsageOption::Absent => added.push_str(r#","stream_options":{"include_usage":true}"#),
            UsageOption::Null => self.set("stream_options", r#"{"include_usage":true}"#, patches, added),
            UsageOption::Off(place) => patches.push(Patch { place: place.clone(), text: "true".into() }),
            UsageOption::Silent { open, is_empty } => {
                let comma = if *is_empty { "" } else { "," };
                patches.push(Patch { place: open + 1..open + 1, text: format!("\"include_usage\":true{comma}") });
            }
        }
    }

    /// Forwards exactly one limit: in the field that the client used, the newer of two. Answers which field goes, if any.
    fn limit(&self, limit: Tokens, patches: &mut Vec<Patch>, added: &mut String) -> Option<usize> {
        if self.endpoint() == Endpoint::Responses {
            self.set(RESPONSES_LIMIT, &limit.to_string(), patches, added);
            return None;
        }
        let by_default = if self.endpoint() == Endpoint::Chat { LIMITS[0] } else { LIMITS[1] };
        let kept = LIMITS
            .into_iter()
            .find(|name| self.sets_limit(name))
            .or_else(|| LIMITS.into_iter().find(|name| self.find(name).is_some()))
            .unwrap_or(by_default);
        self.set(kept, &limit.to_string(), patches, added);
        let other = if kept == LIMITS[0] { LIMITS[1] } else { LIMITS[0] };
        self.find(other)
    }

    fn set(&self, name: &str, value: &str, patches: &mut Vec<Patch>, added: &mut String) {
        match self.find(name) {
            Some(index) => patches.push(Patch { place: self.fields[index].value.clone(), text: value.into() }),
            // Writing to a string cannot fail.
            None => drop(write!(added, ",{}:{value}", quoted(name))),
        }
    }

    /// Whether the file sets the field for this target, which knows best.
    fn is_set(&self, index: usize, edits: &Edits<'_>) -> bool {
        let name = self.fields[index].name(self.body());
        edits.set.keys().any(|set| set.as_bytes() == name && set != "stream_options")
    }

    /// Takes fields out, each with one comma; neighbours go together.
    fn removals(&self, mut fields: Vec<usize>) -> Vec<Patch> {
        fields.sort_unstable();
        let runs = fields.chunk_by(|one, next| one + 1 == *next);
        let place = |run: &[usize]| {
            let (first, last) = (run[0], run[run.len() - 1]);
            match (self.fields.get(last + 1), first.checked_sub(1)) {
                (Some(next), _) => self.fields[first].key.start..next.key.start,
                (None, Some(previous)) => self.fields[previous].value.end..self.fields[last].value.end,
                (None, None) => self.fields[first].key.start..self.fields[last].value.end,
            }
        };
        runs.map(|run| Patch { place: place(run), text: String::new() }).collect()
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
