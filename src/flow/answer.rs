use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::admit::{Denial, OverBudgetWhy};
use crate::rules::{Features, Unfit};
use crate::upstream::{Failure, Phase};
use crate::wire::{BadCall, Class, ErrorWords, Shape};

use super::account::Epilogue;
use super::early::Early;
use super::head::header_value;
use super::panics::caught;
use super::plan::{Plan, Skip};
use super::relay::Relay;
use super::{Running, Tried};

/// A client that is told to wait longer is told not to try by itself: the official SDKs would ignore the time and hammer.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What the caller gets: a relayed reply, a refusal or a failure.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// What is left to be done once the answer has been written.
    pub epilogue: Option<Epilogue>,
}

impl Answer {
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Body) -> Self {
        Self { status, headers, body, epilogue: None }
    }

    /// An answer that is there as a whole.
    #[must_use]
    pub fn whole(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self::new(status, headers, Body::Whole(body))
    }
}

/// How long a told error gets to leave before the connection ends.
pub(super) const FLUSH: Duration = Duration::from_millis(20);

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    Whole(Bytes),
    Relay(Relay),
    Early(Box<Early>),
    /// What comes after a fault of ours in the middle of a body.
    Faulted(LastWords),
}

/// An error event, the time it needs to leave, and the connection's end.
#[derive(Debug)]
pub struct LastWords {
    event: Bytes,
    leaving: Pin<Box<Sleep>>,
}

/// A stream that was given up after its status had gone out: the connection ends without the body's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream was cut after its error had been told")]
pub struct CutShort;

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = self.get_mut();
        let shape = this.shape();
        let polled = match this {
            Self::Whole(bytes) => return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(std::mem::take(bytes))))),
            Self::Relay(relay) => caught(|| relay.poll_next(cx)),
            Self::Early(early) => caught(|| early.poll_next(cx)),
            Self::Faulted(words) => Some(words.poll_next(cx)),
        };
        let polled = polled.unwrap_or_else(|| {
            tracing::error!("a stream met a fault of tollgate's own");
            let mut words = LastWords::of(&Refusal::internal(), shape);
            let first = words.poll_next(cx);
            *this = Self::Faulted(words);
            first
        });
        polled.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Relay(_) | Self::Early(_) | Self::Faulted(_) => SizeHint::default(),
        }
    }
}

impl LastWords {
    fn of(refusal: &Refusal, shape: Shape) -> Self {
        let event = refusal.words().event(shape, None);
        Self { event, leaving: Box::pin(tokio::time::sleep(FLUSH)) }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        if !self.event.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.event))));
        }
        ready!(self.leaving.as_mut().poll(cx));
        Poll::Ready(Some(Err(CutShort)))
    }
}

impl Body {
    /// How its client's format writes errors.
    fn shape(&self) -> Shape {
        match self {
            Self::Relay(relay) => relay.shape(),
            Self::Early(early) => early.shape(),
            Self::Whole(_) | Self::Faulted(_) => Shape::default(),
        }
    }
}

/// Who is told an answer of ours.
#[derive(Clone, Copy, Debug)]
pub struct Addressee<'a> {
    /// How the client's format writes errors.
    pub shape: Shape,
    pub request_id: &'a str,
}

/// We say no to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// One of the closed list in `docs/errors.md`.
    pub code: &'static str,
    pub kind: &'static str,
    pub param: Option<String>,
    pub message: String,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// Whether a client should try again by itself.
    pub should_retry: bool,
}

