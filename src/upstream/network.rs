use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body, Incoming};

use crate::config::{Key, Provider};
use crate::units::{Clock, Wire};
use crate::wire::{ErrorTold, read_error};

use super::azure;
use super::body::{Pieces, ReplyBody, read_error_body};
use super::connection::Unopened;
use super::dial::{Dial, Link, sources};
use super::failure::{Failure, Phase};
use super::headers::{self, Head, Wanted};
use super::pool::{Lease, Pool};
use super::preliminary;
use super::{Ask, Outgoing, Reply};

/// Longest time until a provider has taken a large request.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
const ERROR_BODY_LIMIT: usize = 64 << 10;
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(5);

/// A provider's client and all that its requests have in common.
pub(super) struct Network {
    pool: Pool,
    /// For chats, completions, embeddings, messages, where the tokens of messages are counted, and for responses.
    paths: [PathAndQuery; 6],
    /// Below which Gemini's models are.
    base: Uri,
    headers: headers::Common,
    /// Lower-case texts that must not leave: the key and the host.
    secrets: Vec<Secret>,
}

/// A text that must not be passed on, lower case, looked for without regard to case.
struct Secret(Vec<u8>);

/// A try that failed, and whether another on a fresh connection is allowed.
struct Broken {
    failure: Failure,
    may_go_again: bool,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, may_go_again: false }
    }
}

impl Network {
    pub(super) fn new(provider: &Provider, base: &Uri, dial: Dial, clock: &Clock) -> Self {
        Self {
            pool: Pool::new(provider, base, dial, clock.now()),
            paths: paths(base),
            base: base.clone(),
            headers: headers::Common::new(provider, base),
            secrets: secrets(provider, base),
        }
    }

    /// What is rarely needed on the way is boxed there, because every future around would carry it along and copy it.
    ///
    /// Where a pooled connection was dead and took nothing, the request goes out again at once on a fresh one. Where it broke after
    /// bytes were sent, the failure says that it may: the provider may bill both, so that is not decided here.
    pub(super) async fn send(&self, outgoing: &Outgoing) -> Result<Reply, Failure> {
        if outgoing.on_fresh_connection {
            return Box::pin(self.exchange(outgoing, true)).await.map_err(|broken| broken.failure);
        }
        match self.exchange(outgoing, false).await {
            Ok(reply) => Ok(reply),
            Err(Broken { failure: first, may_go_again: true }) if first.phase == Phase::P0 => {
                let second = Box::pin(self.exchange(outgoing, true));
                second.await.map_err(|broken| broken.failure.after(&first))
            }
            Err(Broken { mut failure, may_go_again }) => {
                failure.may_go_again = may_go_again;
                Err(failure)
            }
        }
    }

    /// `is_alone`: over a connection of its own, which cannot be another dead one. A kept one that turns out to be dead before it took
    /// anything is passed over.
    async fn exchange(&self, outgoing: &Outgoing, is_alone: bool) -> Result<Reply, Broken> {
        let path = self.path(outgoing);
        loop {
            let mut lease = self.pool.lease(is_alone, outgoing.sent).await.map_err(unopened)?;
            let body = Pieces::new(outgoing.body.clone());
            let taken = body.taken();
            let answered = tokio::select! {
                biased;
                answered = self.pool.ask(&mut lease, &path, self.request(outgoing, body)) => answered,
                () = stalled(taken.as_deref()) => return Err(Failure::write_timed_out().into()),
            };
            match answered {
                Ok(response) => {
                    let is_taken = taken.is_none_or(|taken| taken.load(Ordering::Acquire));
                    return Ok(self.receive(response, lease, wanted(outgoing), is_taken).await?);
                }
                Err(mut error) => {
                    if error.take_message().is_none() || !lease.link().is_reused() {
                        return Err(broken_off(&error.into_error(), lease.link()));
                    }
                }
            }
        }
    }

    fn request(&self, outgoing: &Outgoing, body: Pieces) -> Request<Pieces> {
        let length = body.size_hint().exact().unwrap_or_default();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.headers_mut() = match outgoing.path {
            None => self.headers.request(&outgoing.client_headers, length, outgoing.is_streaming),
            Some(_) => self.headers.passed(&outgoing.client_headers, length),
        };
        request
    }

