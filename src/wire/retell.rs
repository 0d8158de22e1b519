//! An answer of one format, told in another.

use std::sync::Arc;

use bytes::Bytes;

use super::anthropic;
use super::canonical::{Assembly, End, Event, Names, Translated};
use super::gemini;
use super::openai;
use super::reading::{Finish, Told};
use super::responses::{self, Failed};
use crate::units::{Endpoint, Tokens, Usage, Usd, Wire};

/// How what stands in place of a provider's signature begins.
pub(super) const SIGNED_BY_US: &str = "tg1:";

/// What all of an answer's events and bodies say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// The estimate of the input, for formats that tell it first.
    pub(super) input: Tokens,
    pub(super) names: &'a Names,
    /// What is said again of the request, where the format does that.
    pub(super) echo: &'a str,
}

/// Who is told an answer that came in another format.
#[derive(Clone, Debug)]
pub struct Retelling {
    endpoint: Endpoint,
    wire: Wire,
    id: String,
    model: String,
    created: u64,
    input: Tokens,
    names: Names,
    echo: Arc<str>,
    wants_base64: bool,
}

impl Retelling {
    /// `id`: of the request, from which the answer's is made; `model`: as it was asked for; `created`: now, in seconds since 1970;
    /// `input`: about how long the prompt is.
    #[must_use]
    pub fn new(endpoint: Endpoint, wire: Wire, request: &Translated, id: &str, model: &str, created: u64, input: Tokens) -> Self {
        let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
        let id = match endpoint {
            Endpoint::Messages => format!("msg_tg{id}"),
            Endpoint::Responses => format!("resp_tg{id}"),
            _ => format!("chatcmpl-tg{id}"),
        };
        let said = || if endpoint == Endpoint::Responses { responses::echo(std::iter::empty()).into() } else { Arc::default() };
        let echo = request.echo.clone().unwrap_or_else(said);
        let (names, wants_base64) = (request.names.clone(), request.wants_base64);
        Self { endpoint, wire, id, model: model.into(), created, input, names, echo, wants_base64 }
    }

    fn spoken<'a>(&'a self, told: &'a Told) -> Spoken<'a> {
        let model = told.model.as_deref().unwrap_or(&self.model);
        Spoken { id: &self.id, model, created: self.created, input: self.input, names: &self.names, echo: &self.echo }
    }

    /// The whole answer in the client's format. `cost` is told where the client reads it.
    #[must_use]
    pub fn whole(&self, body: &Bytes, told: &Told, cost: Option<Usd>) -> Bytes {
        let text = std::str::from_utf8(body).unwrap_or_default();
        if self.wire == Wire::Embed {
            return gemini::retell_embeddings(text, &self.spoken(told), told.usage, self.wants_base64);
        }
        let events = match self.wire {
            Wire::Messages => anthropic::decode_reply(text),
            Wire::Generate => gemini::decode_reply(text),
            Wire::Responses => responses::decode_reply(text),
            _ => openai::decode_reply(text),
        };
        let answer = Assembly::of(events);
        let end = End { finish: told.finish.unwrap_or(Finish::Stop), usage: told.usage, cost };
        match self.endpoint {
            Endpoint::Messages => anthropic::retell(&answer, end, &self.spoken(told)),
            Endpoint::Responses => responses::retell(&answer, end, &self.spoken(told)),
            _ => openai::retell(&answer, end, &self.spoken(told)),
        }
    }
}

/// A stream on its way from one format to another.
#[derive(Debug)]
pub(super) struct Interpreter {
    of: Retelling,
    decoder: Decoder,
    teller: Teller,
    events: Vec<Event>,
}

#[derive(Debug)]
enum Decoder {
    Chat(openai::Decoder),
    Messages(anthropic::Decoder),
    Generate(gemini::Decoder),
    Responses(responses::Decoder),
}

#[derive(Debug)]
enum Teller {
    Chat(openai::Teller),
    Messages(anthropic::Teller),
    Responses(responses::Teller),
}

impl Interpreter {
    pub(super) fn new(of: Retelling) -> Self {
        let decoder = match of.wire {
            Wire::Messages => Decoder::Messages(anthropic::Decoder::default()),
            Wire::Generate => Decoder::Generate(gemini::Decoder::default()),
            Wire::Responses => Decoder::Responses(responses::Decoder::default()),
            _ => Decoder::Chat(openai::Decoder::default()),
        };
        let teller = match of.endpoint {
            Endpoint::Messages => Teller::Messages(anthropic::Teller::default()),
            Endpoint::Responses => Teller::Responses(responses::Teller::default()),
            _ => Teller::Chat(openai::Teller::default()),
        };
        Self { of, decoder, teller, events: Vec::new() }
    }

    /// One event of the provider's, in the client's format.
    pub(super) fn event(&mut self, text: &str, told: &Told, out: &mut Vec<u8>) {
        match &mut self.decoder {
            Decoder::Chat(decoder) => decoder.read(text, &mut self.events),
            Decoder::Messages(decoder) => decoder.read(text, &mut self.events),
            Decoder::Generate(decoder) => decoder.read(text, &mut self.events),
            Decoder::Responses(decoder) => decoder.read(text, &mut self.events),
        }
        let spoken = self.of.spoken(told);
        for event in self.events.drain(..) {
            match &mut self.teller {
                Teller::Chat(teller) => teller.tell(event, &spoken, out),
                Teller::Messages(teller) => teller.tell(event, &spoken, out),
                Teller::Responses(teller) => teller.tell(event, &spoken, out),
            }
        }
    }

    /// The end of a complete answer.
    pub(super) fn end(&mut self, told: &Told, usage: Option<Usage>, cost: Option<Usd>, asks_for_usage: bool, out: &mut Vec<u8>) {
        let end = End { finish: told.finish.unwrap_or(Finish::Stop), usage, cost };
        let spoken = self.of.spoken(told);
        match &mut self.teller {
            Teller::Chat(teller) => teller.end(end, asks_for_usage, &spoken, out),
            Teller::Messages(teller) => teller.end(end, &spoken, out),
            Teller::Responses(teller) => teller.end(end, &spoken, out),
        }
    }

    /// The answer as it stood when it broke off, for a client whose format says that of it.
    pub(super) fn failed<'a>(&'a self, told: &'a Told) -> Failed<'a> {
        let sequence = if let Teller::Responses(teller) = &self.teller { teller.sequence() } else { 0 };
        let Spoken { id, model, created, .. } = self.of.spoken(told);
        Failed { id, model, created, sequence }
    }
}

/// The id of a tool call: the provider's where every client takes it, else one of ours, different for each call of each answer.
pub(super) fn call_id(id: &str, answer: &str, index: usize) -> String {
    let is_sound = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_sound { id.to_owned() } else { format!("toolu_tg_{}_{index}", answer.rsplit("tg").next().unwrap_or_default()) }
}

/// Stands where a client expects reasoning to be signed. Nobody can check it, and it is dropped when it comes back.
pub(super) fn signature(text: &str) -> String {
    format!("{SIGNED_BY_US}{:x}", text.len())
}
