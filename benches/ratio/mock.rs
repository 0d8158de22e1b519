//! The provider of the benches: answers every chat call at once, and never limits.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How the provider streams.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Script {
    /// Events with content, at most `max_tokens` of the request; a finish, the usage and `[DONE]` follow.
    pub(crate) events: u32,
    /// Between two events. The first with content comes at once: a clock of whole milliseconds would hide what came before it.
    pub(crate) gap_ms: u64,
}

impl Default for Script {
    fn default() -> Self {
        Self { events: 200, gap_ms: 4 }
    }
}

pub(crate) async fn serve(listener: TcpListener, script: Script) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(request, script));
            // A client that goes away is no matter of the provider's.
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.is_ok()
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, script: Script) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let model = model(&body);
    let (kind, body) = if contains(&body, b"\"stream\":true") {
        let script = Script { events: script.events.min(max_tokens(&body)), ..script };
        ("text/event-stream", Events::new(&model, script).boxed_unsync())
    } else {
        ("application/json", Full::new(whole(&model)).boxed_unsync())
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

fn contains(body: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(body, what).is_some()
}

/// The model's name as the request spells it, without a JSON parser.
fn model(body: &[u8]) -> String {
    let key = b"\"model\":\"";
    let name = memchr::memmem::find(body, key).map(|at| &body[at + key.len()..]).unwrap_or_default();
    let end = memchr::memchr(b'"', name).unwrap_or(0);
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// The output limit that the request asks for.
fn max_tokens(body: &[u8]) -> u32 {
    let key = b"\"max_tokens\":";
    let Some(at) = memchr::memmem::find(body, key) else { return u32::MAX };
    let digits = body[at + key.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u32, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
}

fn whole(model: &str) -> Bytes {
    let message = r#"{"role":"assistant","content":"The capital of France is Paris, on the river Seine."}"#;
    let choices = format!(r#"[{{"index":0,"message":{message},"logprobs":null,"finish_reason":"stop"}}]"#);
    let usage = r#"{"prompt_tokens":24,"completion_tokens":12,"total_tokens":36}"#;
    let head = format!(r#""id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"{model}""#);
    Bytes::from(format!("{{{head},\"choices\":{choices},\"usage\":{usage}}}"))
}

/// Events that come without waiting: the role's and the first with content.
const AT_ONCE: usize = 2;

/// An event stream that gives one event at a time, each on its tick.
struct Events {
    ready: std::vec::IntoIter<Bytes>,
    given: usize,
    ticks: Interval,
}

impl Events {
    fn new(model: &str, script: Script) -> Self {
        let head = format!(r#""id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"{model}""#);
        let event = |rest: &str| Bytes::from(format!("data: {{{head},{rest}}}\n\n"));
        let choice = |delta: &str, finish: &str| event(&format!(r#""choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]"#));
        let mut ready = vec![choice(r#"{"role":"assistant","content":""}"#, "null")];
        ready.resize(script.events as usize + 1, choice(r#"{"content":" word"}"#, "null"));
        ready.push(choice("{}", "\"stop\""));
        ready.push(event(r#""choices":[],"usage":{"prompt_tokens":24,"completion_tokens":200,"total_tokens":224}"#));
        ready.push(Bytes::from_static(b"data: [DONE]\n\n"));
        let gap = Duration::from_millis(script.gap_ms.max(1));
        let mut ticks = tokio::time::interval_at(Instant::now() + gap, gap);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ready: ready.into_iter(), given: 0, ticks }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ready.len() == 0 {
            return Poll::Ready(None);
        }
        if self.given >= AT_ONCE {
            ready!(self.ticks.poll_tick(context));
        }
        self.given += 1;
        Poll::Ready(self.ready.next().map(|event| Ok(Frame::data(event))))
    }
}
