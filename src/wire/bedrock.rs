//! Bedrock's own streams: what they say and what they cost. Nothing is sent in this format; its models are reached through other ones.

mod frames;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::anthropic as messages;
use super::canonical::{Assembly, Event, Said, ToolCall};
use super::error::read_error;
use super::reading::{Reading, ReplyFault, Told};
use crate::units::{Tokens, Usage};
use frames::{Frame, Frames};

static ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Which of the two APIs a stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BedrockApi {
    Converse {
        /// For some models the told input includes what the cache gave.
        input_includes_cache: bool,
    },
    /// Anthropic's events, each in a frame of its own.
    Invoke,
}

/// Reads a binary event stream, in any split.
pub struct BedrockStream {
    api: BedrockApi,
    frames: Frames,
    reading: Reading,
    counts: messages::Counts,
    decoder: messages::Decoder,
    said: Vec<Event>,
}

/// What an answer said, put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BedrockAnswer {
    pub text: String,
    pub reasoning: String,
    pub signatures: Vec<String>,
    /// Id, name and arguments as JSON of each.
    pub calls: Vec<(String, String, String)>,
}

/// Shows nothing of what streams through.
impl fmt::Debug for BedrockStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BedrockStream").field("api", &self.api).field("told", &self.reading.told).finish_non_exhaustive()
    }
}

impl BedrockStream {
    #[must_use]
    pub fn of(api: BedrockApi) -> Self {
        let (frames, reading, counts, decoder) = <(Frames, Reading, messages::Counts, messages::Decoder)>::default();
        Self { api, frames, reading, counts, decoder, said: Vec::new() }
    }

    /// Reads what came. Nothing may be pushed after a fault.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ReplyFault> {
        self.frames.push(bytes);
        while let Some(frame) = self.frames.take()? {
            self.frame(&frame)?;
        }
        Ok(())
    }

    /// The end of input.
    pub fn end(&self) -> Result<&Told, ReplyFault> {
        if self.reading.is_finished() { Ok(&self.reading.told) } else { Err(ReplyFault::Truncated) }
    }

    /// Content was seen, or why there is none.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.reading.has_begun()
    }

    /// What the answer has said of itself so far.
    #[must_use]
    pub fn told(&self) -> &Told {
        &self.reading.told
    }

    /// What was said so far.
    #[must_use]
    pub fn answer(&self) -> BedrockAnswer {
        let whole = Assembly::of(self.said.clone());
        let signatures = whole.parts.iter().filter_map(|part| match part {
            Said::Reasoning { signature, .. } => signature.clone(),
            _ => None,
        });
        let call = |ToolCall { id, name, arguments, .. }: &ToolCall| (id.clone(), name.clone(), arguments.clone());
        BedrockAnswer {
            signatures: signatures.collect(),
            text: whole.text(),
            reasoning: whole.reasoning(),
            calls: whole.calls().map(call).collect(),
        }
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), ReplyFault> {
        let payload = std::str::from_utf8(&frame.payload).map_err(|_| ReplyFault::Malformed("an event is not UTF-8"))?;
        if frame.header(":message-type") != Some("event") {
            return Err(exception(frame, payload));
        }
        let Ok(event) = serde_json::from_str::<Value>(payload) else { return Err(ReplyFault::Malformed("an event is not a JSON object")) };
        match self.api {
            BedrockApi::Converse { input_includes_cache } => {
                self.converse(frame.header(":event-type").unwrap_or_default(), &event, input_includes_cache)
            }
            BedrockApi::Invoke => self.invoke(&event),
        }
    }

    fn converse(&mut self, kind: &str, event: &Value, input_includes_cache: bool) -> Result<(), ReplyFault> {
        let slot = event["contentBlockIndex"].as_u64().and_then(|slot| usize::try_from(slot).ok()).unwrap_or_default();
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        match kind {
            "messageStart" => self.reading.seen = 1,
            "contentBlockStart" => {
                if let Some(name) = text(&event["start"]["toolUse"]["name"]) {
                    self.heard(name.len(), 0);
                    self.reading.has_tool = true;
                    self.said.push(Event::Call { slot, id: text(&event["start"]["toolUse"]["toolUseId"]), name, signature: None });
                }
            }
            "contentBlockDelta" => {
                let (delta, thought) = (&event["delta"], &event["delta"]["reasoningContent"]);
                let said = [
                    text(&delta["text"]).map(Event::Text),
                    text(&delta["toolUse"]["input"]).map(|json| Event::Arguments { slot, json }),
                    text(&thought["text"]).map(Event::Reasoning),
                    text(&thought["redactedContent"]).map(Event::Redacted),
                    text(&thought["signature"]).map(Event::Signature),
                ];
                for event in said.into_iter().flatten() {
                    match &event {
                        Event::Text(more) | Event::Arguments { json: more, .. } => self.heard(more.len(), 0),
                        Event::Reasoning(more) | Event::Redacted(more) => self.heard(0, more.len()),
                        _ => {}
                    }
                    self.said.push(event);
                }
            }
            "messageStop" => {
                (self.reading.seen, self.reading.finished) = (1, 1);
                self.reading.finish(event["stopReason"].as_str().unwrap_or_default())?;
            }
            "metadata" => (self.reading.told.usage, self.reading.told.usage_flagged) = usage(&event["usage"], input_includes_cache),
            _ => {}
        }
        Ok(())
    }

    fn heard(&mut self, text: usize, reasoning: usize) {
        self.reading.add(text as u64, reasoning as u64);
        self.reading.has_content = true;
    }

    fn invoke(&mut self, event: &Value) -> Result<(), ReplyFault> {
        let bytes = event["bytes"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(text) = text else { return Err(ReplyFault::Malformed("an event has no bytes in it")) };
        let Ok(chunk) = messages::Chunk::read(&text) else { return Err(ReplyFault::Malformed("an event is not a JSON object")) };
        messages::absorb(&mut self.reading, &mut self.counts, &chunk, &text)?;
        self.decoder.read(&text, &mut self.said);
        Ok(())
    }
}

