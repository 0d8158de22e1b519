use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use serde_json::value::RawValue;
use tokio::time::{Instant, Timeout};

use crate::config::{Route, Server};
use crate::units::{Endpoint, Lack, ModelName, Moment, Tokens};
use crate::upstream::{Ask, Failure, Outgoing, Phase, Reply, ReplyBody};
use crate::wire::{Edits, Gaps, ReplyFault, Retelling, Tap, Told, Translated, mend_reply, read_reply};

use super::account::Account;
use super::plan::Step;
use super::settle::{Booked, Times};
use super::{Asked, Running};

/// The largest answer that is read whole: 32 MiB.
const LARGEST_REPLY: u64 = 32 << 20;

/// The end of the time that one request may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    /// Another target is tried only while this much is left.
    least: Duration,
}

impl Deadline {
    pub(super) fn of(route: &Route, server: &Server, is_streaming: bool) -> Self {
        let whole = route.deadline.unwrap_or(if is_streaming { server.stream_deadline } else { server.deadline });
        // Five seconds, or a quarter of a deadline that is itself short.
        Self { at: Instant::now() + whole, least: Duration::from_secs(5).min(whole / 4) }
    }

    pub(super) fn at(self) -> Instant {
        self.at
    }

    pub(super) fn allows_another(self) -> bool {
        self.at.saturating_duration_since(Instant::now()) >= self.least
    }

    /// The future's output, or an error when the deadline comes first.
    pub(super) fn bound<F: Future>(self, future: F) -> Timeout<F> {
        tokio::time::timeout_at(self.at, future)
    }
}

/// An attempt whose answer is there, wholly or up to its first content.
#[derive(Debug)]
pub(super) enum Begun {
    Whole(Box<Whole>),
    Stream(Box<Stream>),
}

/// A reply that was read to its end.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) told: Told,
    pub(super) took: Duration,
    pub(super) lost: Option<Box<Lost>>,
}

/// What of a call had no place in the target's format.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) dropped: Vec<String>,
    pub(super) adjusted: Vec<String>,
}

/// A stream that has shown its first content, or its end.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) headers: HeaderMap,
    pub(super) body: ReplyBody,
    pub(super) tap: Box<Tap>,
    /// What goes to the client first: all that was held back until now.
    pub(super) ready: Vec<Bytes>,
    /// True when the upstream's body has ended already.
    pub(super) has_ended: bool,
    pub(super) ttft: Duration,
    pub(super) sent: Moment,
    pub(super) lost: Option<Box<Lost>>,
}

/// One try: send, and wait for the whole reply or the first content. Of an answer that is there the rest of `booked` is left to its reader.
pub(super) async fn attempt(
    running: &Running,
    asked: &Asked,
    step: &Step<'_>,
    booked: &mut Booked,
    deadline: &Deadline,
    account: &mut Account,
) -> Result<Begun, Failure> {
    account.sending(step, booked);
    let sent = booked.sent();
    let mut this = Try { running, asked, step, deadline, sent, account, translated: None };
    if step.wire != asked.call.endpoint().wire() {
        this.translated = Some(Box::new(this.translate()));
    }
    let result = if asked.call.is_streaming() {
        Box::pin(this.stream(booked)).await.map(Begun::Stream)
    } else {
        this.whole(booked).await.map(Begun::Whole)
    };
    if let Err(failure) = &result {
        let took = account.now().since(sent);
        tracing::warn!(
            request_id = %asked.request_id,
            target = %running.rules().targets()[step.target].name,
            fault = failure.fault,
            class = failure.class.as_str(),
            phase = failure.phase.as_str(),
            status = failure.status,
            "attempt failed"
        );
        if failure.may_go_again {
            account.goes_again();
        } else {
            account.attempt_failed(step, failure, took);
        }
        give_back(booked, failure, took);
    }
    result
}

/// What a failed attempt took goes back as far as the provider cannot have counted it; what it may have billed is disputed.
fn give_back(booked: &mut Booked, failure: &Failure, took: Duration) {
    let end = booked.bill.failed(failure, Times { ttft: None, took });
    if failure.phase == Phase::P0 {
        booked.was_never_sent(&end);
    } else {
        booked.settle(failure.nothing_billed.then_some(Tokens::ZERO), &end);
    }
}