    async fn receive(&self, response: Response<Incoming>, mut lease: Lease, wanted: Wanted, is_taken: bool) -> Result<Reply, Failure> {
        let (head, incoming) = response.into_parts();
        lease.link().replied();
        match headers::judge(&head, wanted, incoming.is_end_stream()) {
            Head::Reply { is_event_stream } => {
                let body = ReplyBody::provider(incoming, lease);
                Ok(Reply { status: head.status, headers: head.headers, body, is_event_stream })
            }
            Head::Refused { is_readable } => {
                let (body, is_whole) = Box::pin(read_error_body(incoming, &mut lease, ERROR_BODY_LIMIT, ERROR_BODY_PATIENCE)).await;
                // Where more of the request would follow, nobody wants it.
                if is_taken && is_whole {
                    lease.give_back();
                }
                let body = if is_readable { body } else { Bytes::new() };
                Err(self.refused(head.status, &head.headers, body, is_whole))
            }
            Head::Unusable(failure) => Err(failure),
        }
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: Bytes, is_whole: bool) -> Failure {
        let mut told = read_error(Some(status.as_u16()), headers, &body);
        let body = (!self.is_secret_in(&body)).then_some(body);
        self.scrub(&mut told);
        Failure::answered(status.as_u16(), told, body, is_whole)
    }

    fn path(&self, outgoing: &Outgoing) -> Cow<'_, PathAndQuery> {
        let [chat, completions, embeddings, messages, tokens, responses] = &self.paths;
        let below = |path: &str| Cow::Owned(path_below(&self.base, path));
        match outgoing.ask {
            Ask::Answer(wire) if let Some(path) = azure::path(&self.base, wire, outgoing.path, outgoing.model.as_str()) => Cow::Owned(path),
            Ask::Answer(Wire::Passed) => below(outgoing.path.unwrap_or_default()),
            Ask::Answer(Wire::Chat) => Cow::Borrowed(chat),
            Ask::Answer(Wire::Completions) => Cow::Borrowed(completions),
            Ask::Answer(Wire::Embeddings) => Cow::Borrowed(embeddings),
            Ask::Answer(Wire::Responses) => Cow::Borrowed(responses),
            Ask::Answer(Wire::Messages) => Cow::Borrowed(messages),
            Ask::Answer(Wire::Embed) => below(&model_path(outgoing.model.as_str(), ":batchEmbedContents")),
            Ask::Answer(Wire::Generate) => below(&generate_path(outgoing.model.as_str(), outgoing.is_streaming)),
            Ask::CountTokens => Cow::Borrowed(tokens),
        }
    }

    /// Takes out every text that holds the key or the host.
    pub(super) fn scrub(&self, told: &mut ErrorTold) {
        for text in [&mut told.message, &mut told.kind, &mut told.code, &mut told.param] {
            if text.as_ref().is_some_and(|text| self.is_secret_in(text.as_bytes())) {
                *text = None;
            }
        }
    }

    fn is_secret_in(&self, text: &[u8]) -> bool {
        let text = text.to_ascii_lowercase();
        self.secrets.iter().any(|secret| memchr::memmem::find(&text, &secret.0).is_some())
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("paths", &self.paths).finish_non_exhaustive()
    }
}

fn crowded() -> Failure {
    let message = format!("sent more than {} preliminary answers", preliminary::MOST);
    let mut failure = Failure::malformed(Phase::P2, "informational", message);
    failure.nothing_billed = true;
    failure
}