impl Refusal {
    /// The request itself is wrong.
    #[must_use]
    pub fn bad_request(code: &'static str, param: Option<String>, message: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            kind: "invalid_request_error",
            param,
            message,
            retry_after: None,
            should_retry: false,
        }
    }

    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn invalid(param: &'static str, message: String) -> Self {
        Self::bad_request("invalid_parameter", Some(param.into()), message)
    }

    /// Another try after `wait` may be served.
    #[must_use]
    pub fn later(status: StatusCode, code: &'static str, kind: &'static str, message: String, wait: Duration) -> Self {
        Self { status, code, kind, param: None, message, retry_after: Some(wait), should_retry: wait <= LONGEST_WAIT }
    }

    /// A limit of the caller's own refused, before any step was looked at.
    pub(super) fn limited(denial: Denial) -> Self {
        let (status, code, kind) = (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "rate_limit_error");
        let retry_after = denial.retry_after;
        let message = Skip::Limit(denial).reason();
        match retry_after {
            Some(wait) => Self::later(status, code, kind, message, wait),
            None => Self { status, kind, ..Self::bad_request(code, None, message) },
        }
    }

    /// The daemon's end came before the answer began.
    pub(super) fn draining() -> Self {
        let message = "tollgate is stopping, and its time for open requests is over".into();
        Self::later(StatusCode::SERVICE_UNAVAILABLE, "draining", "service_unavailable_error", message, Duration::from_secs(1))
    }

    /// A fault of ours.
    #[must_use]
    pub fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            kind: "server_error",
            param: None,
            message: "tollgate met a fault of its own; the log has it under this request id".into(),
            retry_after: None,
            should_retry: false,
        }
    }

    pub(super) fn no_rule(features: &Features) -> Self {
        Self::bad_request(
            "model_not_found",
            Some("model".into()),
            format!("no rule matches this request for model `{}`, and the file says `default: refuse`", features.requested_model),
        )
        .with_status(StatusCode::NOT_FOUND)
    }

    /// No step was sent: the most hopeful of the reasons, every step named.
    pub(super) fn all_skipped(running: &Running, plan: &Plan<'_>, skips: &[(usize, Skip)], shortest_wait: Option<Duration>) -> Self {
        let has = |wanted: fn(&Skip) -> bool| skips.iter().any(|(_, skip)| wanted(skip));
        let targets = running.rules().targets();
        let steps: Vec<String> = skips.iter().map(|(target, skip)| format!("{}: {}", targets[*target].name, skip.reason())).collect();
        if steps.is_empty() {
            let model = plan.requested_model();
            let message = format!("the chain of rule `{}` has no target for model `{model}`", plan.found.name);
            return Self::bad_request("model_not_found", Some("model".into()), message).with_status(StatusCode::NOT_FOUND);
        }
        let message = format!("no step of rule `{}` could serve this request: {}", plan.found.name, steps.join("; "));
        let bad = |code| Self::bad_request(code, None, message.clone());
        if has(|skip| matches!(skip, Skip::Limit(denial) if denial.retry_after.is_some())) {
            let wait = shortest_wait.unwrap_or(Duration::from_secs(1));
            return Self::later(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "rate_limit_error", message, wait);
        }
        if has(|skip| matches!(skip, Skip::Budget(over) if over.why == OverBudgetWhy::Pace)) {
            let wait = shortest_wait.unwrap_or(Duration::from_secs(1));
            return Self::later(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "rate_limit_error", message, wait);
        }
        if has(|skip| matches!(skip, Skip::AtRest(_))) {
            let wait = shortest_wait.unwrap_or(Duration::from_secs(20));
            return Self::later(StatusCode::SERVICE_UNAVAILABLE, "server_is_overloaded", "service_unavailable_error", message, wait);
        }
        if let Some(refusal) = Self::over_budget(skips, &message) {
            return refusal;
        }
        // No waiting makes room for a request that is larger than a limit's burst.
        if has(|skip| matches!(skip, Skip::Limit(_))) {
            return Self { status: StatusCode::TOO_MANY_REQUESTS, kind: "rate_limit_error", ..bad("rate_limit_exceeded") };
        }
        if has(|skip| matches!(skip, Skip::AboveCeiling { .. })) {
            return bad("cost_ceiling_exceeded");
        }
        if has(|skip| matches!(skip, Skip::Unfit(Unfit::Context { .. }) | Skip::NotLarger)) {
            return bad("context_length_exceeded");
        }
        let malformed = skips.iter().find_map(|(_, skip)| if let Skip::Bad(bad) = skip { Some(bad) } else { None });
        if let Some(BadCall { code, param, .. }) = malformed {
            return Self { param: param.clone(), ..bad(code) };
        }
        let unmet = skips.iter().find_map(|(_, skip)| match skip {
            Skip::Unmet(fields) | Skip::Lacks(fields) => fields.first(),
            _ => None,
        });
        if let Some(field) = unmet {
            return Self { param: Some(field.clone()), ..bad("unsupported_parameter") };
        }
        if has(|skip| matches!(skip, Skip::NotPassed(_))) {
            return bad("unpriceable_request");
        }
        if has(|skip| matches!(skip, Skip::Unfit(Unfit::Needs(_)) | Skip::NoSuchApi(_))) {
            return bad("unsupported_parameter");
        }
        if has(|skip| matches!(skip, Skip::Unpriceable(_))) {
            return bad("unpriceable_request");
        }
        if has(|skip| matches!(skip, Skip::NotAllowed)) {
            return bad("target_forbidden").with_status(StatusCode::FORBIDDEN);
        }
        let wait = Duration::from_secs(fastrand::u64(10..=30));
        Self::later(StatusCode::SERVICE_UNAVAILABLE, "no_provider", "service_unavailable_error", message, wait)
    }

    /// What budgets, their ledger or their clock say, the most hopeful first.
    fn over_budget(skips: &[(usize, Skip)], message: &str) -> Option<Self> {
        let over = |why| {
            let budgets = skips.iter().filter_map(|(_, skip)| if let Skip::Budget(over) = skip { Some(over) } else { None });
            budgets.filter(move |over| over.why == why).min_by_key(|over| over.retry_after)
        };
        let soon = || Duration::from_millis(fastrand::u64(1_000..=5_000));
        if over(OverBudgetWhy::Busy).is_some() {
            return Some(Self::later(StatusCode::TOO_MANY_REQUESTS, "budget_busy", "rate_limit_error", message.into(), soon()));
        }
        let unavailable = |code| Self::later(StatusCode::SERVICE_UNAVAILABLE, code, "service_unavailable_error", message.into(), soon());
        if over(OverBudgetWhy::Ledger).is_some() {
            return Some(unavailable("ledger_unavailable"));
        }
        if over(OverBudgetWhy::Clock).is_some() {
            return Some(unavailable("clock_suspect"));
        }
        let exceeded = over(OverBudgetWhy::Exceeded)?;
        let refusal = Self::bad_request("budget_exceeded", None, message.into()).with_status(StatusCode::TOO_MANY_REQUESTS);
        // The time of the window's end is told, but a client that waits for it by itself would wait for days.
        Some(Self { kind: "insufficient_quota", retry_after: exceeded.retry_after, ..refusal })
    }

    fn words(&self) -> ErrorWords<'_> {
        let Self { message, kind, param, code, .. } = self;
        ErrorWords { status: self.status.as_u16(), message, kind, param: param.as_deref(), code }
    }

    /// The answer without any request's facts.
    #[must_use]
    pub fn answer(&self, to: Addressee<'_>) -> Answer {
        let mut answer = error_answer(&self.words(), to);
        retry_hints(&mut answer.headers, self.should_retry, self.retry_after);
        answer
    }
}

