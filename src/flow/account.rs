mod headers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use crate::admit::{Admitted, Denial, SentFacts};
use crate::record::{AttemptRecord, Outcome, Record, SkipRecord, UsageRecord, UsageSource};
use crate::rules::{Features, Found, TaskSource};
use crate::units::{self, AttemptId, Basis, EndedEntry, Moment, Pairs, RequestFacts, TaskName, Tokens, Usd};
use crate::upstream::{Failure, Phase};
use crate::wire::{Shape, Told};

use super::answer::{self, Addressee, Answer};
use super::attempt::Whole;
use super::explain::Explained;
use super::head::{Head, name};
use super::plan::{Plan, Skip, Step};
use super::settle::{Booked, Place, Seen, Times};
use super::{Asked, Parts, Refusal, Running, Tried};

pub(super) use headers::event_stream_headers;

/// How many bytes of an answer's body are a token at the least, where it does not tell its usage.
const BYTES_PER_TOKEN: usize = 4;

/// What one request came to, kept until its record is written. Dropped before its end it tells that the client hung up.
#[derive(Debug)]
pub(super) struct Account {
    running: Arc<Running>,
    parts: Arc<Parts>,
    accepted: Moment,
    request_id: Arc<str>,
    /// How the client's format writes errors.
    shape: Shape,
    rule: Option<usize>,
    rule_header: Option<HeaderValue>,
    /// Time that went by while a provider had the request.
    away: Duration,
    fallback_index: usize,
    /// Attempts sent so far.
    sent: usize,
    /// The attempt that is under way: its target, how far it is, and when it was sent.
    under_way: Option<(usize, Phase, Moment)>,
    /// The number of the latest attempt in the ledger.
    last: Option<AttemptId>,
    /// What the ledger is told of the request; made when an attempt is sent.
    facts: Option<Arc<RequestFacts>>,
    /// What the request takes of its caller's limits.
    admitted: Option<Admitted>,
    record: Record,
    /// It has come to its end.
    is_closed: bool,
}

impl Account {
    /// On the heap: it is handed on from the story to whoever tells its end.
    pub(super) fn open(parts: &Arc<Parts>, running: &Arc<Running>, asked: &Asked) -> Box<Self> {
        let record = Record {
            request_id: Arc::clone(&asked.request_id),
            at: asked.at,
            endpoint: asked.call.endpoint(),
            rule: None,
            revision: Arc::clone(running.revision()),
            task: TaskName::unknown(),
            task_source: TaskSource::None.as_str(),
            task_confidence: None,
            task_runner_up: None,
            task_signs: Vec::new(),
            requested_model: asked.call.model().to_owned(),
            stream: asked.call.is_streaming(),
            caller: None,
            tags: Pairs::default(),
            labels: Pairs::default(),
            target: None,
            served_model: None,
            outcome: Outcome::HungUp,
            status: 0,
            code: None,
            attempts: Vec::new(),
            skipped: Vec::new(),
            prompt_tokens_estimate: None,
            usage: None,
            usage_source: UsageSource::None,
            cost_nano_usd: None,
            ttft: None,
            duration: Duration::ZERO,
            own: Duration::ZERO,
        };
        Box::new(Self {
            running: Arc::clone(running),
            parts: Arc::clone(parts),
            accepted: asked.accepted,
            request_id: Arc::clone(&asked.request_id),
            shape: Shape::of(asked.call.endpoint()),
            rule: None,
            rule_header: None,
            away: Duration::ZERO,
            fallback_index: 0,
            sent: 0,
            under_way: None,
            last: None,
            facts: None,
            admitted: None,
            record,
            is_closed: false,
        })
    }

    pub(super) fn classified(&mut self, features: &Features) {
        let record = &mut self.record;
        record.caller.clone_from(&features.caller);
        record.tags = features.tags.clone();
        record.task = features.task.name.clone();
        record.task_source = features.task.source.as_str();
        if let Some(shown) = &features.task.shown {
            record.task_confidence = Some(shown.confidence);
            record.task_runner_up = shown.runner_up.as_ref().map(|(name, _)| name.clone());
            record.task_signs.clone_from(&shown.signs);
        }
        record.labels = features.labels.clone();
    }

