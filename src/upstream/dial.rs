use std::error::Error as StdError;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tower_service::Service;

use crate::config::{Provider, Proxy};
use crate::units::is_out_of_descriptors;

use super::preliminary::Preliminary;
use super::resolve::{Directory, Resolve};

/// A TLS handshake that takes longer is given up.
const TLS_LIMIT: Duration = Duration::from_secs(3);
/// How long an address of the preferred family may be tried alone.
const HAPPY_EYEBALLS: Duration = Duration::from_millis(250);
/// A peer that vanished is noticed after 15 + 3 x 5 s of silence, or 30 s after unacknowledged bytes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_TRIES: u32 = 3;
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum DialError {
    #[error("name not found")]
    Dns,
    #[error("connection refused")]
    Refused,
    #[error("connect timeout")]
    Timeout,
    #[error("TLS handshake failed")]
    Tls,
    #[error("no root certificates")]
    Roots,
    #[error("name points inside")]
    Forbidden,
    #[error("proxy opened no tunnel")]
    Proxy,
    #[error("no descriptor left")]
    NoDescriptor,
}

impl DialError {
    /// The dial error that `error` was caused by, if any.
    pub(super) fn find(error: &(dyn StdError + 'static)) -> Option<Self> {
        sources(error).find_map(|source| source.downcast_ref::<Self>()).copied()
    }
}

/// `error` and all that it was caused by, outermost first.
pub(super) fn sources<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| <dyn StdError>::source(*error))
}

/// What a TLS handshake goes by. The platform's roots are read when the first handshake needs them.
#[derive(Debug, Default)]
pub(super) struct Trust(OnceCell<Arc<ClientConfig>>);

impl Trust {
    #[cfg(test)]
    pub(super) fn given(config: ClientConfig) -> Self {
        Self(OnceCell::new_with(Some(Arc::new(config))))
    }

    async fn config(&self) -> Result<&Arc<ClientConfig>, DialError> {
        let read = || async {
            let read = tokio::task::spawn_blocking(platform_config).await;
            read.ok().and_then(Result::ok).map(Arc::new).ok_or(DialError::Roots)
        };
        self.0.get_or_try_init(read).await
    }
}

fn platform_config() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions()?;
    Ok(builder.with_platform_verifier()?.with_no_client_auth())
}

/// Opens connections to one provider: name, address, proxy, TLS.
#[derive(Debug)]
pub(super) struct Dial {
    tcp: HttpConnector<Resolve>,
    via: Via,
    trust: Arc<Trust>,
    /// The trust with this provider's protocols, made at its first handshake.
    tls: OnceCell<Arc<ClientConfig>>,
    http1_only: bool,
    connect_limit: Duration,
}

#[derive(Debug)]
enum Via {
    Direct,
    Tunnel {
        proxy: Uri,
        authorization: Option<HeaderValue>,
    },
    /// A proxy that is not spoken to over plain HTTP.
    Unsupported,
}

