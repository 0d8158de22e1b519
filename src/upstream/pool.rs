//! A provider's connections, kept from one request to the next.
//!
//! Of HTTP/1.1 each serves one request at a time, and the one that was idle for the shortest time is taken first. Of HTTP/2 one
//! connection serves all requests. Where TLS has yet to settle which it is, requests wait for the first connection instead of
//! opening one each.
//!
//! Nobody looks at an idle connection of HTTP/1.1: that its provider has closed it is seen when it is taken, or it is closed here before.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config::Provider;
use crate::units::Moment;

use super::body::Pieces;
use super::connection::{Connection, Http1, Http2, Unopened};
use super::dial::{Dial, Link};
use super::headers;

/// A connection that was idle this long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Connections are left for new ones after this time, so that a changed address counts.
const LIFETIME: Duration = Duration::from_mins(5);

/// The connections of one provider. Idle ones close when it is dropped, those in use when their reply has ended.
#[derive(Debug)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dial: Dial,
    base: Uri,
    /// For HTTP/1.1 where TLS settles the version; else it is among the headers of every request, or there is no HTTP/2.
    host: Option<HeaderValue>,
    may_be_http2: bool,
    kept: Mutex<Kept>,
}

/// What is kept of connections that were opened in one lifetime.
#[derive(Debug)]
struct Kept {
    born: Moment,
    /// The one that is idle for the longest time first.
    idle: Vec<Idle>,
    http2: Option<Used>,
    /// False once it is known that the provider speaks HTTP/1.1: then nobody waits for somebody else's connection.
    may_be_http2: bool,
    opening: Option<Opening>,
    is_swept: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: Instant,
}

#[derive(Debug)]
struct Used {
    connection: Http2,
    last: Instant,
}

/// The outcome of the one connection that all wait for.
type Opening = watch::Receiver<Option<Opened>>;
/// A connection for all, or none where it turned out to be HTTP/1.1.
type Opened = Result<Option<Http2>, Unopened>;

enum Taken {
    Lease(Lease),
    Opening(Opening),
    Nothing,
}

impl Pool {
    pub(super) fn new(provider: &Provider, base: &Uri, dial: Dial, now: Moment) -> Self {
        let may_be_http2 = base.scheme() == Some(&http::uri::Scheme::HTTPS) && !provider.http1_only;
        let host = headers::host(base, false).filter(|_| may_be_http2);
        let kept = Mutex::new(Kept::new(now, may_be_http2));
        Self(Arc::new(Shared { dial, base: base.clone(), host, may_be_http2, kept }))
    }

    /// A kept connection, or a new one. `is_alone`: one that nobody has used and nobody will use again.
    ///
    /// What is rarely needed on the way is boxed there, because every future around would carry it along and copy it.
    pub(super) async fn lease(&self, is_alone: bool, now: Moment) -> Result<Lease, Unopened> {
        match if is_alone { Taken::Nothing } else { self.0.take(now) } {
            Taken::Lease(lease) => Ok(lease),
            Taken::Opening(opening) => Box::pin(self.0.wait(opening, now)).await,
            Taken::Nothing => Box::pin(self.0.open(is_alone)).await,
        }
    }

    /// Asks over a connection of this pool; ends with the head of the answer. The error holds the request where nothing of it was written.
    pub(super) fn ask<'l>(
        &self,
        lease: &'l mut Lease,
        path: &PathAndQuery,
        mut request: Request<Pieces>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Pieces>>>> + use<'l> {
        match lease.connection {
            Connection::Http1(_) => {
                *request.uri_mut() = Uri::from(path.clone());
                if let Some(host) = &self.0.host {
                    request.headers_mut().insert(HOST, host.clone());
                }
            }
            Connection::Http2(_) => {
                let mut parts = self.0.base.clone().into_parts();
                parts.path_and_query = Some(path.clone());
                *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| self.0.base.clone());
                request.headers_mut().remove(HOST);
            }
        }
        lease.connection.send(request)
    }
}

impl Shared {
    fn take(self: &Arc<Self>, now: Moment) -> Taken {
        let mut kept = self.lock();
        if now.since(kept.born) > LIFETIME {
            let is_swept = kept.is_swept;
            *kept = Kept { is_swept, ..Kept::new(now, self.may_be_http2) };
        }
        if let Some(used) = &mut kept.http2 {
            if used.connection.sender.is_ready() {
                used.last = Instant::now();
                return Taken::Lease(Lease::shared(used.connection.clone()));
            }
            kept.http2 = None;
        }
        while let Some(Idle { connection, .. }) = kept.idle.pop() {
            if connection.is_ready() {
                return Taken::Lease(self.lease(connection, kept.born));
            }
        }
        if kept.may_be_http2 { Taken::Opening(self.opening(&mut kept)) } else { Taken::Nothing }
    }

    fn lease(self: &Arc<Self>, connection: Http1, born: Moment) -> Lease {
        Lease { connection: Connection::Http1(connection), home: Some(Home { pool: Arc::downgrade(self), born }) }
    }