/// An error in the caller's format.
fn error_answer(words: &ErrorWords<'_>, to: Addressee<'_>) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let status = StatusCode::from_u16(words.status(to.shape)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer::whole(status, headers, words.body(to.shape, Some(to.request_id)))
}

/// What the client is told of a provider's failure: the provider's own error where the request caused it, else words of ours.
pub(super) fn failed(running: &Running, target: usize, failure: &Failure, tried: &Tried, to: Addressee<'_>) -> Answer {
    let status = failure.answer_status();
    let is_shaped = failure.told.as_ref().is_some_and(|told| told.shape == Some(to.shape.of_bodies()));
    let mut answer = if let Some(body) = failure.body.as_ref().filter(|_| is_shaped) {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))].into_iter().collect();
        Answer::whole(status, headers, body.clone())
    } else {
        let provider = &running.rules().providers()[running.rules().targets()[target].provider].name;
        let told = failure.told.as_ref().filter(|_| failure.is_clients_own());
        let message = match told.and_then(|told| told.message.as_deref()) {
            Some(message) => format!("provider `{provider}`: {message}"),
            None => format!("provider `{provider}` {}", failure.message),
        };
        let message = context_message(failure, to.shape).unwrap_or(message);
        let (status, param) = (status.as_u16(), told.and_then(|told| told.param.as_deref()));
        error_answer(&ErrorWords { status, message: &message, kind: failure.answer_kind(), param, code: failure.code }, to)
    };
    let wait = tried.shortest_wait();
    let helps = matches!(failure.class, Class::RateLimited | Class::Overloaded | Class::ServerError | Class::Conflict)
        || (failure.class == Class::Connect && failure.phase == Phase::P0);
    let wait = wait.or_else(|| (helps && tried.nothing_billed()).then_some(Duration::from_secs(1)));
    let should_retry = helps && tried.nothing_billed() && wait.is_none_or(|wait| wait <= LONGEST_WAIT);
    retry_hints(&mut answer.headers, should_retry, wait.filter(|_| helps));
    answer
}

/// Clients of this format know by these words, and by no code, that a prompt is too long.
fn context_message(failure: &Failure, shape: Shape) -> Option<String> {
    let told = failure.told.as_ref().filter(|_| failure.class == Class::ContextLength && shape == Shape::Anthropic)?;
    Some(match (told.requested, told.limit) {
        (Some(requested), Some(limit)) => format!("prompt is too long: {requested} tokens > {limit} maximum"),
        _ => "prompt is too long".into(),
    })
}

/// Says on every error whether and when another try can help.
fn retry_hints(headers: &mut HeaderMap, should_retry: bool, wait: Option<Duration>) {
    headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static(if should_retry { "true" } else { "false" }));
    if let Some(wait) = wait {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1_000)));
        headers.insert(HeaderName::from_static("retry-after-ms"), header_value(&millis.to_string()));
    }
}