impl Dial {
    pub(super) fn new(provider: &Provider, base: &Uri, directory: Arc<Directory>, trust: Arc<Trust>) -> Self {
        let via = Via::find(&provider.proxy, base);
        let connect_limit = provider.timeouts.connect;
        let resolve = Resolve { directory, limit: connect_limit, is_checked: matches!(via, Via::Direct) };
        let mut tcp = HttpConnector::new_with_resolver(resolve);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE_AFTER));
        tcp.set_keepalive_interval(Some(KEEPALIVE_EVERY));
        tcp.set_keepalive_retries(Some(KEEPALIVE_TRIES));
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        tcp.set_happy_eyeballs_timeout(Some(HAPPY_EYEBALLS));
        tcp.set_connect_timeout(Some(connect_limit));
        Self { tcp, via, trust, tls: OnceCell::new(), http1_only: provider.http1_only, connect_limit }
    }

    pub(super) async fn connect(&self, to: &Uri) -> Result<Socket, DialError> {
        let tcp = self.reach(to).await?;
        let is_secure = to.scheme() == Some(&http::uri::Scheme::HTTPS);
        let stream = if is_secure { self.secure(tcp, to.clone()).await? } else { MaybeHttpsStream::Http(tcp) };
        let is_http2 = stream.connected().is_negotiated_h2();
        let link = Arc::new(Link { is_http2, ..Link::default() });
        Ok(Socket { stream: TokioIo::new(stream), link, preliminary: Preliminary::default() })
    }

    /// Plain bytes to `to`: its own address, or a tunnel through the proxy.
    async fn reach(&self, to: &Uri) -> Result<TokioIo<TcpStream>, DialError> {
        let first_hop = match &self.via {
            Via::Direct => to,
            Via::Tunnel { proxy, .. } => proxy,
            Via::Unsupported => return Err(DialError::Proxy),
        };
        let tcp = self.tcp.clone().call(first_hop.clone()).await.map_err(|error| unreached(&error))?;
        let Via::Tunnel { proxy, authorization } = &self.via else {
            return Ok(tcp);
        };
        let mut tunnel = Tunnel::new(proxy.clone(), Given(Some(tcp)));
        if let Some(authorization) = authorization {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        match timeout(self.connect_limit, tunnel.call(with_port(to))).await {
            Ok(tunnel) => tunnel.map_err(|_| DialError::Proxy),
            Err(_) => Err(DialError::Timeout),
        }
    }

    async fn secure(&self, tcp: TokioIo<TcpStream>, to: Uri) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, DialError> {
        let with_protocols = || async {
            let mut config = ClientConfig::clone(self.trust.config().await?);
            config.alpn_protocols = if self.http1_only { vec![b"http/1.1".to_vec()] } else { vec![b"h2".to_vec(), b"http/1.1".to_vec()] };
            Ok(Arc::new(config))
        };
        let config = Arc::clone(self.tls.get_or_try_init(with_protocols).await?);
        match timeout(TLS_LIMIT, HttpsConnector::from((Given(Some(tcp)), config)).call(to)).await {
            Ok(stream) => stream.map_err(|error| unsecured(&*error)),
            Err(_) => Err(DialError::Timeout),
        }
    }
}

impl Via {
    fn find(proxy: &Proxy, base: &Uri) -> Self {
        let matcher = match proxy {
            Proxy::None => return Self::Direct,
            Proxy::Env => Matcher::from_env(),
            Proxy::Url(url) => Matcher::builder().all(url.to_string()).build(),
        };
        match matcher.intercept(base) {
            None => Self::Direct,
            Some(found) if found.uri().scheme() == Some(&http::uri::Scheme::HTTP) => {
                Self::Tunnel { proxy: found.uri().clone(), authorization: found.basic_auth().cloned() }
            }
            Some(_) => Self::Unsupported,
        }
    }
}

/// `to` with its port written out, since a tunnel takes 443 where none is named.
fn with_port(to: &Uri) -> Uri {
    let port = if to.scheme() == Some(&http::uri::Scheme::HTTPS) { 443 } else { 80 };
    let Some(host) = to.host().filter(|_| to.port().is_none()) else {
        return to.clone();
    };
    let written = Uri::builder().scheme("http").authority(format!("{host}:{port}")).path_and_query("/").build();
    written.unwrap_or_else(|_| to.clone())
}

