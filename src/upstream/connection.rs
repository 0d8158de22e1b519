//! One connection to a provider: opened, and asked in the version of HTTP that both sides chose.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::either::Either;

use super::body::Pieces;
use super::dial::{Dial, DialError, Link, Socket};
use super::headers;
use crate::units::Halves;

const HTTP2_HEAD_LIMIT: u32 = 64 << 10;
const HTTP2_PING_EVERY: Duration = Duration::from_secs(15);
const HTTP2_PING_LIMIT: Duration = Duration::from_secs(10);

/// A connection that takes requests.
#[derive(Debug)]
pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// Takes one request at a time. Whoever waits for something of it drives it too, in the same turn of the same task; while nobody does,
/// nothing of it moves. Dropped, it closes.
#[derive(Debug)]
pub(super) struct Http1 {
    sender: http1::SendRequest<Pieces>,
    /// Nothing once it has ended.
    driver: Option<Box<http1::Connection<TokioIo<Socket>, Pieces>>>,
    halves: Halves,
    link: Arc<Link>,
}

/// Takes many requests at once. Clones are one connection, which a task of its own drives as long as there is something to be asked or read.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Pieces>,
    pub(super) link: Arc<Link>,
}

/// Why there is no connection that takes requests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unopened {
    Dial(DialError),
    /// It was there, and ended before it could take one.
    Ended,
}

impl Connection {
    /// More than 100 header lines are refused without being told to: saying the number would make hyper fill its tables each time.
    pub(super) async fn open(dial: &Dial, to: &Uri) -> Result<Self, Unopened> {
        let socket = dial.connect(to).await.map_err(Unopened::Dial)?;
        let link = socket.link();
        let (socket, executor) = (TokioIo::new(socket), TokioExecutor::new());
        if link.is_http2() {
            let mut builder = http2::Builder::new(executor.clone());
            builder
                .timer(TokioTimer::new())
                .max_header_list_size(HTTP2_HEAD_LIMIT)
                .keep_alive_interval(HTTP2_PING_EVERY)
                .keep_alive_timeout(HTTP2_PING_LIMIT)
                .keep_alive_while_idle(true);
            let (mut sender, driver) = builder.handshake(socket).await.map_err(|_| Unopened::Ended)?;
            executor.execute(driver);
            sender.ready().await.map_err(|_| Unopened::Ended)?;
            return Ok(Self::Http2(Http2 { sender, link }));
        }
        let mut builder = http1::Builder::new();
        builder.max_buf_size(headers::HEAD_LIMIT);
        let (sender, driver) = builder.handshake(socket).await.map_err(|_| Unopened::Ended)?;
        let mut connection = Http1 { sender, driver: Some(Box::new(driver)), halves: Halves::default(), link };
        connection.ready().await?;
        Ok(Self::Http1(connection))
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        match self {
            Self::Http1(connection) => &connection.link,
            Self::Http2(connection) => &connection.link,
        }
    }

    /// Asks; ends with the head of the answer. The error holds the request where nothing of it was written.
    pub(super) fn send(
        &mut self,
        request: Request<Pieces>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Pieces>>>> {
        let answered = match self {
            Self::Http1(connection) => Either::Left(connection.sender.try_send_request(request)),
            Self::Http2(connection) => Either::Right(connection.sender.try_send_request(request)),
        };
        async move {
            let mut answered = pin!(answered);
            poll_fn(|cx| self.poll(cx, |cx| answered.as_mut().poll(cx))).await
        }
    }

    /// Polls something that comes over this connection.
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>, mut awaited: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        match self {
            Self::Http1(Http1 { driver, halves, .. }) => halves.poll(cx, |cx| drive(driver, cx), awaited),
            Self::Http2(_) => awaited(cx),
        }
    }
}

impl Http1 {
    /// Whether it takes a request at once. One that its provider has closed meanwhile may say that it does.
    pub(super) fn is_ready(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Ends when it takes a request.
    pub(super) async fn ready(&mut self) -> Result<(), Unopened> {
        let Self { sender, driver, halves, .. } = self;
        poll_fn(|cx| halves.poll(cx, |cx| drive(driver, cx), |cx| sender.poll_ready(cx))).await.map_err(|_| Unopened::Ended)
    }
}

/// True when it has just ended: who waits for an answer is told why, when it is dropped.
fn drive(driver: &mut Option<Box<http1::Connection<TokioIo<Socket>, Pieces>>>, cx: &mut Context<'_>) -> bool {
    let has_ended = driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready());
    if has_ended {
        *driver = None;
    }
    has_ended
}