/// An error told in the stream: by its type and its message.
fn exception(frame: &Frame, payload: &str) -> ReplyFault {
    let kind = frame.header(":exception-type").or_else(|| frame.header(":error-code")).unwrap_or_default();
    // Whoever classifies errors knows the types by their names in heads, which begin with a capital letter.
    let kind: String = kind.chars().take(1).flat_map(char::to_uppercase).chain(kind.chars().skip(1)).collect();
    let headers: HeaderMap = HeaderValue::from_str(&kind).into_iter().map(|kind| (ERROR_TYPE.clone(), kind)).collect();
    let message = frame.header(":error-message").map(|message| serde_json::json!({ "message": message }).to_string());
    ReplyFault::from(read_error(None, &headers, message.as_deref().unwrap_or(payload).as_bytes()))
}

/// The usage by kind, and whether something about it is wrong. Nothing when nothing believable was told.
fn usage(told: &Value, input_includes_cache: bool) -> (Option<Usage>, bool) {
    let mut is_implausible = false;
    let mut count = |value: &Value| match value {
        Value::Null => 0,
        value => value.as_u64().filter(|&count| count <= Tokens::PLAUSIBLE.count()).unwrap_or_else(|| {
            is_implausible = true;
            0
        }),
    };
    let (input, output) = (count(&told["inputTokens"]), count(&told["outputTokens"]));
    let (read, written) = (count(&told["cacheReadInputTokens"]), count(&told["cacheWriteInputTokens"]));
    let details = told["cacheDetails"].as_array().into_iter().flatten().filter(|detail| detail["ttl"] == "1h");
    let for_an_hour: u64 = details.map(|detail| count(&detail["inputTokens"])).sum();
    if is_implausible || !told["inputTokens"].is_u64() || !told["outputTokens"].is_u64() {
        return (None, is_implausible);
    }
    let cached = if input_includes_cache { read + written } else { 0 };
    let usage = Usage {
        input_uncached: Tokens::new(input.saturating_sub(cached)),
        cache_read: Tokens::new(read),
        cache_write: Tokens::new(written),
        cache_write_1h: Tokens::new(for_an_hour.min(written)),
        output: Tokens::new(output),
        ..Usage::default()
    };
    (Some(usage), cached > input || for_an_hour > written)
}
