use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, UPGRADE};
use http::request::Parts as Head;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use uuid::{Builder, Uuid};

use crate::flow::{Addressee, Answer, Asked, Body, Epilogue, Refusal, Running, answer_or_internal};
use crate::units::Endpoint;
use crate::wire::{Call, Shape};

use super::coding::Coding;
use super::connection::{LARGEST_HEAD, Service, Turns};
use super::{Server, body, caller, keyless, models};

/// The longest path with its query, in bytes.
const LONGEST_PATH: usize = 8 << 10;
/// What a header line has beside its name and value: a colon, a space, the end of the line.
const LINE_EXTRA: usize = 4;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The applications' side of one connection.
#[derive(Clone)]
pub(super) struct Applications {
    pub(super) server: Arc<Server>,
    pub(super) peer: Option<SocketAddr>,
}

impl Service for Applications {
    type Body = Body;
    type Epilogue = Epilogue;

    /// Keeps the request's parts in one place and lends them to what waits: an async function keeps twice what it is given.
    fn answer(
        self,
        request: Request<Incoming>,
        turns: &Turns<Epilogue>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
        let at = self.server.parts.clock.wall();
        let request_id = request_id(at);
        let (mut head, mut incoming) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        let shape = shape_of(head.uri.path());
        let asks_to_upgrade = head.headers.contains_key(UPGRADE);
        async move {
            let mut story = pin!(self.route(&mut head, &mut incoming, &request_id, at));
            let story = pin!(poll_fn(|_| turns.halves.within(|cx| story.as_mut().poll(cx))));
            let mut answer = match answer_or_internal(&request_id, story).await {
                Ok(answer) => answer,
                Err(refusal) => refusal.answer(Addressee { shape, request_id: &request_id }),
            };
            if let Some(epilogue) = answer.epilogue.take() {
                turns.end_with(epilogue);
            }
            let mut response = response(answer, &request_id, is_head);
            // What was offered is not taken, and what the client sends next may no longer be HTTP.
            let is_beyond_bounds = matches!(response.status(), StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            if asks_to_upgrade || is_beyond_bounds || self.server.drain.has_begun() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    }
}

impl Applications {
    async fn route(&self, head: &mut Head, incoming: &mut Incoming, request_id: &Arc<str>, at: Timestamp) -> Result<Answer, Refusal> {
        let running = self.server.live.current();
        if head.uri.path_and_query().is_some_and(|path| path.as_str().len() > LONGEST_PATH) {
            return Err(Refusal::bad_request("uri_too_long", None, format!("the path is longer than {LONGEST_PATH} bytes"))
                .with_status(StatusCode::URI_TOO_LONG));
        }
        // The reader of heads is looser: one that comes in a single read may be larger than it was told.
        let size: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_EXTRA).sum();
        if size > LARGEST_HEAD {
            return Err(Refusal::bad_request("headers_too_large", None, format!("the headers are larger than {LARGEST_HEAD} bytes"))
                .with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        match (&head.method, head.uri.path()) {
            (&Method::CONNECT | &Method::TRACE, _) => return Err(no_method(head)),
            (&Method::GET | &Method::HEAD, "/healthz" | "/") => return Ok(text(StatusCode::OK, "ok\n")),
            (&Method::GET | &Method::HEAD, "/readyz") => return Ok(self.ready()),
            (&Method::OPTIONS, _) => {
                return Ok(Answer::whole(StatusCode::NO_CONTENT, http::HeaderMap::new(), Bytes::new()));
            }
            _ => {}
        }
        let caller = self.admit(&running, head)?;
        if caller.is_some() {
            caller::forget_key(&mut head.headers);
        }
        let path = head.uri.path();
        if path == "/v1/messages/count_tokens" {
            only(head, &Method::POST)?;
            let asked = self.asked(&running, (Endpoint::Messages, "/messages"), head, incoming, caller, (request_id, at)).await?;
            return Ok(Arc::clone(&self.server.parts).count_tokens(running, asked).await);
        }
        if let Some((endpoint, path)) = path.strip_prefix("/v1").and_then(Endpoint::at) {
            only(head, &Method::POST)?;
            let asked = self.asked(&running, (endpoint, path), head, incoming, caller, (request_id, at)).await?;
            return Ok(Arc::clone(&self.server.parts).handle(running, asked).await);
        }
        if path == "/v1/models" {
            only(head, &Method::GET)?;
            return Ok(json(models::list(&running, caller)));
        }
        if let Some(id) = path.strip_prefix("/v1/models/") {
            only(head, &Method::GET)?;
            let id = percent_decoded(id);
            return models::one(&running, caller, &id).map(json).ok_or_else(|| no_model(&id));
        }
        Err(Refusal::bad_request("not_found", None, format!("there is nothing at `{}`", path.escape_default()))
            .with_status(StatusCode::NOT_FOUND))
    }

    /// Who asks, where the file names callers; else whether this request may come at all. Asked of the present file, before the body.
    fn admit(&self, running: &Running, head: &Head) -> Result<Option<usize>, Refusal> {
        let (rules, server) = (running.rules(), &self.server);
        if rules.callers().is_empty() {
            return if rules.server().open { Ok(None) } else { keyless::check(self.peer, &head.uri, &head.headers).map(|()| None) };
        }
        let now = server.parts.clock.wall();
        caller::identify(rules.callers(), &server.failures, self.peer, &head.uri, &head.headers, now).map(Some)
    }

    /// The request, read whole.
    async fn asked(
        &self,
        running: &Running,
        (endpoint, path): (Endpoint, &'static str),
        head: &mut Head,
        incoming: &mut Incoming,
        caller: Option<usize>,
        (request_id, at): (&Arc<str>, Timestamp),
    ) -> Result<Asked, Refusal> {
        let accepted = self.server.parts.clock.now();
        if self.server.load.is_short_of_memory() {
            return Err(short_of_memory());
        }
        check_head(head, endpoint)?;
        let coding = Coding::of(&head.headers)?;
        let server = running.rules().server();
        let mut body = body::read(&head.headers, incoming, server.body_limit).await?;
        if let Some(coding) = coding {
            body = coding.decode(body, server.body_limit).await?;
        }
        let call = if endpoint.is_passed() {
            Call::pass(endpoint, path, head.headers.get(CONTENT_TYPE), body)
        } else {
            Call::parse(endpoint, body, server.max_n)
        };
        let call = call.map_err(|bad| Refusal::bad_request(bad.code, bad.param, bad.message))?;
        Ok(Asked {
            request_id: Arc::clone(request_id),
            call: Arc::new(call),
            headers: Arc::new(std::mem::take(&mut head.headers)),
            caller,
            accepted,
            at,
        })
    }

    fn ready(&self) -> Answer {
        if self.server.drain.has_begun() { text(StatusCode::SERVICE_UNAVAILABLE, "draining\n") } else { text(StatusCode::OK, "ready\n") }
    }
}

#[cold]
fn short_of_memory() -> Refusal {
    let message = "so much memory is in use that requests have to end before new ones are read".to_owned();
    Refusal::later(StatusCode::SERVICE_UNAVAILABLE, "server_is_overloaded", "service_unavailable_error", message, Duration::from_secs(1))
}

/// How errors are written for whoever asks at this path.
fn shape_of(path: &str) -> Shape {
    let is_messages = path.strip_prefix("/v1/messages").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_messages { Shape::Anthropic } else { Shape::OpenAi }
}

/// A UUID of version 7. Its random part only keeps ids apart and guards nothing, so it needs neither the system's randomness nor
/// the lock that orders the ids of one millisecond.
fn request_id(now: Timestamp) -> Arc<str> {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let id = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    let mut text = Uuid::encode_buffer();
    Arc::from(&*id.as_hyphenated().encode_lower(&mut text))
}

/// The answer as it goes out, with an id even where no story was told.
fn response(answer: Answer, request_id: &str, is_head: bool) -> Response<Body> {
    let Answer { status, headers, body, .. } = answer;
    let mut response = Response::new(if is_head { Body::Whole(Bytes::new()) } else { body });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    if !headers.contains_key(&REQUEST_ID) {
        let id = HeaderValue::from_str(request_id).unwrap_or_else(|_| HeaderValue::from_static("?"));
        headers.insert(&REQUEST_ID, id.clone());
        headers.insert(HeaderName::from_static("request-id"), id);
        headers.insert(HeaderName::from_static("x-tollgate-attempts"), HeaderValue::from_static("0"));
    }
    response
}

/// What can be refused before the body is read.
fn check_head(head: &Head, endpoint: Endpoint) -> Result<(), Refusal> {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_form = endpoint.is_passed() && media_type.eq_ignore_ascii_case("multipart/form-data");
    if !is_form && !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::bad_request(
            "unsupported_media_type",
            None,
            format!("content-type is `{}`, expected `application/json`", content_type.escape_default()),
        )
        .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if head.headers.get(EXPECT).is_some_and(|expect| !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::bad_request("invalid_parameter", Some("expect".into()), "only `expect: 100-continue` is known".into())
            .with_status(StatusCode::EXPECTATION_FAILED));
    }
    Ok(())
}

fn only(head: &Head, method: &Method) -> Result<(), Refusal> {
    // What may be got may be asked for its head alone.
    if head.method == *method || (head.method == Method::HEAD && method == Method::GET) { Ok(()) } else { Err(no_method(head)) }
}

fn no_method(head: &Head) -> Refusal {
    let path = head.uri.path().escape_default();
    Refusal::bad_request("method_not_allowed", None, format!("`{path}` does not take {}", head.method))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

fn no_model(id: &str) -> Refusal {
    Refusal::bad_request("model_not_found", Some("model".into()), format!("there is no model `{}`", id.escape_default()))
        .with_status(StatusCode::NOT_FOUND)
}

fn json(body: Bytes) -> Answer {
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))].into_iter().collect();
    Answer::whole(StatusCode::OK, headers, body)
}

pub(super) fn text(status: StatusCode, text: &'static str) -> Answer {
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))].into_iter().collect();
    Answer::whole(status, headers, Bytes::from_static(text.as_bytes()))
}

/// A model's name in a path, where `/` may come as `%2F`.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
