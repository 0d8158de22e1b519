//! A conversation and an answer in no format's words: what one format is carried to another through.

mod assembly;
mod draft;
mod free;
mod names;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::units::{Effort, Quirks, Wire};

use super::call::BadCall;
use super::reading::Finish;

pub(super) use assembly::{Assembly, Said};
pub use draft::Translated;
pub(super) use draft::{Draft, content_of};
pub(super) use free::{Grammar, unwrapped, wrapped};
pub(super) use names::{NameRule, Names};

/// A request. What the target's format cannot say of it is told by whoever writes it.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// What stands before the first turn.
    pub(super) system: Vec<Part>,
    pub(super) turns: Vec<Turn>,
    pub(super) tools: Vec<Tool>,
    /// The only tools that may be called, where the client named some.
    pub(super) allowed: Option<Vec<String>>,
    pub(super) choice: Option<Choice>,
    /// Whether several tools may be called at once; absent where the client did not say.
    pub(super) parallel: Option<bool>,
    /// The most output, in tokens.
    pub(super) limit: Option<u64>,
    pub(super) stops: Vec<String>,
    /// Numbers that mean the same everywhere, as they are written: `temperature`, `top_p`, `top_k`, `seed` …
    pub(super) knobs: BTreeMap<&'static str, Box<RawValue>>,
    pub(super) thinking: Option<Thinking>,
    /// The field in which the client says so.
    pub(super) thinking_field: &'static str,
    pub(super) schema: Option<Schema>,
    /// How wordy the answer is to be, in `OpenAI`'s words.
    pub(super) verbosity: Option<String>,
    /// The field in which the client says so.
    pub(super) verbosity_field: &'static str,
    /// The answer is to be a JSON object of whatever kind: the field in which the client says so.
    pub(super) wants_json: Option<&'static str>,
    pub(super) is_streaming: bool,
    /// Fields without which the answer would be wrong, and that no other format has.
    pub(super) musts: Vec<String>,
    /// Fields that no other format has, and that an answer can do without.
    pub(super) extras: Vec<String>,
    /// The first thing that breaks the rules of the client's own format.
    pub(super) bad: Option<BadCall>,
}

impl Conversation {
    /// Notes that `param` breaks the rules of the client's own format: it `must` be something else.
    pub(super) fn refuse(&mut self, param: &str, must: &str) {
        let bad = || BadCall::parameter(param, format!("`{}` must {must}", param.escape_debug()));
        self.bad.get_or_insert_with(bad);
    }

    /// The conversation, if it keeps its own format's rules and says anything at all, in the list of that name.
    pub(super) fn checked(mut self, list: &str) -> Result<Self, BadCall> {
        let says = |part: &Part| !matches!(part, Part::Text { text, .. } if text.is_empty());
        let is_silent = !self.turns.iter().flat_map(|turn| &turn.parts).chain(&self.system).any(says);
        if is_silent && self.musts.is_empty() {
            self.refuse(list, "say something");
        }
        match self.bad.take() {
            Some(bad) => Err(bad),
            None => Ok(self),
        }
    }

    /// The tools that may be called.
    pub(super) fn callable(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(|tool| self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&tool.name)))
    }

    /// What the call must have and a target that speaks `to` with these quirks lacks, in order of the names.
    pub(super) fn unmet(&self, to: Wire, quirks: &Quirks) -> Vec<String> {
        let mut unmet = self.musts.clone();
        if self.stops.len() > if to == Wire::Responses { 0 } else { quirks.most_stops } {
            unmet.push("stop".into());
        }
        unmet.extend(self.wants_json.filter(|_| to == Wire::Messages).map(str::to_owned));
        unmet.extend(self.schema.iter().filter(|_| !quirks.structured_outputs).map(|schema| schema.field.to_owned()));
        for turn in &self.turns {
            unmet.extend(turn.parts.iter().filter_map(|part| part.unmet(quirks)).map(|what| format!("{}:{what}", turn.place)));
        }
        unmet.sort();
        unmet.dedup();
        unmet
    }
}

