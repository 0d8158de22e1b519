use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::chunk::Chunk;
use super::reply::{Reading, ReplyFault, Told, error_in_a_list};
use super::stencil::Stencil;
use crate::units::{Endpoint, Tokens, Usage, Usd};
use crate::wire::error::read_error;
use crate::wire::sse::{Broken, Event, Lines, MAX_EVENT, plain_data, plain_event};

/// The largest stream.
const MAX_STREAM: u64 = 64 << 20;
/// No tokenizer needs fewer tokens than one for so many bytes over a whole answer, but where events are as few.
const BYTES_PER_TOKEN_AT_MOST: u64 = 8;
const BYTES_PER_TOKEN_USUALLY: u64 = 4;
const DONE: &[u8] = b"data: [DONE]\n\n";

/// Reads an event stream beside its relay: bytes in, in any split, bytes for the client out.
///
/// Whole events that are written the plain way go out as slices of what came in, neighbours as one slice. Others are written
/// anew with the same data. Comments, `id` and `retry` stay behind, and so does `[DONE]` until [`Tap::end`].
pub struct Tap {
    endpoint: Endpoint,
    asks_for_usage: bool,
    output_limit: Option<Tokens>,
    expected: u32,
    lines: Lines,
    reading: Reading,
    stencil: Stencil,
    /// Events written anew that have not gone out.
    rewritten: Vec<u8>,
    bytes: u64,
    is_done: bool,
    has_sent_usage: bool,
    stand_in: Option<Usage>,
    price: Option<Price>,
}

/// What an answer costs that told so much of itself; nothing where that is not known.
type Price = Box<dyn Fn(&Told) -> Option<Usd> + Send>;

/// Shows nothing of what streams through.
impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("bytes", &self.bytes).field("told", self.told()).finish_non_exhaustive()
    }
}

/// What becomes of the bytes that were read.
enum Step {
    Keep(usize),
    Drop(usize),
}

impl Tap {
    /// `asks_for_usage`: the client wants the usage chunk. `output_limit`: the limit that was sent upstream.
    #[must_use]
    pub fn new(endpoint: Endpoint, asks_for_usage: bool, output_limit: Option<Tokens>) -> Self {
        Self {
            endpoint,
            asks_for_usage,
            output_limit,
            expected: 1,
            lines: Lines::default(),
            reading: Reading::default(),
            stencil: Stencil::default(),
            rewritten: Vec::new(),
            bytes: 0,
            is_done: false,
            has_sent_usage: false,
            stand_in: None,
            price: None,
        }
    }

    /// How many choices were asked for. Fewer are complete only when the provider says that it is done.
    #[must_use]
    pub fn expecting(mut self, choices: u32) -> Self {
        self.expected = choices.max(1);
        self
    }

    /// A client that asked for usage is told the cost in it, as `usage.cost` in dollars, where the provider tells none itself.
    #[must_use]
    pub fn pricing(mut self, price: Price) -> Self {
        self.price = Some(price).filter(|_| self.asks_for_usage);
        self
    }