    /// Takes the request's place within its caller's limits, once for all of its attempts; waits for it where the file says so.
    pub(super) async fn enter(&mut self, running: &Running, features: &Features, caller: Option<usize>) -> Result<(), Denial> {
        let Some(caller) = caller else { return Ok(()) };
        let has_limit = running.rules().callers()[caller].limits.tokens.is_some();
        let tokens = if has_limit { tokens_expected(features) } else { Tokens::ZERO };
        let admitted = match running.gate().enter(caller, tokens) {
            Ok(admitted) => admitted,
            Err(_) => Box::pin(running.gate().enter_within(caller, tokens)).await?,
        };
        self.admitted = Some(admitted);
        Ok(())
    }

    pub(super) fn matched(&mut self, found: &Found<'_>) {
        self.rule = Some(found.index);
        self.rule_header = self.running.rule_value(found).cloned();
        self.record.rule = Some(found.name.clone());
    }

    pub(super) fn skipped(&mut self, running: &Running, step: &Step<'_>, skip: &Skip) {
        if let Skip::Budget(over) = skip {
            running.purse().refused(over);
        }
        let target = running.rules().targets()[step.target].name.clone();
        self.record.skipped.push(SkipRecord { target, reason: skip.as_str().into() });
    }

    /// An attempt failed before anything reached the client.
    pub(super) fn attempt_failed(&mut self, step: &Step<'_>, failure: &Failure, took: Duration) {
        self.away += took;
        self.running.series().attempt(step.target, failure.fault, failure.phase.as_str(), "failed");
        self.push_attempt(step.target, Some(failure), failure.phase, took);
    }

    /// The attempt goes out once more on a fresh connection, and counts as one.
    pub(super) fn goes_again(&mut self) {
        self.sent -= 1;
        self.under_way = None;
    }

    /// An attempt came to its end, or was cut after content had reached the client.
    pub(super) fn attempt_ended(&mut self, step_target: usize, failure: Option<&Failure>, took: Duration) {
        self.away += took;
        let fault = failure.map_or("none", |failure| failure.fault);
        let (phase, outcome) = if failure.is_some() { (Phase::P3, "cut_off") } else { (Phase::P4, "ok") };
        self.running.series().attempt(step_target, fault, phase.as_str(), outcome);
        self.push_attempt(step_target, failure, phase, took);
    }

    /// The client left while an attempt was under way.
    fn attempt_left(&mut self, fault: &'static str, outcome: &'static str) {
        let Some((target, phase, sent)) = self.under_way.take() else { return };
        let took = self.now().since(sent);
        self.away += took;
        self.running.series().attempt(target, fault, phase.as_str(), outcome);
        let target = self.running.rules().targets()[target].name.clone();
        let status = (phase >= Phase::P3).then_some(200);
        let attempt = AttemptRecord { target, fault: Some(fault), class: None, phase: phase.as_str(), status, duration: took };
        self.record.attempts.push(attempt);
    }

    fn push_attempt(&mut self, target: usize, failure: Option<&Failure>, phase: Phase, took: Duration) {
        self.under_way = None;
        let target = self.running.rules().targets()[target].name.clone();
        self.record.attempts.push(AttemptRecord {
            target,
            fault: failure.map(|failure| failure.fault),
            class: failure.map(|failure| failure.class.as_str()),
            phase: phase.as_str(),
            status: failure.map_or(Some(200), |failure| failure.status),
            duration: took,
        });
    }

    /// What the answer told of itself: usage, cost, the model that served it.
    /// `end`: what it was charged with, once that is known.
    pub(super) fn told(&mut self, target: usize, told: &Told, ttft: Option<Duration>, end: Option<(Basis, Usd)>) {
        let spec = &self.running.rules().targets()[target];
        let has_price = spec.prices.is_some() || spec.flat_usd.is_some();
        let source = match end {
            Some((Basis::Usage | Basis::ProviderCost, _)) => UsageSource::Provider,
            Some((Basis::Estimated | Basis::Observed, _)) if has_price => UsageSource::Estimated,
            _ if told.usage.is_some() => UsageSource::Provider,
            _ => UsageSource::None,
        };
        let cost = end.filter(|_| has_price).map(|(_, posted)| posted);
        let served = told.model.clone().filter(|model| model != spec.model.as_str());
        let name = spec.name.clone();
        if let Some(ttft) = ttft {
            self.running.series().ttft(target, ttft);
        }
        let record = &mut self.record;
        record.target = Some(name);
        record.served_model = served;
        record.usage = told.usage.map(UsageRecord::from);
        record.usage_source = source;
        record.cost_nano_usd = cost;
        record.ttft = ttft;
    }