impl Part {
    fn unmet(&self, quirks: &Quirks) -> Option<&'static str> {
        match self {
            Self::Image { source: Source::Url(_), .. } if !quirks.image_urls => Some("image_url"),
            Self::File { source: Source::Url(_), .. } => Some("file"),
            Self::File { source: Source::Data { media_type, .. }, .. } if media_type != "application/pdf" => Some("file"),
            Self::Result { parts, .. } => parts.iter().find_map(|part| part.unmet(quirks)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    System,
    User,
    Assistant,
}

/// What one side says until the other one does.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) role: Role,
    pub(super) parts: Vec<Part>,
    /// Its place in the client's words, such as `messages[2]`.
    pub(super) place: String,
}

#[derive(Debug)]
pub(super) enum Part {
    Text {
        text: String,
        /// The prompt is to be cached up to here.
        is_cached: bool,
    },
    Image {
        source: Source,
        /// How closely it is to be looked at, in `OpenAI`'s words, where that is said and not left to the model.
        detail: Option<String>,
    },
    File {
        source: Source,
        name: Option<String>,
    },
    /// What a model thought, for itself alone: no other one may have it.
    Reasoning {
        /// Where it stands in the client's words.
        place: String,
        /// Absent where it is hidden.
        text: Option<String>,
    },
    Call(ToolCall),
    Result {
        id: String,
        parts: Vec<Part>,
        is_error: bool,
    },
}

/// Where a picture or a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Base64.
    Data {
        media_type: String,
        data: String,
    },
    Url(String),
}

impl Source {
    /// Reads a URL, whose data may stand in it.
    pub(super) fn of_url(url: &str) -> Self {
        let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        match inline {
            Some((media_type, data)) => {
                let media_type = media_type.split(';').next().unwrap_or_default();
                Self::Data { media_type: media_type.into(), data: data.into() }
            }
            None => Self::Url(url.into()),
        }
    }

    /// The same as a URL.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Data { media_type, data } => format!("data:{media_type};base64,{data}"),
            Self::Url(url) => url.clone(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON, as the model wrote it.
    pub(super) arguments: String,
    /// What its provider wants back with it.
    pub(super) signature: Option<String>,
}

#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) description: Option<String>,
    /// A JSON schema.
    pub(super) parameters: Option<Box<RawValue>>,
    pub(super) is_strict: Option<bool>,
    pub(super) is_cached: bool,
    /// The client gives it a text: the one that stands in its arguments under `input`.
    pub(super) is_free: bool,
}

/// Which tools the model is to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Auto,
    None,
    Any,
    Named(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    Effort(Effort),
    /// At most so many tokens.
    Budget(u64),
    /// As long as the model finds right.
    Adaptive,
    Off,
}

#[derive(Debug)]
pub(super) struct Schema {
    pub(super) name: Option<String>,
    pub(super) json: Box<RawValue>,
    pub(super) is_strict: Option<bool>,
    /// The field in which the client says so.
    pub(super) field: &'static str,
}

/// One thing that an answer says, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Text(String),
    Refusal(String),
    Reasoning(String),
    Signature(String),
    Redacted(String),
    /// A tool call begins. Slots tell the calls of one answer apart.
    Call {
        slot: usize,
        id: Option<String>,
        name: String,
        signature: Option<String>,
    },
    Arguments {
        slot: usize,
        json: String,
    },
    /// Nothing more comes for this call.
    CallEnd {
        slot: usize,
    },
    /// A sequence that was to stop the answer did.
    Sequence(String),
}

/// What is told at an answer's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) finish: Finish,
    pub(super) usage: Option<crate::units::Usage>,
    pub(super) cost: Option<crate::units::Usd>,
}

/// JSON without white space between its tokens. What is no JSON stays as it is.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for c in json.chars() {
        if is_in_string {
            is_in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            is_in_string = c == '"';
        }
        out.push(c);
    }
    out
}

/// A value of ours as JSON text.
pub(super) fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    // Every value of ours can be written.
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

/// A text that is JSON already.
pub(super) fn raw_text(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.to_owned()).ok()
}