    async fn wait(self: &Arc<Self>, mut opening: Opening, now: Moment) -> Result<Lease, Unopened> {
        let opened = match opening.wait_for(Option::is_some).await {
            Ok(opened) => opened.clone(),
            Err(_) => None,
        };
        if let Some(connection) = opened.unwrap_or(Err(Unopened::Ended))? {
            return Ok(Lease::shared(connection));
        }
        match self.take(now) {
            Taken::Lease(lease) => Ok(lease),
            Taken::Opening(_) | Taken::Nothing => self.open(false).await,
        }
    }

    /// A connection for one request, or for all where it is of HTTP/2 now. `is_alone`: not to be used again.
    async fn open(self: &Arc<Self>, is_alone: bool) -> Result<Lease, Unopened> {
        let born = self.lock().born;
        let connection = Connection::open(&self.dial, &self.base).await?;
        Ok(match connection {
            connection if is_alone => Lease { connection, home: None },
            Connection::Http1(connection) => self.lease(connection, born),
            Connection::Http2(connection) => {
                self.share(&connection, born);
                Lease::shared(connection)
            }
        })
    }

    /// The connection that all wait for is opened in a task: whoever asked first may go away.
    fn opening(self: &Arc<Self>, kept: &mut Kept) -> Opening {
        // The other end is gone where its task was ended from outside.
        if let Some(opening) = kept.opening.as_ref().filter(|opening| opening.has_changed().is_ok()) {
            return opening.clone();
        }
        let (tx, rx) = watch::channel(None);
        kept.opening = Some(rx.clone());
        let (pool, born) = (Arc::clone(self), kept.born);
        TokioExecutor::new().execute(async move {
            let opened = pool.opened(Connection::open(&pool.dial, &pool.base).await, born);
            tx.send_replace(Some(opened));
        });
        rx
    }

    fn opened(self: &Arc<Self>, opened: Result<Connection, Unopened>, born: Moment) -> Opened {
        let mut kept = self.lock();
        if kept.born == born {
            kept.opening = None;
            kept.may_be_http2 = !matches!(opened, Ok(Connection::Http1(_)));
        }
        drop(kept);
        Ok(match opened? {
            Connection::Http1(connection) => {
                self.put(connection, born);
                None
            }
            Connection::Http2(connection) => {
                self.share(&connection, born);
                Some(connection)
            }
        })
    }

    fn put(self: &Arc<Self>, connection: Http1, born: Moment) {
        let mut kept = self.lock();
        if kept.born == born {
            kept.idle.push(Idle { connection, since: Instant::now() });
            self.sweep(&mut kept);
        }
    }

    fn share(self: &Arc<Self>, connection: &Http2, born: Moment) {
        let mut kept = self.lock();
        if kept.born == born {
            kept.http2 = Some(Used { connection: connection.clone(), last: Instant::now() });
            kept.may_be_http2 = true;
            self.sweep(&mut kept);
        }
    }

    /// Closes what stays idle, for as long as there is something that may.
    fn sweep(self: &Arc<Self>, kept: &mut Kept) {
        if mem::replace(&mut kept.is_swept, true) {
            return;
        }
        let (pool, mut due) = (Arc::downgrade(self), Instant::now() + IDLE_LIMIT);
        TokioExecutor::new().execute(async move {
            loop {
                sleep_until(due).await;
                let Some(next) = pool.upgrade().and_then(|pool| pool.lock().close_idle(Instant::now())) else { return };
                due = next;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(born: Moment, may_be_http2: bool) -> Self {
        Self { born, idle: Vec::new(), http2: None, may_be_http2, opening: None, is_swept: false }
    }

    /// Closes what was idle for too long. When the next will have been; nothing when nothing is idle.
    fn close_idle(&mut self, now: Instant) -> Option<Instant> {
        let is_fresh = |since: Instant| since + IDLE_LIMIT > now;
        self.idle.retain(|idle| is_fresh(idle.since));
        self.http2 = self.http2.take().filter(|used| is_fresh(used.last));
        let idle = self.idle.first().map(|idle| idle.since);
        let oldest = idle.into_iter().chain(self.http2.as_ref().map(|used| used.last)).min();
        self.is_swept = oldest.is_some();
        oldest.map(|oldest| oldest + IDLE_LIMIT)
    }
}

/// A connection while a request uses it, and until its reply has been read. Dropped before, it ends with the request.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Connection,
    /// Nothing where it is shared, or is not to be used again.
    home: Option<Home>,
}

#[derive(Debug)]
struct Home {
    pool: Weak<Shared>,
    born: Moment,
}

impl Lease {
    fn shared(connection: Http2) -> Self {
        Self { connection: Connection::Http2(connection), home: None }
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        self.connection.link()
    }

    /// Polls something that comes over the connection, which moves only meanwhile.
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>, awaited: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.connection.poll(cx, awaited)
    }

    /// The reply was read to its end: the connection serves the next request.
    pub(super) fn give_back(self) {
        let Self { connection: Connection::Http1(mut connection), home: Some(home) } = self else { return };
        if connection.is_ready() {
            home.put(connection);
        } else if !connection.is_closed() {
            // The answer came before the request was sent whole, or was read faster than its connection came to rest.
            TokioExecutor::new().execute(async move {
                if connection.ready().await.is_ok() {
                    home.put(connection);
                }
            });
        }
    }
}

impl Home {
    fn put(&self, connection: Http1) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(connection, self.born);
        }
    }
}