    /// A whole reply, on its way back as it came.
    pub(super) fn answered(mut self: Box<Self>, running: &Running, step: &Step<'_>, whole: Whole, place: Place) -> Answer {
        let Place { entry, mut booked } = place;
        running.rests().succeeded(step.target, None);
        drop(entry);
        let Whole { headers, body, told, took, lost } = whole;
        let seen = Seen { told: &told, output: Tokens::new(body.len().div_ceil(BYTES_PER_TOKEN) as u64) };
        let end = booked.bill.complete(seen, Times { ttft: None, took });
        self.told(step.target, &told, None, Some((end.basis, end.posted)));
        booked.learn_error(&told);
        let used = told.usage.as_ref().map_or_else(|| step.estimate.input.unwrap_or_default(), crate::units::Usage::total);
        let rest = booked.settle(Some(used), &end);
        self.attempt_ended(step.target, None, took);
        let now = self.now();
        let headers = self.whole_headers(step, &headers, lost.as_deref(), rest, body.len(), (took, now));
        self.end_at(now, None, StatusCode::OK, None);
        Answer { epilogue: Some(Epilogue(self)), ..Answer::whole(StatusCode::OK, headers, body) }
    }

    pub(super) fn refused(mut self: Box<Self>, refusal: &Refusal, tried: &Tried) -> Answer {
        let answer = self.described(refusal.answer(self.addressee()));
        if !tried.skips.is_empty() {
            tracing::debug!(code = refusal.code, "refused");
        }
        self.close(Some(Outcome::Refused), refusal.status, Some(refusal.code));
        answer
    }

    /// Every step was tried or left out.
    pub(super) fn exhausted(mut self: Box<Self>, running: &Running, plan: &Plan<'_>, tried: &Tried) -> Answer {
        let Some((target, failure)) = tried.telling() else {
            let refusal = Refusal::all_skipped(running, plan, &tried.skips, tried.shortest_wait());
            return self.refused(&refusal, tried);
        };
        let mut answer = self.described(answer::failed(running, *target, failure, tried, self.addressee()));
        answer.headers.insert(&name::TARGET, running.target_value(*target).clone());
        self.close(Some(Outcome::Failed), answer.status, Some(failure.code));
        answer
    }

