use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::units::Halves;
use crate::wire::{ErrorWords, Shape};

/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// The largest head: 64 KiB.
pub(super) const LARGEST_HEAD: usize = 64 << 10;

/// The two steps of stopping: no new work, then no work at all.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    begun: CancellationToken,
    cut: CancellationToken,
    /// True from the first step on: one read tells each turn of a connection that there is nothing to ask the tokens.
    is_under_way: Arc<AtomicBool>,
}

impl Drain {
    /// The same end without the notice that goes before it.
    #[must_use]
    pub fn only_cut(&self) -> Self {
        Self { begun: CancellationToken::new(), ..self.clone() }
    }

    /// Stops accepting; open requests run on.
    pub fn begin(&self) {
        self.is_under_way.store(true, Ordering::Release);
        self.begun.cancel();
    }

    /// Ends what is still open.
    pub fn cut(&self) {
        self.begin();
        self.cut.cancel();
    }

    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.is_under_way.load(Ordering::Acquire) && self.begun.is_cancelled()
    }

    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    pub async fn was_cut(&self) {
        self.cut.cancelled().await;
    }
}

/// What answers the requests of one connection.
pub trait Service: Clone + Send + 'static {
    type Body: http_body::Body<Data = bytes::Bytes, Error: std::error::Error + Send + Sync> + Send + 'static;

    /// What is left to be done once an answer has been written, done when it is dropped.
    type Epilogue: Send;

    fn answer(
        self,
        request: Request<Incoming>,
        turns: &Turns<Self::Epilogue>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Infallible>> + Send;
}

/// The turns of a connection, as an answer on it sees them.
#[derive(Debug)]
pub struct Turns<E> {
    /// The connection's and the answer's: an answer that polls itself within them is not polled twice for what it was woken for.
    pub(super) halves: Halves,
    epilogue: Mutex<Option<E>>,
}

impl<E> Turns<E> {
    fn new() -> Self {
        Self { halves: Halves::default(), epilogue: Mutex::new(None) }
    }

    /// Keeps this until the answer that is under way has been written.
    pub(super) fn end_with(&self, epilogue: E) {
        *self.epilogue() = Some(epilogue);
    }

    fn epilogue(&self) -> MutexGuard<'_, Option<E>> {
        self.epilogue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one connection to its end, or until the drain has let its open request finish.
pub async fn serve_connection<S: Service>(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, service: S, drain: &Drain) {
    // A request that has just begun asks for its body, which came along with the head and has only to be handed over. Done in the same
    // turn, it is still in the processor's cache; behind the turns of other connections it is not.
    let turns = Turns::new();
    let answer = service_fn(|request| service.clone().answer(request, &turns));
    // More than 100 header lines are refused without being told to: saying the number would make hyper fill its tables each time.
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_header_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(stream), answer)
    );
    let (mut begun, mut cut) = (pin!(drain.begun.cancelled()), pin!(drain.cut.cancelled()));
    let (mut is_listening, mut is_draining) = (false, false);
    let ended = poll_fn(|cx| {
        let polled = turns.halves.around(cx, |cx| connection.as_mut().poll(cx));
        // What there was to write is with the socket, as far as it takes it.
        drop(turns.epilogue().take());
        if let Poll::Ready(ended) = polled {
            return Poll::Ready(Some(ended));
        }
        // Asked once, the tokens wake this task when their time comes; until then they need not be asked again.
        if is_listening && !drain.is_under_way.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        is_listening = true;
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if !is_draining && begun.as_mut().poll(cx).is_ready() {
            is_draining = true;
            connection.as_mut().graceful_shutdown();
            // What the drain changes is done at the next turn.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    });
    let Some(ended) = ended.await else { return };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Answers without reading, for a connection above the cap.
pub(super) fn turn_away(stream: &TcpStream, status: StatusCode) {
    let words = ErrorWords {
        status: 503,
        message: "too many connections",
        kind: "service_unavailable_error",
        param: None,
        code: "server_is_overloaded",
    };
    let body = words.body(Shape::OpenAi, None);
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 1\r\nx-should-retry: true\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    // A socket just accepted has room for these bytes; where it has not, closing says enough.
    if let Err(error) = stream.try_write(&answer) {
        tracing::debug!(%error, "a connection above the cap was closed without an answer");
    }
}
