//! An event stream, read beside its relay.

mod anthropic;
mod openai;
mod responses;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::error::{ErrorWords, Shape};
use super::reading::{Reading, ReplyFault, Told};
use super::retell::{Interpreter, Retelling};
use super::sse::{Broken, Event, Lines, MAX_EVENT, Plain, plain_event};
use super::stencil::Stencil;
use super::{anthropic as messages, gemini, openai as chat, responses as ours};
use crate::units::{Endpoint, ModelName, Tokens, Usage, Usd, Wire};

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
    counts: Counts,
    /// Where the client speaks another format.
    interpreter: Option<Box<Interpreter>>,
    asks_for_usage: bool,
    output_limit: Option<Tokens>,
    expected: u32,
    lines: Lines,
    reading: Reading,
    stencil: Stencil,
    repair: chat::Repair,
    /// Events written anew that have not gone out.
    rewritten: Vec<u8>,
    bytes: u64,
    is_done: bool,
    has_sent_usage: bool,
    stand_in: Option<Usage>,
    price: Option<Price>,
}

/// The usage told so far, in the provider's numbers.
#[derive(Debug)]
enum Counts {
    Chat(chat::Counts),
    Messages(messages::Counts),
    Responses {
        counts: chat::Counts,
        /// The number of the next event.
        next: u64,
    },
    /// Each event tells the whole usage.
    Generate,
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
    /// `endpoint`: where the client asked, which tells its format, too. `asks_for_usage`: it wants the usage chunk. `output_limit`: the
    /// limit that was sent upstream.
    #[must_use]
    pub fn new(endpoint: Endpoint, asks_for_usage: bool, output_limit: Option<Tokens>) -> Self {
        Self {
            endpoint,
            counts: Counts::of(endpoint.wire()),
            interpreter: None,
            asks_for_usage,
            output_limit,
            expected: 1,
            lines: Lines::default(),
            reading: Reading::default(),
            stencil: Stencil::default(),
            repair: chat::Repair::default(),
            rewritten: Vec::new(),
            bytes: 0,
            is_done: false,
            has_sent_usage: false,
            stand_in: None,
            price: None,
        }
    }

    /// The provider speaks another format than the client.
    #[must_use]
    pub fn retelling(mut self, wire: Wire, retelling: Retelling) -> Self {
        self.counts = Counts::of(wire);
        self.interpreter = Some(Box::new(Interpreter::new(retelling)));
        self
    }

    /// What stands in an answer that names neither itself nor its model: the request's id, from which its own is made, and the model that
    /// was asked for.
    #[must_use]
    pub fn naming(mut self, request: Arc<str>, model: ModelName) -> Self {
        self.repair = chat::Repair::named(request, model);
        self
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
        self.price = Some(price).filter(|_| self.asks_for_usage && self.endpoint != Endpoint::Messages);
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
        let usage = self.told().usage.or(self.stand_in);
        if let Some(mut interpreter) = self.interpreter.take() {
            let told = Told { usage, ..self.told().clone() };
            let cost = self.price.as_ref().and_then(|price| price(&told));
            interpreter.end(&told, usage, cost, self.asks_for_usage, &mut self.rewritten);
            self.flush(out);
            return Ok(());
        }
        if matches!(self.endpoint, Endpoint::Messages | Endpoint::Responses) {
            return Ok(());
        }
        if self.asks_for_usage
            && !self.has_sent_usage
            && let Some(usage) = usage
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

    /// How the client's format writes errors.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape::of(self.endpoint)
    }

    /// What a client is told where the stream cannot go on.
    #[must_use]
    pub fn failure(&self, words: &ErrorWords<'_>, request_id: &str) -> Bytes {
        let shape = self.shape();
        if shape != Shape::Responses {
            return words.event(shape, Some(request_id));
        }
        let told = self.told();
        let of = self.interpreter.as_ref().map_or_else(|| self.relayed(request_id), |interpreter| interpreter.failed(told));
        ours::failed(words, of)
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
                if let (Counts::Responses { next, .. }, Some(number)) = (&mut self.counts, fit.number) {
                    *next = number.saturating_add(1);
                }
                self.check_limit()?;
                return Ok(Step::Keep(fit.length));
            }
            if let Some(plain) = plain_event(input) {
                self.lines.pass();
                let name = plain.name.clone().and_then(|name| std::str::from_utf8(&input[name]).ok());
                let is_kept = self.event(name, &input[plain.data.clone()], Some((&input[..plain.length], &plain)))?;
                return Ok(if is_kept { Step::Keep(plain.length) } else { Step::Drop(plain.length) });
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

    /// Reads one event; answers whether the client gets it as it came. `plain` is the event as it was framed, where that was a plain
    /// way.
    fn event(&mut self, name: Option<&str>, data: &[u8], plain: Option<(&[u8], &Plain)>) -> Result<bool, ReplyFault> {
        let text = std::str::from_utf8(data).map_err(|_| ReplyFault::Malformed("an event is not UTF-8"))?;
        let is_kept = match self.counts {
            Counts::Chat(_) => self.chat_event(name, text, plain)?,
            Counts::Messages(_) => self.messages_event(name, text, plain)?,
            Counts::Responses { .. } => self.responses_event(text, plain)?,
            Counts::Generate => self.generate_event(text)?,
        };
        let Some(interpreter) = &mut self.interpreter else { return Ok(is_kept) };
        interpreter.event(text, &self.reading.told, &mut self.rewritten);
        Ok(false)
    }

    /// One event of Gemini's format, which no client speaks here.
    fn generate_event(&mut self, text: &str) -> Result<bool, ReplyFault> {
        gemini::absorb(&mut self.reading, text)?;
        self.check_limit()?;
        Ok(false)
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
            for piece in ["event: ", name, "\n"] {
                self.rewritten.extend_from_slice(piece.as_bytes());
            }
        }
        for line in event.data.split('\n') {
            for piece in ["data: ", line, "\n"] {
                self.rewritten.extend_from_slice(piece.as_bytes());
            }
        }
        self.rewritten.push(b'\n');
    }

    fn flush(&mut self, out: &mut Vec<Bytes>) {
        if !self.rewritten.is_empty() {
            out.push(Bytes::from(std::mem::take(&mut self.rewritten)));
        }
    }
}

impl Counts {
    fn of(wire: Wire) -> Self {
        match wire {
            Wire::Chat | Wire::Completions | Wire::Embeddings | Wire::Passed => Self::Chat(chat::Counts::default()),
            Wire::Messages => Self::Messages(messages::Counts::default()),
            Wire::Responses => Self::Responses { counts: chat::Counts::of_responses(), next: 0 },
            Wire::Generate | Wire::Embed => Self::Generate,
        }
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