    /// The decision itself, for a dry run.
    pub(super) fn explained(mut self: Box<Self>, explained: &Explained) -> Answer {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))].into_iter().collect();
        let body = Bytes::from(serde_json::to_vec(explained).unwrap_or_default());
        let answer = self.described(Answer::whole(StatusCode::OK, headers, body));
        // A dry run is no request that was served: it leaves no record.
        self.is_closed = true;
        answer
    }

    /// The request's one end, told. Without an outcome it is `ok`, or `fell_back` where an earlier step had failed.
    pub(super) fn close(&mut self, outcome: Option<Outcome>, status: StatusCode, code: Option<&str>) {
        if !self.is_closed {
            self.end_at(self.now(), outcome, status, code);
            self.tell();
        }
    }

    /// Limits and metrics have what it came to; the ledger and the record do not yet.
    fn end_at(&mut self, now: Moment, outcome: Option<Outcome>, status: StatusCode, code: Option<&str>) {
        self.is_closed = true;
        let record = &mut self.record;
        let fell_back = record.attempts.iter().any(|attempt| Some(&attempt.target) != record.target.as_ref());
        let outcome = outcome.unwrap_or(if fell_back { Outcome::FellBack } else { Outcome::Ok });
        let duration = now.since(self.accepted);
        let own = duration.saturating_sub(self.away);
        record.outcome = outcome;
        record.status = status.as_u16();
        record.code = code.map(Into::into);
        record.duration = duration;
        record.own = own;
        if let Some(admitted) = self.admitted.take() {
            match &record.usage {
                Some(usage) => admitted.used(Tokens::new(usage.total())),
                None if self.sent == 0 => admitted.used(Tokens::ZERO),
                None => drop(admitted),
            }
        }
        let series = self.running.series();
        series.request(self.rule.unwrap_or(self.running.rules().rules().len() + 1), outcome);
        series.added_latency(own);
    }

    /// Tells the ledger and writes the record.
    fn tell(&mut self) {
        let request = self.facts();
        let record = &self.record;
        self.parts.budgets.note(units::Entry::Ended(EndedEntry {
            at: self.parts.clock.wall(),
            request,
            outcome: record.outcome.as_str(),
            status: record.status,
            code: record.code.clone(),
            served: self.last.filter(|_| record.target.is_some()),
            attempts: u32::try_from(self.sent).unwrap_or(u32::MAX),
            duration: record.duration,
        }));
        self.parts.sink.write(record);
    }

    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Who is told an answer of ours.
    pub(super) fn addressee(&self) -> Addressee<'_> {
        Addressee { shape: self.shape, request_id: &self.request_id }
    }

    /// Seconds since 1970.
    pub(super) fn wall_seconds(&self) -> u64 {
        u64::try_from(self.parts.clock.wall().as_second()).unwrap_or_default()
    }

    pub(super) fn now(&self) -> Moment {
        self.parts.clock.now()
    }

    /// A step is about to be sent, at that moment.
    pub(super) fn sending(&mut self, step: &Step<'_>, booked: &Booked) {
        self.last = booked.id();
        self.fallback_index = step.index;
        self.sent += 1;
        self.under_way = Some((step.target, Phase::P1, booked.sent()));
    }

    /// Which attempt the next one is, for the ledger.
    pub(super) fn sent_facts(&mut self, target: usize) -> SentFacts {
        let request = self.facts();
        let attempt = u32::try_from(self.sent + 1).unwrap_or(u32::MAX);
        SentFacts { request, attempt, target: self.running.rules().targets()[target].name.clone() }
    }

    fn facts(&mut self) -> Arc<RequestFacts> {
        let record = &self.record;
        let facts = self.facts.get_or_insert_with(|| {
            Arc::new(RequestFacts {
                request_id: Arc::clone(&self.request_id),
                accepted: record.at,
                endpoint: record.endpoint,
                rule: record.rule.clone(),
                caller: record.caller.clone(),
                tags: record.tags.clone(),
                labels: record.labels.clone(),
                task: record.task.clone(),
                revision: Arc::clone(&record.revision),
            })
        });
        Arc::clone(facts)
    }

    fn described(&self, answer: Answer) -> Answer {
        let mut head = Head::over(answer.headers);
        self.describe(&mut head);
        Answer { headers: head.finish(), ..answer }
    }
}

/// A request that has come to its end, told when this is dropped: its client need not wait for that.
#[derive(Debug)]
pub struct Epilogue(Box<Account>);

impl Drop for Epilogue {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        if std::thread::panicking() {
            self.close(Some(Outcome::Failed), StatusCode::INTERNAL_SERVER_ERROR, Some("internal"));
            return;
        }
        if self.parts.cut.is_cancelled() {
            self.attempt_left("draining", "cut_off");
            self.close(Some(Outcome::Refused), StatusCode::SERVICE_UNAVAILABLE, Some("draining"));
            return;
        }
        self.attempt_left("client_gone", "hung_up");
        // 499 is the log's word for a client that left; nobody receives it.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        self.close(Some(Outcome::HungUp), status, None);
    }
}

/// What a caller's limit in tokens is asked for before any step is known.
fn tokens_expected(features: &Features) -> Tokens {
    let output = match features.endpoint {
        endpoint if !endpoint.writes_tokens() => Tokens::ZERO,
        _ => features.output_limit.unwrap_or(super::OUTPUT_GUESS).times(features.answers.into()),
    };
    features.prompt_tokens().unwrap_or_default().plus(output)
}
