use bytes::Bytes;
use serde::Serialize;

use crate::units::Endpoint;
use crate::wire::responses::{Failed, failed};

/// How a client's format writes errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// `{"error":{"message","type","param","code"}}`
    #[default]
    OpenAi,
    /// `{"type":"error","error":{"type","message"},"request_id"}`
    Anthropic,
    /// A body as `OpenAi`; in a stream the events `error` and `response.failed`.
    Responses,
}

impl Shape {
    /// What a client of this endpoint reads.
    #[must_use]
    pub fn of(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Messages => Self::Anthropic,
            Endpoint::Responses => Self::Responses,
            _ => Self::OpenAi,
        }
    }

    /// How it writes bodies, which several may do alike.
    #[must_use]
    pub fn of_bodies(self) -> Self {
        match self {
            Self::OpenAi | Self::Responses => Self::OpenAi,
            Self::Anthropic => Self::Anthropic,
        }
    }
}

impl Shape {
    /// What tells a client of a stream that it lives.
    #[must_use]
    pub fn keep_alive(self) -> &'static [u8] {
        match self {
            Self::OpenAi | Self::Responses => b": keep-alive\n\n",
            Self::Anthropic => b"event: ping\ndata: {\"type\":\"ping\"}\n\n",
        }
    }

    /// An error's body as an event. Line breaks in JSON stand only between its tokens, so a space serves as well.
    #[must_use]
    pub fn as_event(self, body: &[u8]) -> Bytes {
        let lead: &[u8] = match self {
            Self::OpenAi => b"data: ",
            Self::Anthropic => b"event: error\ndata: ",
            Self::Responses => return unbegun(body),
        };
        let line: Vec<u8> = body.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        Bytes::from([lead, &line, b"\n\n"].concat())
    }
}

/// The end of a stream of the Responses API in which nothing was said yet, from the body of the error.
fn unbegun(body: &[u8]) -> Bytes {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| json["error"][key].as_str();
    let (message, kind) = (text("message").unwrap_or_default(), text("type").unwrap_or("server_error"));
    let words = ErrorWords { status: 500, message, kind, param: text("param"), code: text("code").unwrap_or(kind) };
    failed(&words, Failed { id: "resp_tg", model: "", created: 0, sequence: 0 })
}

/// An error to be told to a client.
#[derive(Clone, Copy, Debug)]
pub struct ErrorWords<'a> {
    pub status: u16,
    pub message: &'a str,
    /// The `type` in `OpenAI`'s words.
    pub kind: &'a str,
    pub param: Option<&'a str>,
    /// One of the codes in docs/errors.md.
    pub code: &'a str,
}

#[derive(Serialize)]
struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

impl ErrorWords<'_> {
    /// The status that a client of this shape gets: Anthropic has numbers of its own for two of them.
    #[must_use]
    pub fn status(&self, shape: Shape) -> u16 {
        match (shape, self.code) {
            (Shape::Anthropic, "server_is_overloaded") => 529,
            (Shape::Anthropic, "budget_exceeded") => 402,
            _ => self.status,
        }
    }

    /// The error as a body.
    #[must_use]
    pub fn body(&self, shape: Shape, request_id: Option<&str>) -> Bytes {
        Bytes::from(self.written(shape, request_id))
    }

    /// The same as an event of a stream.
    #[must_use]
    pub fn event(&self, shape: Shape, request_id: Option<&str>) -> Bytes {
        shape.as_event(&self.written(shape, request_id))
    }

    fn written(&self, shape: Shape, request_id: Option<&str>) -> Vec<u8> {
        let Self { message, kind, param, code, .. } = *self;
        let written = match shape {
            Shape::OpenAi | Shape::Responses => serde_json::to_vec(&OpenAiBody { error: OpenAiError { message, kind, param, code } }),
            Shape::Anthropic => {
                let error = AnthropicError { kind: self.anthropic_kind(), message };
                serde_json::to_vec(&AnthropicBody { kind: "error", error, request_id })
            }
        };
        // Writing text into memory cannot fail.
        written.unwrap_or_default()
    }

    fn anthropic_kind(&self) -> &'static str {
        match (self.status(Shape::Anthropic), self.code) {
            (_, "budget_exceeded") => "billing_error",
            (401, _) => "authentication_error",
            (403, _) => "permission_error",
            (404, _) => "not_found_error",
            (413, _) => "request_too_large",
            (429, _) => "rate_limit_error",
            (504, _) => "timeout_error",
            (529, _) => "overloaded_error",
            (400..=499, _) => "invalid_request_error",
            _ => "api_error",
        }
    }
}
