//! What a failed answer means: its class, and what the class allows.

mod classify;
mod retry;
mod words;

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use crate::units::Usage;

pub use words::{ErrorWords, Shape};

/// The kinds of failure, one for each way to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    InvalidRequest,
    CapabilityMismatch,
    ContextLength,
    TooLarge,
    ContentPolicy,
    RateLimited,
    QuotaExhausted,
    Auth,
    Permission,
    ModelNotFound,
    Overloaded,
    ServerError,
    Connect,
    Timeout,
    Conflict,
    StreamTruncated,
    BadModelOutput,
}

/// Whether another target may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    No,
    Yes,
    /// Only a target with a larger window or body limit.
    LargerContext,
    /// Only where the rule lists the class in `fallback_on`.
    OptIn,
}

/// What a failure leaves behind at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    None,
    /// Counts toward the cooldown.
    Count,
    /// Rests until the provider's own time, or for the default rest.
    Rest,
    TargetDown,
    KeyDown,
    AccountDown,
}

impl Class {
    /// The word in records, metrics and `fallback_on`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::CapabilityMismatch => "capability_mismatch",
            Self::ContextLength => "context_length",
            Self::TooLarge => "too_large",
            Self::ContentPolicy => "content_policy",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::ModelNotFound => "model_not_found",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::StreamTruncated => "stream_truncated",
            Self::BadModelOutput => "bad_model_output",
        }
    }

    /// Whether the same target may be asked once more when no other step is left.
    #[must_use]
    pub fn retries_same(self) -> bool {
        matches!(self, Self::Overloaded | Self::ServerError | Self::Conflict)
    }

    #[must_use]
    pub fn next(self) -> Next {
        match self {
            Self::InvalidRequest => Next::No,
            Self::ContextLength | Self::TooLarge => Next::LargerContext,
            Self::ContentPolicy => Next::OptIn,
            _ => Next::Yes,
        }
    }

    #[must_use]
    pub fn mark(self) -> Mark {
        match self {
            Self::InvalidRequest
            | Self::CapabilityMismatch
            | Self::ContextLength
            | Self::TooLarge
            | Self::ContentPolicy
            | Self::Conflict => Mark::None,
            Self::RateLimited | Self::Overloaded => Mark::Rest,
            Self::QuotaExhausted => Mark::AccountDown,
            Self::Auth => Mark::KeyDown,
            Self::Permission | Self::ModelNotFound => Mark::TargetDown,
            Self::ServerError | Self::Connect | Self::Timeout | Self::StreamTruncated | Self::BadModelOutput => Mark::Count,
        }
    }

    /// Whether a person has to do something before the target works again.
    #[must_use]
    pub fn alerts(self) -> bool {
        matches!(self, Self::QuotaExhausted | Self::Auth | Self::Permission | Self::ModelNotFound)
    }
}

/// What an error answer says, whatever its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorTold {
    pub class: Class,
    pub message: Option<String>,
    /// The `type`.
    pub kind: Option<String>,
    pub code: Option<String>,
    /// The field at fault.
    pub param: Option<String>,
    /// The model's window or another limit in tokens, where a message names it.
    pub limit: Option<u64>,
    /// What the call came to, in tokens, where a message names it.
    pub requested: Option<u64>,
    /// How long the provider asks to wait, 1 s to 1 h; nothing when it does not say, or says nothing sensible.
    pub retry_after: Option<Duration>,
    /// The format that writes errors in just this way, so that the body may go back to a client of it as it is.
    pub shape: Option<Shape>,
    /// What was used all the same.
    pub usage: Option<Usage>,
}

impl ErrorTold {
    /// An error that was told by a sign other than an error body.
    pub(super) fn bare(class: Class, message: String) -> Self {
        Self {
            class,
            message: Some(message),
            kind: None,
            code: None,
            param: None,
            limit: None,
            requested: None,
            retry_after: None,
            shape: None,
            usage: None,
        }
    }
}

/// Reads an error answer. Without a status it is an error that was told inside a 200.
#[must_use]
pub fn read_error(status: Option<u16>, headers: &HeaderMap, body: &[u8]) -> ErrorTold {
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let told = classify::read(status, headers, &json);
    ErrorTold { retry_after: retry::read(headers, &json, told.message.as_deref()), ..told }
}

#[cfg(test)]
mod tests;
