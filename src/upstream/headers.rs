use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING, USER_AGENT,
};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::config::{Key, Provider};
use crate::units::Format;
use crate::wire::Mark;

use super::failure::{Failure, Phase};

/// Most header lines in a provider's answer.
pub(super) const MOST_HEADERS: usize = 100;
/// Largest head of a provider's answer, in bytes.
pub(super) const HEAD_LIMIT: usize = 64 << 10;
/// What a header line has beside its name and value: a colon, a space, the end of the line.
const LINE_EXTRA: usize = 4;

/// The client headers that a provider of the `openai` format gets as they came. Nothing else of the client's passes.
static PASSED: [HeaderName; 1] = [HeaderName::from_static("openai-beta")];
/// How those begin that a provider of the `anthropic` format gets: new ones must not need a release of tollgate.
const PASSED_OF_ANTHROPIC: &str = "anthropic-";
static VERSION: HeaderName = HeaderName::from_static("anthropic-version");
static ANTHROPIC_KEY: HeaderName = HeaderName::from_static("x-api-key");
static AZURE_KEY: HeaderName = HeaderName::from_static("api-key");
static GEMINI_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// What all requests to a provider carry, made ready once.
#[derive(Debug)]
pub(super) struct Common {
    format: Format,
    plain: HeaderMap,
    streaming: HeaderMap,
}

impl Common {
    pub(super) fn new(provider: &Provider, base: &Uri) -> Self {
        let with = |accept| {
            let mut headers = common(provider, base);
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            headers
        };
        Self { format: provider.format, plain: with("application/json"), streaming: with("text/event-stream, application/json") }
    }

    /// The headers of one request with a body of `length` bytes.
    pub(super) fn request(&self, client: &HeaderMap, length: u64, is_streaming: bool) -> HeaderMap {
        let mut headers = if is_streaming { self.streaming.clone() } else { self.plain.clone() };
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if self.format == Format::Anthropic {
            for (name, value) in client.iter().filter(|(name, _)| name.as_str().starts_with(PASSED_OF_ANTHROPIC)) {
                if *name == VERSION {
                    headers.insert(name, value.clone());
                } else {
                    headers.append(name, value.clone());
                }
            }
            return headers;
        }
        let passed: &[HeaderName] = if self.format == Format::Gemini { &[] } else { &PASSED };
        for name in passed {
            for value in client.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers
    }

    /// The headers of a request whose body goes through as it came, and with it what the client says of its kind.
    pub(super) fn passed(&self, client: &HeaderMap, length: u64) -> HeaderMap {
        let mut headers = self.plain.clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(kind) = client.get(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, kind.clone());
        }
        headers
    }
}

fn common(provider: &Provider, base: &Uri) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // Its place: a copy of these headers has room for no other, and would grow for it.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Key::Present(key) = &provider.key {
        let (name, text) = match provider.format {
            Format::Anthropic => (ANTHROPIC_KEY.clone(), key.expose().to_owned()),
            Format::Gemini => (GEMINI_KEY.clone(), key.expose().to_owned()),
            Format::OpenAi if provider.is_azure() => (AZURE_KEY.clone(), key.expose().to_owned()),
            Format::OpenAi | Format::Sandbox => (AUTHORIZATION, format!("Bearer {}", key.expose())),
        };
        if let Ok(mut value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    if provider.format == Format::Anthropic {
        headers.insert(VERSION.clone(), HeaderValue::from_static("2023-06-01"));
    }
    // Where HTTP/1.1 is certain the host is known now; where TLS settles the version, the pool adds it if needed.
    let is_plain = base.scheme() == Some(&http::uri::Scheme::HTTP);
    if (is_plain || provider.http1_only)
        && let Some(host) = host(base, is_plain)
    {
        headers.insert(HOST, host);
    }
    headers
}

/// What a request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Json,
    Events,
    /// Whatever the provider has: nobody reads it here.
    Anything,
}

/// What a head is worth.
pub(super) enum Head {
    /// A reply, and whether it is an event stream.
    Reply { is_event_stream: bool },
    /// An error answer with a body to be read; `is_readable` unless the body is compressed.
    Refused { is_readable: bool },
    /// No answer that could be passed on.
    Unusable(Failure),
}

/// Judges a provider's head. `is_empty`: no body follows.
pub(super) fn judge(head: &Parts, wanted: Wanted, is_empty: bool) -> Head {
    let status = head.status;
    let malformed = |fault, what: String| {
        let mut failure = Failure::malformed(Phase::P2, fault, what);
        failure.status = Some(status.as_u16());
        failure
    };
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let mut failure = malformed("upgrade", "switched protocols without being asked".to_owned());
        failure.nothing_billed = true;
        return Head::Unusable(failure);
    }
    if status.is_redirection() {
        return Head::Unusable(Failure::redirected(status.as_u16()));
    }
    // The client's own bounds are looser: its buffer may hold more than it was told when a head comes in one read.
    let size: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_EXTRA).sum();
    if head.headers.len() > MOST_HEADERS || size > HEAD_LIMIT {
        return Head::Unusable(malformed("bad_head", format!("sent a head of more than {MOST_HEADERS} lines or {HEAD_LIMIT} bytes")));
    }
    if is_framed_twice(&head.headers) {
        return Head::Unusable(malformed("bad_framing", "gave the length of its answer twice".to_owned()));
    }
    let is_encoded = head.headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !status.is_success() {
        return Head::Refused { is_readable: !is_encoded };
    }
    if is_encoded {
        return Head::Unusable(malformed("content_encoding", "sent a compressed answer that was not asked for".to_owned()));
    }
    if is_empty || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        return Head::Unusable(malformed("empty", format!("answered with status {status} and no content", status = status.as_u16())));
    }
    match content(&head.headers) {
        _ if wanted == Wanted::Anything => Head::Reply { is_event_stream: false },
        Content::Events if wanted == Wanted::Events => Head::Reply { is_event_stream: true },
        Content::Json => Head::Reply { is_event_stream: false },
        Content::Unsaid => Head::Reply { is_event_stream: wanted == Wanted::Events },
        Content::Events | Content::Other => {
            let mut failure = malformed("content_type", "answered with another content type than was asked for".to_owned());
            failure.mark = Mark::TargetDown;
            Head::Unusable(failure)
        }
    }
}

enum Content {
    Events,
    Json,
    Other,
    /// No content type at all; the body then has to show what it is.
    Unsaid,
}

fn content(headers: &HeaderMap) -> Content {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Content::Unsaid;
    };
    let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let ends_with_json = kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case(b"+json");
    if kind.eq_ignore_ascii_case(b"text/event-stream") {
        Content::Events
    } else if kind.eq_ignore_ascii_case(b"application/json") || ends_with_json {
        Content::Json
    } else {
        Content::Other
    }
}

/// Two statements of a body's length are how one answer is smuggled behind another.
fn is_framed_twice(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return false;
    };
    lengths.next().is_some() || length.as_bytes().contains(&b',') || headers.contains_key(TRANSFER_ENCODING)
}

/// What HTTP/1.1 says of the host.
pub(super) fn host(base: &Uri, is_plain: bool) -> Option<HeaderValue> {
    let name = base.host()?;
    let usual = if is_plain { 80 } else { 443 };
    match base.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::from_str(&format!("{name}:{port}")).ok(),
        None => HeaderValue::from_str(name).ok(),
    }
}
