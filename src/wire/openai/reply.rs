use bytes::Bytes;
use http::HeaderMap;

use super::chunk::Chunk;
use super::usage::Counts;
use crate::units::{Endpoint, Tokens, Usage, Usd};
use crate::wire::error::{Class, ErrorTold, read_error};

/// Bytes that a token has at the very least in no answer of any length: below, a count is not believed.
const BYTES_PER_TOKEN_AT_MOST: u64 = 64;

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
    fn read(word: &str) -> Self {
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

/// What an answer said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Nothing when none was told, or none that can be believed.
    pub usage: Option<Usage>,
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

/// Reads a whole answer. White space may stand before it.
pub fn read_reply(endpoint: Endpoint, body: &Bytes) -> Result<Told, ReplyFault> {
    let text = std::str::from_utf8(body).map_err(|_| ReplyFault::Malformed("the body is not UTF-8"))?;
    if text.trim_ascii().is_empty() {
        return Err(ReplyFault::Malformed("the body is empty"));
    }
    let Ok(chunk) = Chunk::read(text) else {
        return Err(error_in_a_list(text).unwrap_or(ReplyFault::Malformed("the body is not a JSON object")));
    };
    let mut reading = Reading::default();
    reading.absorb(&chunk, text)?;
    if !chunk.has_list || (endpoint != Endpoint::Embeddings && chunk.choices == 0) {
        let told = read_error(None, &HeaderMap::new(), body);
        let fault = ReplyFault::Malformed("the body holds no answer");
        return Err(if told.message.is_some() { ReplyFault::from(told) } else { fault });
    }
    reading.doubt_usage_below(reading.text_bytes / BYTES_PER_TOKEN_AT_MOST);
    Ok(reading.told)
}

/// An error object inside an array, as one provider writes it.
pub(super) fn error_in_a_list(text: &str) -> Option<ReplyFault> {
    let told = text.trim_ascii_start().starts_with('[').then(|| read_error(None, &HeaderMap::new(), text.as_bytes()))?;
    told.message.is_some().then(|| ReplyFault::from(told))
}

/// What was read of an answer so far, whole or in events.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) told: Told,
    pub(super) created: Option<u64>,
    counts: Counts,
    /// Choices seen and finished, each a bit.
    seen: u128,
    finished: u128,
    has_tool: bool,
    has_content: bool,
    /// Bytes of content, refusals and tool calls, and the events that carried them.
    pub(super) text_bytes: u64,
    pub(super) text_events: u64,
    pub(super) reasoning_bytes: u64,
}

impl Reading {
    /// Takes over what one event or body says; `text` is all of it.
    pub(super) fn absorb(&mut self, chunk: &Chunk<'_>, text: &str) -> Result<(), ReplyFault> {
        if chunk.error.is_some() {
            return Err(ReplyFault::from(read_error(None, &HeaderMap::new(), text.as_bytes())));
        }
        self.names(chunk);
        self.usage(chunk);
        self.add(chunk.text, chunk.reasoning);
        let is_late = self.has_content && !chunk.has_content();
        self.has_content |= chunk.has_content();
        self.has_tool |= chunk.has_tool;
        self.seen |= chunk.seen;
        // Some write an empty word for null, one writes it for the end; only behind the content can it be the end.
        self.finished |= chunk.finished | if is_late { chunk.maybe_finished } else { 0 };
        if let Some(word) = chunk.finish.filter(|word| is_late || !word.raw().is_empty()) {
            self.finish(&word.text())?;
        }
        Ok(())
    }

    /// Counts content that was seen.
    pub(super) fn add(&mut self, text: u64, reasoning: u64) {
        self.text_bytes += text;
        self.text_events += u64::from(text > 0);
        self.reasoning_bytes += reasoning;
    }