struct Try<'t> {
    running: &'t Running,
    asked: &'t Asked,
    step: &'t Step<'t>,
    deadline: &'t Deadline,
    sent: Moment,
    account: &'t Account,
    /// The call in the target's format, where that is another than the client's.
    translated: Option<Box<Translated>>,
}

impl<'t> Try<'t> {
    fn translate(&self) -> Translated {
        let target = &self.running.rules().targets()[self.step.target];
        let edits = self.edits(target.model.as_str());
        // What cannot be read was left out by the plan.
        self.asked.call.translate(self.step.wire, &edits, &target.quirks).unwrap_or_default()
    }

    /// How the answer is told to the client, where it comes in another format.
    fn retelling(&self) -> Option<Retelling> {
        let translated = self.translated.as_ref()?;
        let (call, target) = (&self.asked.call, &self.running.rules().targets()[self.step.target]);
        // Only these tell the input before it is known, or without being told.
        let tells_input = call.endpoint() == Endpoint::Embeddings || (call.endpoint() == Endpoint::Messages && call.is_streaming());
        let input = if tells_input { call.prompt_tokens_for(target.tokenizer) } else { Tokens::ZERO };
        let (id, created) = (&self.asked.request_id, self.account.wall_seconds());
        Some(Retelling::new(call.endpoint(), self.step.wire, translated, id, target.model.as_str(), created, input))
    }