    /// Reads what came. Also where this fails, `out` has what the client may get of the bytes before the fault; nothing may
    /// be pushed after.
    #[expect(clippy::needless_pass_by_value, reason = "the slices that go out share the chunk, which is spent here")]
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), ReplyFault> {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        if self.bytes > MAX_STREAM {
            return Err(ReplyFault::TooLarge("the stream is larger than 64 MiB"));
        }
        let (mut start, mut at) = (0, 0);
        let mut read = Ok(());
        while at < chunk.len() {
            match self.step(&chunk[at..]) {
                Ok(Step::Keep(length)) => {
                    self.flush(out);
                    at += length;
                }
                Ok(Step::Drop(length)) => {
                    give(&chunk, start, at, out);
                    at += length;
                    start = at;
                }
                Err(fault) => {
                    read = Err(fault);
                    break;
                }
            }
        }
        give(&chunk, start, at, out);
        self.flush(out);
        read
    }

    /// The end of input. Appends the usage that is owed and `[DONE]`.
    pub fn end(&mut self, out: &mut Vec<Bytes>) -> Result<(), ReplyFault> {
        if let Ok(Some(event)) = self.lines.finish() {
            match self.event(event.name.as_deref(), event.data.as_bytes(), None) {
                Ok(true) => self.rewrite(&event),
                Err(fault @ ReplyFault::Error(_)) => return Err(fault),
                // Half an event: the stream was cut in it, which only matters when the answer was not finished.
                Ok(false) | Err(_) => {}
            }
        }
        self.flush(out);
        if !self.is_complete() {
            return Err(ReplyFault::Truncated);
        }
        self.reading.doubt_usage_below(self.least_output());
        if self.asks_for_usage
            && !self.has_sent_usage
            && let Some(usage) = self.told().usage.or(self.stand_in)
        {
            out.push(self.usage_chunk(&usage));
        }
        out.push(Bytes::from_static(DONE));
        Ok(())
    }

    /// What to tell a client that asked for usage when the provider tells none: our estimate.
    pub fn stand_in(&mut self, usage: Usage) {
        self.stand_in = Some(usage);
    }

    /// The commit point: content, a tool call, a refusal or a finish reason was seen.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.reading.has_begun()
    }

    /// Every choice has its finish reason.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.reading.is_finished() && (self.is_done || self.reading.choices() >= self.expected)
    }

    /// The provider said `[DONE]`.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// What the answer has said of itself so far.
    #[must_use]
    pub fn told(&self) -> &Told {
        &self.reading.told
    }

    /// About how much output was seen, reasoning included, at four bytes a token.
    #[must_use]
    pub fn output_seen(&self) -> Tokens {
        Tokens::new((self.reading.text_bytes + self.reading.reasoning_bytes).div_ceil(BYTES_PER_TOKEN_USUALLY))
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, ReplyFault> {
        if self.is_done {
            return Ok(Step::Drop(input.len()));
        }
        if self.lines.is_between_events() {
            if self.reading.has_begun()
                && let Some(fit) = self.stencil.fit(input).filter(|fit| fit.length <= MAX_EVENT)
            {
                self.reading.add(fit.text, fit.reasoning);
                self.check_limit()?;
                return Ok(Step::Keep(fit.length));
            }
            if let Some(length) = plain_event(input) {
                self.lines.pass();
                let event = &input[..length];
                let is_kept = self.event(None, plain_data(event), Some(event))?;
                return Ok(if is_kept { Step::Keep(length) } else { Step::Drop(length) });
            }
        }
        let (length, event) = self.lines.take(input).map_err(|broken| match broken {
            Broken::Text => ReplyFault::Malformed("a line of the stream holds NUL or is not UTF-8"),
            Broken::TooLarge => ReplyFault::TooLarge("an event of the stream is larger than 1 MiB"),
        })?;
        if let Some(event) = event
            && self.event(event.name.as_deref(), event.data.as_bytes(), None)?
        {
            self.rewrite(&event);
        }
        Ok(Step::Drop(length))
    }

    /// Reads one event; answers whether the client gets it. `plain` is the event as it was framed, where that was the plain way.
    fn event(&mut self, name: Option<&str>, data: &[u8], plain: Option<&[u8]>) -> Result<bool, ReplyFault> {
        let text = std::str::from_utf8(data).map_err(|_| ReplyFault::Malformed("an event is not UTF-8"))?;
        if text.trim_ascii() == "[DONE]" {
            self.is_done = true;
            return Ok(false);
        }
        let Ok(chunk) = Chunk::read(text) else {
            return Err(error_in_a_list(text).unwrap_or(ReplyFault::Malformed("an event is not a JSON object")));
        };
        if name == Some("error") {
            return Err(ReplyFault::from(read_error(None, &HeaderMap::new(), data)));
        }
        let was_finished = self.reading.is_finished();
        self.reading.absorb(&chunk, text)?;
        self.check_limit()?;
        let is_usage_alone = chunk.usage.is_some() && !chunk.has_content() && chunk.finished == 0 && (chunk.choices == 0 || was_finished);
        if is_usage_alone && !self.asks_for_usage {
            return Ok(false);
        }
        self.has_sent_usage |= chunk.usage.is_some();
        if let Some(usage) = chunk.usage
            && let Some(cost) = self.cost_to_add(usage)
        {
            // The usage is a part of the text.
            let inside = usage.as_ptr() as usize - text.as_ptr() as usize + 1;
            let data = format!("{}\"cost\":{},{}", &text[..inside], cost.plain(), &text[inside..]);
            self.rewrite(&Event { name: name.map(str::to_owned), data });
            return Ok(false);
        }
        let tells_usage = chunk.usage.is_some() || chunk.hidden_usage.is_some();
        let is_ordinary = chunk.choices == 1 && chunk.finish.is_none() && !tells_usage && chunk.mentions_tool == chunk.has_tool;
        if let Some(event) = plain
            && is_ordinary
            && chunk.has_content()
        {
            self.stencil.learn(event, event.len() - 2 - data.len(), &chunk.holes);
        }
        Ok(true)
    }

    /// What is to stand in a usage object that has other fields but no cost.
    fn cost_to_add(&self, usage: &str) -> Option<Usd> {
        let price = self.price.as_ref()?;
        let has_fields = usage.starts_with('{') && !usage[1..].trim_ascii_start().starts_with('}');
        (has_fields && self.told().provider_cost.is_none()).then(|| price(self.told())).flatten()
    }

    fn check_limit(&self) -> Result<(), ReplyFault> {
        let Some(limit) = self.output_limit else { return Ok(()) };
        let choices = u64::from(self.reading.choices().max(self.expected));
        let most = limit.count().saturating_mul(choices).saturating_mul(11) / 10;
        if self.least_output() > most { Err(ReplyFault::TooLarge("the answer is longer than its limit")) } else { Ok(()) }
    }

    /// A number of tokens that the answer has at least. Neither events nor bytes alone tell it: some send an event for each
    /// character, some for each sentence. Reasoning is left out, because not every limit or count includes it.
    fn least_output(&self) -> u64 {
        self.reading.text_events.min(self.reading.text_bytes / BYTES_PER_TOKEN_AT_MOST)
    }

    fn rewrite(&mut self, event: &Event) {
        if let Some(name) = &event.name {
            self.rewritten.extend([b"event: ", name.as_bytes(), b"\n"].concat());
        }
        for line in event.data.split('\n') {
            self.rewritten.extend([b"data: ", line.as_bytes(), b"\n"].concat());
        }
        self.rewritten.push(b'\n');
    }

    fn flush(&mut self, out: &mut Vec<Bytes>) {
        if !self.rewritten.is_empty() {
            out.push(Bytes::from(std::mem::take(&mut self.rewritten)));
        }
    }

    fn usage_chunk(&self, usage: &Usage) -> Bytes {
        let object = if self.endpoint == Endpoint::Chat { "chat.completion.chunk" } else { "text_completion" };
        let chunk = serde_json::json!({
            "id": self.told().id.as_deref().unwrap_or_default(),
            "object": object,
            "created": self.reading.created.unwrap_or(0),
            "model": self.told().model.as_deref().unwrap_or_default(),
            "choices": [],
            "usage": {
                "prompt_tokens": usage.input_total().count(),
                "completion_tokens": usage.output.count(),
                "total_tokens": usage.total().count(),
                "prompt_tokens_details": { "cached_tokens": usage.cache_read.count() },
                "completion_tokens_details": { "reasoning_tokens": usage.reasoning.count() },
            },
        });
        let text = chunk.to_string();
        let told = Told { usage: Some(*usage), ..self.told().clone() };
        // Put in as text: an amount of money is never a float.
        let text = match self.price.as_ref().and_then(|price| price(&told)) {
            Some(cost) => text.replacen("\"usage\":{", &format!("\"usage\":{{\"cost\":{},", cost.plain()), 1),
            None => text,
        };
        Bytes::from(format!("data: {text}\n\n"))
    }
}

/// Gives out a part of the chunk as it is.
fn give(chunk: &Bytes, start: usize, end: usize, out: &mut Vec<Bytes>) {
    if start < end {
        out.push(chunk.slice(start..end));
    }
}

#[cfg(test)]
mod tests;
