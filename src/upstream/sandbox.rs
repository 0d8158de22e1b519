//! The offline provider: answers from the request itself, so that everything works without a key and without a network.

mod example;
mod responses;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::SizeHint;
use serde_json::Value;
use tokio::time::{Instant, Sleep};

use crate::config;
use crate::tokens::estimate;
use crate::units::{Clock, Tokens, Wire, parse_duration};
use crate::wire::{ErrorWords, Shape, read_error};

use super::failure::Failure;
use super::{Ask, Outgoing, Reply, ReplyBody};
use shapes::{Call, Saying};

/// How every text begins, so that nobody takes it for a model's.
const MARK: &str = "[tollgate sandbox]";
/// Most characters of the last message that are said back.
const ECHO: usize = 200;

/// One offline provider.
#[derive(Debug)]
pub(super) struct Sandbox {
    behaviour: config::Sandbox,
    clock: Clock,
    /// Calls so far; with the seed it decides which of them fail.
    calls: AtomicU64,
}

/// What a last message may order instead of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// `fail:503`, any error status.
    Fail(StatusCode),
    /// `hang:5s`: an answer, but so much later.
    Hang(Duration),
}

impl Sandbox {
    pub(super) fn new(behaviour: config::Sandbox, clock: Clock) -> Self {
        Self { behaviour, clock, calls: AtomicU64::new(0) }
    }

    pub(super) async fn answer(&self, outgoing: &Outgoing) -> Result<Reply, Failure> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let Ok(body) = serde_json::from_slice::<Value>(&outgoing.body.concat()) else {
            return Err(refusal(StatusCode::BAD_REQUEST, "the body is no JSON"));
        };
        let Ask::Answer(wire) = outgoing.ask else { return Err(refusal(StatusCode::NOT_FOUND, "it counts no tokens")) };
        let call = Call { wire, model: outgoing.model.as_str(), number, body: &body };
        match Order::read(&call.last_text()) {
            Some(Order::Fail(status)) => return Err(refusal(status, "this failure was asked for by the last message")),
            Some(Order::Hang(wait)) => tokio::time::sleep(wait).await,
            None => {}
        }
        if self.is_unlucky(number) {
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "this call fails by its `failure` setting"));
        }
        let created = self.clock.wall().as_second();
        if call.wire == Wire::Embeddings {
            return Ok(whole(number, &call.embeddings(), self.behaviour.latency));
        }
        let saying = say(&call);
        let pace = Duration::from_secs(1) / self.behaviour.tokens_per_second.get();
        if !outgoing.is_streaming {
            let words = u32::try_from(saying.words.len()).unwrap_or(u32::MAX);
            return Ok(whole(number, &call.answer(&saying, created), self.behaviour.latency + pace.saturating_mul(words)));
        }
        let mut speech = Speech::default();
        for event in call.events(&saying, created) {
            let wait = match event.word {
                Some(0) => self.behaviour.latency,
                Some(_) => pace,
                None => Duration::ZERO,
            };
            speech.add(wait, event.bytes);
        }
        Ok(reply(number, "text/event-stream; charset=utf-8", speech, true))
    }

    /// Decided by the seed and the call's number alone.
    fn is_unlucky(&self, number: u64) -> bool {
        let share = self.behaviour.failure.millionths();
        let seed = self.behaviour.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number);
        share > 0 && fastrand::Rng::with_seed(seed).u32(0..1_000_000) < share
    }
}

impl Order {
    fn read(text: &str) -> Option<Self> {
        let (word, value) = text.trim().split_once(':')?;
        match word {
            "fail" => {
                let status = StatusCode::from_bytes(value.as_bytes()).ok()?;
                (status.is_client_error() || status.is_server_error()).then_some(Self::Fail(status))
            }
            "hang" => parse_duration(value).ok().map(Self::Hang),
            _ => None,
        }
    }
}

/// What is said, cut at the call's output limit.
fn say(call: &Call<'_>) -> Saying {
    let text = if let Some(schema) = call.asked_json() { example::of(schema).to_string() } else { echo(&call.last_text()) };
    let limit = call.output_limit();
    let mut said = 0;
    let mut words = Vec::new();
    for word in text.split_inclusive(' ') {
        // At least one word is said, or a limit of one token would give no answer at all.
        if !words.is_empty() && limit.is_some_and(|limit| estimate(&text.as_bytes()[..said + word.len()]) > limit) {
            break;
        }
        said += word.len();
        words.push(word.to_owned());
    }
    let is_cut = said < text.len();
    let output = estimate(&text.as_bytes()[..said]);
    Saying {
        words,
        is_cut,
        input: estimate(call.prompt_text().as_bytes()),
        output: output.min(limit.unwrap_or(output)).max(Tokens::new(1)),
    }
}

fn echo(last: &str) -> String {
    let last = last.trim();
    let clipped: String = last.chars().take(ECHO).collect();
    let dots = if clipped.len() < last.len() { "…" } else { "" };
    format!("{MARK} No provider was asked. The last message was: {clipped}{dots}")
}

fn refusal(status: StatusCode, what: &str) -> Failure {
    let message = format!("{MARK} {what}");
    let words = ErrorWords { status: status.as_u16(), message: &message, kind: "sandbox_error", param: None, code: "sandbox" };
    let body = words.body(Shape::OpenAi, None);
    let told = read_error(Some(status.as_u16()), &HeaderMap::new(), &body);
    Failure::answered(status.as_u16(), told, Some(body), true)
}

fn whole(number: u64, body: &Value, wait: Duration) -> Reply {
    let mut speech = Speech::default();
    speech.add(wait, body.to_string().into());
    reply(number, "application/json", speech, false)
}

fn reply(number: u64, content_type: &'static str, speech: Speech, is_event_stream: bool) -> Reply {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&format!("sandbox-{number}")) {
        headers.insert("x-request-id", id);
    }
    Reply { status: StatusCode::OK, headers, body: ReplyBody::sandbox(speech), is_event_stream }
}

/// A body that comes piece by piece, each after its wait.
#[derive(Debug, Default)]
pub(super) struct Speech {
    pieces: VecDeque<(Duration, Bytes)>,
    /// When the next piece is due; it counts from the piece before, so that short waits add up exactly.
    due: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Speech {
    #[cfg(test)]
    pub(super) fn scripted(pieces: Vec<(Duration, Bytes)>) -> Self {
        Self { pieces: pieces.into(), ..Self::default() }
    }

    fn add(&mut self, wait: Duration, piece: Bytes) {
        self.pieces.push_back((wait, piece));
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some((wait, _)) = self.pieces.front() else {
            return Poll::Ready(None);
        };
        if self.sleep.is_none() {
            let now = Instant::now();
            let due = self.due.unwrap_or(now) + *wait;
            self.due = Some(due);
            self.sleep = (due > now).then(|| Box::pin(tokio::time::sleep_until(due)));
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        Poll::Ready(self.pieces.pop_front().map(|(_, piece)| piece))
    }

    pub(super) fn is_over(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.iter().map(|(_, piece)| piece.len() as u64).sum())
    }
}