    /// Whether the answer has begun for the client: content of any kind, or the reason why there is none.
    pub(super) fn has_begun(&self) -> bool {
        self.has_content || self.finished != 0
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

    fn names(&mut self, chunk: &Chunk<'_>) {
        let name = |string: Option<crate::wire::json::Str<'_>>| Some(string?.text().into_owned()).filter(|text| !text.is_empty());
        if self.told.id.is_none() {
            self.told.id = name(chunk.id);
        }
        if self.told.model.is_none() {
            self.told.model = name(chunk.model);
        }
        self.created = self.created.or(chunk.created.filter(|&created| created > 0));
    }

    fn usage(&mut self, chunk: &Chunk<'_>) {
        if chunk.usage.is_none() && chunk.hidden_usage.is_none() {
            return;
        }
        for raw in [chunk.hidden_usage, chunk.usage].into_iter().flatten() {
            self.counts.merge(raw);
        }
        (self.told.usage, self.told.usage_flagged) = self.counts.usage();
        self.told.provider_cost = self.counts.cost();
    }

    fn finish(&mut self, word: &str) -> Result<(), ReplyFault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: Endpoint, body: &'static str) -> Result<Told, ReplyFault> {
        read_reply(endpoint, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn u17_a_whole_answer_that_is_an_error_is_one() {
        let cases = [
            (r#"{"error":{"message":"m","type":"overloaded_error"}}"#, Class::Overloaded),
            (r#"[{"error":{"code":400,"message":"Invalid reasoning_effort: x"}}]"#, Class::CapabilityMismatch),
            (r#"{"object":"error","message":"m","type":"t","code":"3051"}"#, Class::ServerError),
            (r#"{"choices":[{"message":{"content":""},"finish_reason":"insufficient_system_resource"}]}"#, Class::Overloaded),
            (r#"{"choices":[{"message":{"content":null},"finish_reason":"MALFORMED_FUNCTION_CALL"}]}"#, Class::BadModelOutput),
        ];
        for (body, class) in cases {
            let Err(ReplyFault::Error(told)) = read(Endpoint::Chat, body) else { panic!("{body}") };
            assert_eq!(told.class, class, "{body}");
        }
        let with_usage = read(Endpoint::Chat, r#"{"error":{"message":"m"},"usage":{"prompt_tokens":3,"completion_tokens":0}}"#);
        let Err(ReplyFault::Error(told)) = with_usage else { panic!() };
        assert_eq!(told.usage.unwrap().input_total(), Tokens::new(3));
    }

    #[test]
    fn u22_u31_u38_what_is_no_answer_is_malformed() {
        for body in ["", " \n", "<html></html>", "{", "{}", "null", "[]", "7", r#"{"choices":[]}"#, r#"{"choices":[{}]} x"#] {
            assert!(matches!(read(Endpoint::Chat, body), Err(ReplyFault::Malformed(_))), "{body}");
        }
        assert!(matches!(
            read_reply(Endpoint::Chat, &Bytes::from_static(b"{\"choices\":[{\"a\":\"\xff\"}]}")),
            Err(ReplyFault::Malformed(_))
        ));
    }

    #[test]
    fn u33_usage_below_what_was_seen_is_not_believed() {
        let told = read(Endpoint::Chat, r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":0}}"#);
        let told = told.unwrap();
        assert_eq!((told.usage, told.usage_flagged), (None, true));
    }

    #[test]
    fn u34_the_model_that_answered_is_told() {
        let told =
            read(Endpoint::Chat, r#"{"id":"a","model":"other\u002d1","choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#);
        let told = told.unwrap();
        assert_eq!((told.model.as_deref(), told.id.as_deref(), told.finish), (Some("other-1"), Some("a"), Some(Finish::Stop)));
    }

    #[test]
    fn finish_reasons_have_our_words() {
        let cases = [
            ("stop", "\"content\":\"x\"", Finish::Stop, false),
            ("stop", "\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]", Finish::ToolCalls, false),
            ("eos", "\"content\":\"x\"", Finish::Stop, false),
            ("model_length", "\"content\":\"x\"", Finish::Length, false),
            ("content_filter", "\"content\":\"\"", Finish::ContentFilter, true),
            ("content_filter", "\"content\":\"x\"", Finish::ContentFilter, false),
            ("something_new", "\"content\":[{\"type\":\"text\",\"text\":\"x\"}]", Finish::Stop, false),
        ];
        for (word, message, finish, is_blocked) in cases {
            let body = Bytes::from(format!("{{\"choices\":[{{\"message\":{{{message}}},\"finish_reason\":\"{word}\"}}]}}"));
            let told = read_reply(Endpoint::Chat, &body).unwrap();
            assert_eq!((told.finish, told.is_blocked), (Some(finish), is_blocked), "{word} {message}");
        }
    }
}
