use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::wire::{Class, ErrorTold, Mark, ReplyFault};

use super::dial::DialError;

/// How long a target rests at once when its TLS cannot be trusted.
const TLS_REST: Duration = Duration::from_mins(1);

/// How far an attempt came before it failed (docs/faults.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No byte of the request was given to the provider's socket.
    P0,
    /// The request was sent, or a part of it; no head came back.
    P1,
    /// A head came; nothing was given to the client.
    P2,
    /// The client has content.
    P3,
    /// The answer was complete.
    P4,
}

impl Phase {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P0 => "p0",
            Self::P1 => "p1",
            Self::P2 => "p2",
            Self::P3 => "p3",
            Self::P4 => "p4",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A provider let an attempt down. One word wide; its facts are the fields of [`FailureFacts`].
#[derive(Clone, Debug)]
pub struct Failure(Box<FailureFacts>);

/// What is known of a failure.
#[derive(Clone, Debug)]
pub struct FailureFacts {
    pub class: Class,
    /// The metric's label; one of a closed list.
    pub fault: &'static str,
    pub phase: Phase,
    /// The provider's status, where there was one.
    pub status: Option<u16>,
    /// What a client reads as `code` (docs/errors.md).
    pub code: &'static str,
    /// How long the provider asked to be left alone, or how long it has to rest.
    pub retry_after: Option<Duration>,
    /// What the provider's error says, without any text that holds its key or host.
    pub told: Option<ErrorTold>,
    /// The provider's own error body, fit to go as it is to a client whose format writes errors in the same shape.
    pub body: Option<Bytes>,
    pub mark: Mark,
    /// True when the provider cannot have charged for the attempt.
    pub nothing_billed: bool,
    /// A pooled connection broke after bytes were sent, before any of the answer: once more on a fresh one is allowed.
    pub may_go_again: bool,
    /// For timeouts: how long the provider said nothing.
    pub silent_for: Option<Duration>,
    /// What happened, in words that follow a provider's name: `answered with status 503`. Holds no host, key or upstream text.
    pub message: String,
}

/// How long a provider that is at its limit is left alone when it does not say.
const UNKNOWN_REST: Duration = Duration::from_secs(20);

impl Failure {
    /// `what` is the wait that ended: `first_content`, `idle` or `deadline`.
    #[must_use]
    pub fn timed_out(phase: Phase, what: &'static str, silent_for: Duration) -> Self {
        let message = format!("did not answer in time ({what}, silent for {silent_for:.1?})");
        let mut failure = Self::new(Class::Timeout, what, phase, "upstream_timeout", message);
        failure.silent_for = Some(silent_for);
        failure.nothing_billed = phase == Phase::P0;
        failure
    }

    /// What a reader of the reply found. The text of an error inside a reply is not scanned here:
    /// [`super::Upstream::failure_from`] does that.
    #[must_use]
    pub fn from_fault(fault: ReplyFault, phase: Phase) -> Self {
        match fault {
            ReplyFault::Error(told) => Self::error_in_reply(*told, phase),
            ReplyFault::Malformed(what) => Self::malformed(phase, "malformed", format!("sent an answer that cannot be read ({what})")),
            ReplyFault::TooLarge(what) => {
                Self::new(Class::BadModelOutput, "too_large", phase, "upstream_too_large", format!("sent too much ({what})"))
            }
            ReplyFault::Truncated => Self::truncated(phase),
        }
    }

    /// The status that a client gets when this failure is the whole answer.
    #[must_use]
    pub fn answer_status(&self) -> StatusCode {
        let own = self.status.and_then(|status| StatusCode::from_u16(status).ok()).filter(StatusCode::is_client_error);
        match self.class {
            Class::InvalidRequest => own.unwrap_or(StatusCode::BAD_REQUEST),
            Class::CapabilityMismatch | Class::ContextLength | Class::ContentPolicy if self.body.is_some() => {
                own.unwrap_or(StatusCode::BAD_REQUEST)
            }
            Class::CapabilityMismatch | Class::ContextLength | Class::ContentPolicy => StatusCode::BAD_REQUEST,
            Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Class::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Class::Permission => StatusCode::FORBIDDEN,
            Class::ModelNotFound => StatusCode::NOT_FOUND,
            Class::QuotaExhausted | Class::Overloaded | Class::Conflict => StatusCode::SERVICE_UNAVAILABLE,
            Class::ServerError if self.status == Some(500) && self.told.as_ref().is_some_and(|told| told.message.is_some()) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Class::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Class::Auth | Class::ServerError | Class::Connect | Class::StreamTruncated | Class::BadModelOutput => StatusCode::BAD_GATEWAY,
        }
    }

