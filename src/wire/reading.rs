//! What was read of an answer, whatever its format.

use super::error::{Class, ErrorTold};
use crate::units::{Tokens, Usage, Usd};

/// Why an answer ended, in our words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Error,
}

impl Finish {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Error => "error",
        }
    }

    /// Reads a provider's word; an unknown one is an ordinary end.
    pub(super) fn read(word: &str) -> Self {
        match word {
            "length" | "max_tokens" | "MAX_TOKENS" | "model_length" | "model_context_window_exceeded" => Self::Length,
            "tool_calls" | "function_call" | "tool_use" => Self::ToolCalls,
            "content_filter"
            | "content_filtered"
            | "refusal"
            | "guardrail_intervened"
            | "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "NO_IMAGE" => Self::ContentFilter,
            "error"
            | "aborted"
            | "insufficient_system_resource"
            | "MALFORMED_FUNCTION_CALL"
            | "MALFORMED_RESPONSE"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE"
            | "OTHER" => Self::Error,
            word if word.starts_with("malformed_") => Self::Error,
            word if word.starts_with("IMAGE_") => Self::ContentFilter,
            _ => Self::Stop,
        }
    }
}

/// One of several calls of models that an answer took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iteration {
    /// Absent: the model that was asked.
    pub model: Option<String>,
    pub usage: Usage,
}

/// What an answer said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Nothing when none was told, or none that can be believed.
    pub usage: Option<Usage>,
    /// The calls of models that the answer took, where it told them one by one; `usage` is then their sum. Empty: it was one call.
    pub iterations: Vec<Iteration>,
    /// Usage was told that cannot be believed, or whose parts do not add up.
    pub usage_flagged: bool,
    /// The provider's own figure for what the call cost.
    pub provider_cost: Option<Usd>,
    pub id: Option<String>,
    /// The model as the answer names it.
    pub model: Option<String>,
    pub finish: Option<Finish>,
    /// A content filter ended the answer before any content.
    pub is_blocked: bool,
    /// A whole answer that may not be quite what its format says.
    pub is_suspect: bool,
}

/// Why a reply is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    /// The provider told an error inside a 200.
    Error(Box<ErrorTold>),
    Malformed(&'static str),
    TooLarge(&'static str),
    /// The stream ended before the answer did.
    Truncated,
}

impl From<ErrorTold> for ReplyFault {
    fn from(told: ErrorTold) -> Self {
        Self::Error(Box::new(told))
    }
}

/// What was read of an answer so far, whole or in events.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) told: Told,
    pub(super) created: Option<u64>,
    /// Choices seen and finished, each a bit.
    pub(super) seen: u128,
    pub(super) finished: u128,
    pub(super) has_tool: bool,
    pub(super) has_content: bool,
    /// Bytes of content, refusals and tool calls, and the events that carried them.
    pub(super) text_bytes: u64,
    pub(super) text_events: u64,
    pub(super) reasoning_bytes: u64,
}

impl Reading {
    /// Counts content that was seen.
    pub(super) fn add(&mut self, text: u64, reasoning: u64) {
        self.text_bytes += text;
        self.text_events += u64::from(text > 0);
        self.reasoning_bytes += reasoning;
    }

    /// Whether the answer has begun for the client: content of any kind, or the reason why there is none.
    pub(super) fn has_begun(&self) -> bool {
        self.has_content || self.finished != 0 || self.told.finish.is_some()
    }

    /// How many choices showed.
    pub(super) fn choices(&self) -> u32 {
        self.seen.count_ones()
    }

    /// Whether every choice that showed has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.seen != 0 && self.seen == self.finished
    }

    /// Drops a usage that tells of less output than was seen.
    pub(super) fn doubt_usage_below(&mut self, output: u64) {
        let least = output.max(u64::from(self.text_bytes > 0));
        if self.told.usage.is_some_and(|usage| usage.output < Tokens::new(least)) {
            self.told.usage = None;
            self.told.usage_flagged = true;
        }
    }

    /// Takes over why a choice ended, in the provider's word.
    pub(super) fn finish(&mut self, word: &str) -> Result<(), ReplyFault> {
        let finish = match Finish::read(word) {
            Finish::Stop if self.has_tool => Finish::ToolCalls,
            finish => finish,
        };
        self.told.finish = Some(finish);
        self.told.is_blocked = finish == Finish::ContentFilter && !self.has_content;
        if finish != Finish::Error {
            return Ok(());
        }
        let class = match word {
            "insufficient_system_resource" => Class::Overloaded,
            "error" | "aborted" => Class::ServerError,
            _ => Class::BadModelOutput,
        };
        let told = ErrorTold::bare(class, format!("the provider ended the answer with `{}`", word.escape_default()));
        Err(ReplyFault::from(ErrorTold { usage: self.told.usage, ..told }))
    }
}