    /// As the target's provider knows it.
    fn model(&self) -> &'t ModelName {
        &self.running.rules().targets()[self.step.target].model
    }

    fn lost(&self) -> Option<Box<Lost>> {
        if !self.step.tells_losses {
            return None;
        }
        let lost = if let Some(translated) = &self.translated {
            Lost { dropped: translated.dropped.clone(), adjusted: translated.adjusted.clone() }
        } else {
            let Gaps { dropped, adjusted, .. } = self.asked.call.gaps(&self.running.rules().targets()[self.step.target].quirks);
            Lost { dropped, adjusted }
        };
        (!lost.dropped.is_empty() || !lost.adjusted.is_empty()).then(|| Box::new(lost))
    }

    async fn whole(&self, booked: &mut Booked) -> Result<Box<Whole>, Failure> {
        let exchanged = {
            // Head and body under one timer. Pinned here, so that only its address is handed on.
            let exchange = pin!(async {
                let Reply { headers, body, .. } = self.send().await?;
                booked.phase = Phase::P2;
                Ok((headers, body.read_whole(LARGEST_REPLY).await?))
            });
            self.deadline.bound(exchange).await
        };
        let (headers, body) = exchanged.map_err(|_| self.out_of_time(booked.phase))??;
        let told = read_reply(self.step.wire, &body).map_err(|fault| self.fault(fault))?;
        if told.is_blocked && self.step.passes_on_blocked {
            return Err(settled_as_blocked(booked, &told));
        }
        let body = match self.retelling() {
            None => mend_reply(self.asked.call.endpoint(), body, &told, &self.asked.request_id, self.model()),
            Some(retelling) => retelling.whole(&body, &told, None),
        };
        Ok(Box::new(Whole { headers, body, told, took: self.account.now().since(self.sent), lost: self.lost() }))
    }

    async fn stream(&self, booked: &mut Booked) -> Result<Box<Stream>, Failure> {
        let first_content_by = self.deadline.at.min(Instant::now() + self.step.first_content);
        let late = |phase| self.silent("first_content", phase);
        let head = tokio::time::timeout_at(first_content_by, self.send()).await;
        let Reply { headers, mut body, is_event_stream, .. } = head.map_err(|_| late(Phase::P1))??;
        booked.phase = Phase::P2;
        if !is_event_stream {
            return Err(Box::pin(self.not_a_stream(body)).await);
        }
        let limit = self.step.limit.tokens().or(self.asked.call.output_limit());
        let mut tap = Tap::new(self.asked.call.endpoint(), self.asked.call.asks_for_usage(), limit).expecting(self.asked.call.choices());
        tap = match self.retelling() {
            Some(retelling) => tap.retelling(self.step.wire, retelling),
            None => tap.naming(Arc::clone(&self.asked.request_id), self.model().clone()),
        };
        if self.asked.call.asks_for_usage() {
            let bill = booked.bill.clone();
            tap = tap.pricing(Box::new(move |told| bill.told_cost(told).map(|(_, cost)| cost)));
        }
        let mut tap = Box::new(tap);
        let mut ready = Vec::new();
        let mut has_ended = false;
        while !tap.has_content() && !has_ended {
            let piece = tokio::time::timeout_at(first_content_by, next_piece(&mut body)).await.map_err(|_| late(Phase::P2))?;
            let fed = if let Some(piece) = piece {
                tap.push(piece?, &mut ready)
            } else {
                has_ended = true;
                tap.end(&mut ready)
            };
            fed.map_err(|fault| self.fault(fault))?;
        }
        if tap.told().is_blocked && self.step.passes_on_blocked {
            return Err(settled_as_blocked(booked, tap.told()));
        }
        let ttft = self.account.now().since(self.sent);
        booked.phase = Phase::P3;
        Ok(Box::new(Stream { headers, body, tap, ready, has_ended, ttft, sent: self.sent, lost: self.lost() }))
    }

    async fn send(&self) -> Result<Reply, Failure> {
        let target = &self.running.rules().targets()[self.step.target];
        let outgoing = Outgoing {
            ask: Ask::Answer(self.step.wire),
            client_headers: Arc::clone(&self.asked.headers),
            body: match &self.translated {
                Some(translated) => vec![translated.body.clone()],
                None => self.asked.call.write(&self.edits(target.model.as_str())),
            },
            is_streaming: self.asked.call.is_streaming(),
            path: self.asked.call.passed_path(),
            model: target.model.clone(),
            on_fresh_connection: self.step.on_fresh_connection,
            sent: self.sent,
        };
        self.running.upstream(self.step.target).send(&outgoing).await
    }

    /// What changes in the client's body for this target.
    fn edits<'e>(&'e self, model: &'e str) -> Edits<'e> {
        static NOTHING: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
        let lacks = self.running.rules().targets()[self.step.target].quirks.lacks;
        Edits {
            model,
            include_usage: self.asked.call.is_streaming() && !lacks.has(Lack::StreamUsage),
            output_limit: self.output_limit(),
            assumed_limit: self.step.estimate.output,
            set: self.step.uses.map_or(&NOTHING, |uses| &uses.set),
            lacks,
        }
    }

    /// Of two limits that the client set, a provider may go by either: under a hard budget only the one that is held goes along.
    fn output_limit(&self) -> Option<Tokens> {
        let is_ambiguous = self.step.cover.is_hard() && self.asked.call.has_two_limits();
        self.step.limit.tokens().or_else(|| self.asked.call.output_limit().filter(|_| is_ambiguous))
    }

    /// A stream was asked for and a whole body came: an error, or an answer in the wrong shape.
    async fn not_a_stream(&self, body: ReplyBody) -> Failure {
        let read = self.deadline.bound(body.read_whole(LARGEST_REPLY)).await;
        match read {
            Err(_) => self.out_of_time(Phase::P2),
            Ok(Err(failure)) => failure,
            Ok(Ok(body)) => match read_reply(self.step.wire, &body) {
                Err(fault) => self.fault(fault),
                Ok(_) => self.fault(ReplyFault::Malformed("a whole body where a stream was asked for")),
            },
        }
    }

    fn fault(&self, fault: ReplyFault) -> Failure {
        self.running.upstream(self.step.target).failure_from(fault, Phase::P2)
    }

    fn out_of_time(&self, phase: Phase) -> Failure {
        self.silent("deadline", phase)
    }

    fn silent(&self, what: &'static str, phase: Phase) -> Failure {
        Failure::timed_out(phase, what, self.account.now().since(self.sent))
    }
}

/// A content filter ended the answer: what it used is counted, and another target may try.
fn settled_as_blocked(booked: &mut Booked, told: &Told) -> Failure {
    let failure = Failure::blocked();
    let end = booked.bill.blocked(told, &failure, Times { ttft: None, took: booked.took() });
    booked.settle(told.usage.as_ref().map(crate::units::Usage::total), &end);
    failure
}

/// The next piece of a body's data; nothing at its end.
pub(super) async fn next_piece(body: &mut ReplyBody) -> Option<Result<Bytes, Failure>> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await? {
            Err(failure) => return Some(Err(failure)),
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
        }
    }
}