    /// What a client of the `openai` formats reads as `type`.
    #[must_use]
    pub fn answer_kind(&self) -> &'static str {
        match self.class {
            Class::InvalidRequest
            | Class::CapabilityMismatch
            | Class::ContextLength
            | Class::TooLarge
            | Class::ContentPolicy
            | Class::ModelNotFound => "invalid_request_error",
            Class::RateLimited => "rate_limit_error",
            Class::Permission => "permission_error",
            Class::Overloaded | Class::Conflict => "service_unavailable_error",
            Class::QuotaExhausted | Class::Auth | Class::Connect => "upstream_error",
            Class::ServerError | Class::Timeout | Class::StreamTruncated | Class::BadModelOutput => "server_error",
        }
    }

    /// A content filter of the provider ended the answer before any content.
    #[must_use]
    pub fn blocked() -> Self {
        let message = "ended the answer by its content filter before any content".to_owned();
        Self::new(Class::ContentPolicy, "content_filter", Phase::P2, "content_policy_violation", message)
    }

    /// The daemon is about to end, and its drain's time is over.
    #[must_use]
    pub fn draining() -> Self {
        let mut failure = Self::new(Class::Overloaded, "draining", Phase::P3, "draining", "was cut off: tollgate is stopping".to_owned());
        failure.mark = Mark::None;
        failure
    }

    /// The request itself is at fault, so that the provider's words about it are the client's to read.
    #[must_use]
    pub fn is_clients_own(&self) -> bool {
        is_clients_own(self.class)
    }

    /// An error answer. `body` is what came of it, kept only where it may go to a client as it is.
    pub(super) fn answered(status: u16, told: ErrorTold, body: Option<Bytes>, is_whole: bool) -> Self {
        let message = format!("answered with status {status}");
        let mut failure = Self::new(told.class, told.class.as_str(), Phase::P2, client_code(told.class), message);
        failure.status = Some(status);
        failure.retry_after = told.retry_after.or((told.class == Class::RateLimited).then_some(UNKNOWN_REST));
        failure.mark = mark_of(&told);
        failure.nothing_billed = is_whole;
        failure.body = body.filter(|_| is_whole && told.shape.is_some() && is_clients_own(told.class));
        failure.told = Some(told);
        failure
    }

    fn error_in_reply(told: ErrorTold, phase: Phase) -> Self {
        let message = "sent an error inside its answer".to_owned();
        let code = if phase >= Phase::P3 { "upstream_error" } else { client_code(told.class) };
        let mut failure = Self::new(told.class, told.class.as_str(), phase, code, message);
        failure.retry_after = told.retry_after;
        failure.mark = mark_of(&told);
        failure.nothing_billed = phase < Phase::P3 && told.usage.is_none();
        failure.told = Some(told);
        failure
    }

    pub(super) fn dialled(error: DialError) -> Self {
        let (fault, code, what) = match error {
            DialError::Dns => ("dns", "upstream_connect", "its name was not found"),
            DialError::Refused => ("refused", "upstream_connect", "the connection was refused"),
            DialError::Timeout => ("connect_timeout", "upstream_connect", "no connection in time"),
            DialError::Tls => ("tls", "upstream_tls", "its certificate or TLS version is not trusted"),
            DialError::Roots => ("tls", "upstream_tls", "this machine has no root certificates"),
            DialError::Forbidden => ("forbidden_address", "upstream_connect", "its name points to a private address"),
            DialError::Proxy => ("proxy", "upstream_connect", "the proxy opened no tunnel"),
            DialError::NoDescriptor => ("no_descriptor", "upstream_connect", "tollgate has no file descriptor left"),
        };
        let mut failure = Self::new(Class::Connect, fault, Phase::P0, code, format!("could not be reached: {what}"));
        failure.nothing_billed = true;
        match error {
            DialError::Tls => (failure.mark, failure.retry_after) = (Mark::Rest, Some(TLS_REST)),
            // Says nothing about the provider.
            DialError::NoDescriptor => failure.mark = Mark::None,
            _ => {}
        }
        failure
    }