/// Ends when a large request has not been taken whole within its limit; never for small ones, which carry no timer along.
async fn stalled(taken: Option<&AtomicBool>) {
    if let Some(taken) = taken {
        Box::pin(tokio::time::sleep(WRITE_LIMIT)).await;
        if !taken.load(Ordering::Acquire) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

fn wanted(outgoing: &Outgoing) -> Wanted {
    match outgoing.path {
        Some(_) => Wanted::Anything,
        None if outgoing.is_streaming => Wanted::Events,
        None => Wanted::Json,
    }
}

/// Why there is no head (docs/faults.md: what may go again).
fn unopened(why: Unopened) -> Broken {
    match why {
        Unopened::Dial(error) => Failure::dialled(error).into(),
        Unopened::Ended => Broken { failure: Failure::reset(Phase::P0), may_go_again: true },
    }
}

fn broken_off(error: &hyper::Error, link: &Link) -> Broken {
    if link.is_crowded() {
        return crowded().into();
    }
    let is_reused = link.is_reused();
    let mut h2_errors = sources(error).filter_map(|source| source.downcast_ref::<h2::Error>());
    if let Some(error) = h2_errors.next() {
        // A stream that a GOAWAY left out, or that was refused, was not looked at by the provider.
        let is_untouched = error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM));
        let failure = Failure::reset(if is_untouched { Phase::P0 } else { Phase::P1 });
        return Broken { failure, may_go_again: is_untouched || (is_reused && error.is_io()) };
    }
    let hyper = |is: fn(&hyper::Error) -> bool| sources(error).filter_map(|source| source.downcast_ref::<hyper::Error>()).any(is);
    if hyper(hyper::Error::is_parse) {
        return Failure::malformed(Phase::P2, "bad_head", "sent a head that cannot be read".to_owned()).into();
    }
    if hyper(hyper::Error::is_canceled) {
        // The connection was closed under the request before any of it was written.
        return Broken { failure: Failure::reset(Phase::P0), may_go_again: true };
    }
    let has_answer_begun = link.has_answer_begun();
    let failure = Failure::reset(if has_answer_begun { Phase::P2 } else { Phase::P1 });
    Broken { failure, may_go_again: is_reused && !has_answer_begun }
}

/// Gemini's path, which names the model. Whatever a name has that a path cannot is escaped.
fn generate_path(model: &str, is_streaming: bool) -> String {
    model_path(model, if is_streaming { ":streamGenerateContent?alt=sse" } else { ":generateContent" })
}

fn model_path(model: &str, call: &str) -> String {
    let mut path = "/models/".to_owned();
    for byte in model.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' => path.push(char::from(byte)),
            // Writing to a String cannot fail.
            byte => drop(write!(path, "%{byte:02X}")),
        }
    }
    path + call
}

fn paths(base: &Uri) -> [PathAndQuery; 6] {
    // Addresses of Anthropic's format are written without the version, and as often with it.
    let messages = if base.path().trim_end_matches('/').ends_with("/v1") { "/messages" } else { "/v1/messages" };
    let tokens = format!("{messages}/count_tokens");
    ["/chat/completions", "/completions", "/embeddings", messages, &tokens, "/responses"].map(|path| path_below(base, path))
}

fn path_below(base: &Uri, path: &str) -> PathAndQuery {
    let whole = format!("{}{path}", base.path().trim_end_matches('/'));
    PathAndQuery::try_from(whole).unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

fn secrets(provider: &Provider, base: &Uri) -> Vec<Secret> {
    let key = match &provider.key {
        Key::Present(key) => Some(key.expose()),
        Key::NotNeeded | Key::Missing(_) => None,
    };
    let texts = [key, base.host()].into_iter().flatten().filter(|text| !text.is_empty());
    texts.map(|text| Secret(text.to_ascii_lowercase().into_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_large_request_that_is_not_taken_in_time_is_given_up() {
        let taken = AtomicBool::new(false);
        let start = tokio::time::Instant::now();
        stalled(Some(&taken)).await;
        assert_eq!(start.elapsed(), WRITE_LIMIT);
        taken.store(true, Ordering::Release);
        for taken in [Some(&taken), None] {
            assert!(tokio::time::timeout(Duration::from_hours(1), stalled(taken)).await.is_err());
        }
    }

    #[test]
    fn a_model_of_gemini_s_stands_in_the_path() {
        assert_eq!(generate_path("gemini-3.5-flash", true), "/models/gemini-3.5-flash:streamGenerateContent?alt=sse");
        assert_eq!(generate_path("a?b#c%", false), "/models/a%3Fb%23c%25:generateContent");
    }

    #[test]
    fn a_path_follows_the_base() {
        for (base, at, path) in [
            ("http://a/v1", 0, "/v1/chat/completions"),
            ("https://a:8443/", 0, "/chat/completions"),
            ("https://a", 0, "/chat/completions"),
            ("https://a", 3, "/v1/messages"),
            ("https://a/v1/", 3, "/v1/messages"),
            ("https://a/anthropic", 4, "/anthropic/v1/messages/count_tokens"),
        ] {
            assert_eq!(paths(&base.parse().unwrap())[at].as_str(), path);
        }
    }
}
