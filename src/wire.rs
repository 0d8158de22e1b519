//! What goes over the wire: bodies, streams and errors of each format, read as far as routing, limits and money need.
//!
//! Floor 1. Bytes in, facts and byte ranges out; no I/O. What is not understood passes through unchanged.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::units::Usage;

/// What kind of failure an answer is (WIRE.md 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Class {
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

    #[must_use]
    pub fn mark(self) -> Mark {
        match self {
            Self::RateLimited => Mark::Rest,
            Self::QuotaExhausted => Mark::AccountDown,
            Self::Auth => Mark::KeyDown,
            Self::Permission | Self::ModelNotFound => Mark::TargetDown,
            Self::Overloaded | Self::ServerError | Self::Connect | Self::Timeout | Self::StreamTruncated | Self::BadModelOutput => {
                Mark::Count
            }
            _ => Mark::None,
        }
    }
}

/// What a failure does to the target that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    None,
    Count,
    Rest,
    TargetDown,
    KeyDown,
    AccountDown,
}

/// What an error answer says, in any of the shapes of WIRE.md 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorTold {
    pub class: Class,
    pub message: Option<String>,
    pub kind: Option<String>,
    pub code: Option<String>,
    pub param: Option<String>,
    pub limit: Option<u64>,
    pub requested: Option<u64>,
    pub retry_after: Option<Duration>,
    pub is_own_shape: bool,
    pub usage: Option<Usage>,
}

/// Why a reply could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    Error(ErrorTold),
    Malformed(&'static str),
    TooLarge(&'static str),
    Truncated,
}

#[must_use]
pub fn read_error(status: Option<u16>, headers: &HeaderMap, body: &[u8]) -> ErrorTold {
    let tree: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &tree["error"];
    let text = |key: &str| error[key].as_str().map(str::to_owned);
    let class = match status {
        Some(401) => Class::Auth,
        Some(402) => Class::QuotaExhausted,
        Some(403) => Class::Permission,
        Some(404) => Class::ModelNotFound,
        Some(408 | 504) => Class::Timeout,
        Some(409 | 425) => Class::Conflict,
        Some(413) => Class::TooLarge,
        Some(429) => Class::RateLimited,
        Some(498 | 503 | 529) => Class::Overloaded,
        Some(400..=499) => Class::InvalidRequest,
        _ => Class::ServerError,
    };
    let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    ErrorTold {
        class,
        message: text("message"),
        kind: text("type"),
        code: text("code"),
        param: text("param"),
        limit: None,
        requested: None,
        retry_after,
        is_own_shape: error["message"].is_string(),
        usage: None,
    }
}

/// An error body in the shape of the OpenAI formats; all four keys are there.
#[must_use]
pub fn error_body(message: &str, kind: &str, param: Option<&str>, code: &str) -> Bytes {
    serde_json::json!({ "error": { "message": message, "type": kind, "param": param, "code": code } }).to_string().into()
}