    pub(super) fn reset(phase: Phase) -> Self {
        let message = "closed the connection before it answered".to_owned();
        let mut failure = Self::new(Class::Connect, "reset", phase, "upstream_reset", message);
        failure.nothing_billed = phase == Phase::P0;
        failure
    }

    pub(super) fn write_timed_out() -> Self {
        let message = "did not take the request in time".to_owned();
        Self::new(Class::Timeout, "write_timeout", Phase::P1, "upstream_timeout", message)
    }

    pub(super) fn truncated(phase: Phase) -> Self {
        Self::new(Class::StreamTruncated, "truncated", phase, "upstream_truncated", "broke off its answer".to_owned())
    }

    pub(super) fn redirected(status: u16) -> Self {
        let message = format!("answered with a redirect ({status}), and redirects are never followed");
        let mut failure = Self::new(Class::BadModelOutput, "redirect", Phase::P2, "upstream_redirect", message);
        failure.status = Some(status);
        failure.nothing_billed = true;
        failure
    }

    pub(super) fn malformed(phase: Phase, fault: &'static str, message: String) -> Self {
        Self::new(Class::BadModelOutput, fault, phase, "upstream_malformed", message)
    }

    pub(super) fn too_large(limit: u64) -> Self {
        let message = format!("sent an answer of more than {limit} bytes");
        Self::new(Class::BadModelOutput, "too_large", Phase::P2, "upstream_too_large", message)
    }

    /// The same failure, after an earlier try at the same target had failed as `first`.
    #[must_use]
    pub fn after(mut self, first: &Self) -> Self {
        self.phase = self.phase.max(first.phase);
        self.nothing_billed &= first.nothing_billed;
        self
    }

    fn new(class: Class, fault: &'static str, phase: Phase, code: &'static str, message: String) -> Self {
        Self(Box::new(FailureFacts {
            class,
            fault,
            phase,
            status: None,
            code,
            retry_after: None,
            told: None,
            body: None,
            mark: class.mark(),
            nothing_billed: false,
            may_go_again: false,
            silent_for: None,
            message,
        }))
    }
}

impl Deref for Failure {
    type Target = FailureFacts;

    fn deref(&self) -> &FailureFacts {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut FailureFacts {
        &mut self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A busy provider that names no time counts toward the cooldown; one that does is left alone that long.
fn mark_of(told: &ErrorTold) -> Mark {
    match told.class {
        Class::Overloaded if told.retry_after.is_none() => Mark::Count,
        class => class.mark(),
    }
}

/// The request itself is at fault, so that the provider's words about it are the client's to read.
fn is_clients_own(class: Class) -> bool {
    matches!(class, Class::InvalidRequest | Class::CapabilityMismatch | Class::ContextLength | Class::TooLarge | Class::ContentPolicy)
}

/// docs/errors.md, the column of the code that a client reads.
fn client_code(class: Class) -> &'static str {
    match class {
        Class::InvalidRequest => "invalid_request",
        Class::CapabilityMismatch => "unsupported_parameter",
        Class::ContextLength => "context_length_exceeded",
        Class::TooLarge => "request_too_large",
        Class::ContentPolicy => "content_policy_violation",
        Class::RateLimited => "rate_limit_exceeded",
        Class::QuotaExhausted => "provider_quota",
        Class::Auth => "upstream_auth",
        Class::Permission => "upstream_permission",
        Class::ModelNotFound => "upstream_model_not_found",
        Class::Overloaded | Class::Conflict => "server_is_overloaded",
        Class::ServerError => "upstream_error",
        Class::Connect => "upstream_connect",
        Class::Timeout => "upstream_timeout",
        Class::StreamTruncated => "upstream_truncated",
        Class::BadModelOutput => "upstream_malformed",
    }
}