fn unreached(error: &(dyn StdError + 'static)) -> DialError {
    DialError::find(error).unwrap_or_else(|| {
        let any = |is: fn(&io::Error) -> bool| sources(error).any(|source| source.downcast_ref().is_some_and(is));
        if any(is_out_of_descriptors) {
            DialError::NoDescriptor
        } else if any(|error| error.kind() == io::ErrorKind::TimedOut) {
            DialError::Timeout
        } else {
            DialError::Refused
        }
    })
}

/// A peer that merely goes away during the handshake says nothing about its certificate.
fn unsecured(error: &(dyn StdError + 'static)) -> DialError {
    let is_gone = |error: &io::Error| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof};
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut | UnexpectedEof)
    };
    // An `io::Error` that wraps another is not among its own sources, so each is asked for what it holds.
    let mut at = Some(error);
    while let Some(error) = at {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(is_gone) {
            return DialError::Refused;
        }
        let held = io.and_then(io::Error::get_ref).map(|held| held as &(dyn StdError + 'static));
        at = held.or_else(|| error.source());
    }
    DialError::Tls
}

/// A connector that gives out the one stream that it was made with.
#[derive(Clone, Debug)]
struct Given<T>(Option<T>);

impl<T> Service<Uri> for Given<T> {
    type Response = T;
    type Error = io::Error;
    type Future = Ready<io::Result<T>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// What is known of one connection, shared by its socket and by the replies that come over it.
#[derive(Debug, Default)]
pub(super) struct Link {
    is_http2: bool,
    replies: AtomicU32,
    has_answer_begun: AtomicBool,
    is_crowded: AtomicBool,
}

impl Link {
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// True when a reply came over this connection before.
    pub(super) fn is_reused(&self) -> bool {
        self.replies.load(Ordering::Relaxed) > 0
    }

    /// Counts one reply.
    pub(super) fn replied(&self) {
        self.replies.fetch_add(1, Ordering::Relaxed);
    }

    /// True when bytes came in after the last that went out. Says nothing on HTTP/2, where streams share the connection.
    pub(super) fn has_answer_begun(&self) -> bool {
        !self.is_http2 && self.has_answer_begun.load(Ordering::Relaxed)
    }

    /// True when too many preliminary heads came, after which nothing more is read.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded.load(Ordering::Relaxed)
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(_)) = written {
            self.has_answer_begun.store(false, Ordering::Relaxed);
        }
        written
    }
}

/// A connection that keeps its [`Link`] up to date.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>,
    link: Arc<Link>,
    preliminary: Preliminary,
}

impl Socket {
    pub(super) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let bytes = &buffer.filled()[before..];
        if !bytes.is_empty() {
            this.link.has_answer_begun.store(true, Ordering::Relaxed);
            if !this.link.is_http2 && !this.preliminary.see(bytes) {
                this.link.is_crowded.store(true, Ordering::Relaxed);
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.preliminary = Preliminary::default();
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.link.wrote(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.preliminary = Preliminary::default();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.link.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Clock;
    use crate::upstream::tests::{Server, closed};
    use crate::upstream::{Failure, Resolver};
    use crate::wire::Mark;

    #[tokio::test]
    async fn u36_sockets_notice_a_peer_that_vanished() {
        let server = Server::start(|_, mut stream| async move { closed(&mut stream).await }).await;
        let provider = server.provider();
        let base = provider.base_url.clone().unwrap();
        let directory = Directory::new(Resolver::System, Clock::System);
        let dial = Dial::new(&provider, &base, directory, Arc::default());
        let stream = dial.reach(&base).await.unwrap();
        let socket = socket2::SockRef::from(stream.inner());
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_TRIES);
    }

    /// As a connector wraps what it met.
    #[derive(Debug, Error)]
    #[error("tcp open error")]
    struct Opening(#[source] io::Error);

    #[test]
    fn a_connection_for_which_there_is_no_descriptor_says_nothing_about_the_provider() {
        let emfile = Opening(io::Error::from_raw_os_error(24));
        assert_eq!(unreached(&emfile), DialError::NoDescriptor);
        assert_eq!(unreached(&Opening(io::ErrorKind::ConnectionRefused.into())), DialError::Refused);
        assert_eq!(unreached(&Opening(io::ErrorKind::TimedOut.into())), DialError::Timeout);
        let marks = [DialError::NoDescriptor, DialError::Refused].map(|error| Failure::dialled(error).mark);
        assert_eq!(marks, [Mark::None, Mark::Count]);
    }
}
