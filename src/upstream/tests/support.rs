use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::config::{Key, Limits, Provider, Proxy, Timeouts};
use crate::units::{Clock, Format, ModelName, ProviderName, Secret, Wire};
use crate::upstream::{Ask, Failure, Outgoing, Reply, Resolver, Upstream, Upstreams};

pub(in crate::upstream) const KEY: &str = "sk-Test-123456";
pub(in crate::upstream) const OK_BODY: &str = r#"{"id":"1","choices":[]}"#;

/// A server that runs one script for each connection; the script knows the connection's number, from 0.
pub(in crate::upstream) struct Server {
    pub(in crate::upstream) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(in crate::upstream) async fn start<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0", script).await
    }

    pub(in crate::upstream) async fn start_at<F>(address: &str, script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(script(counter.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Self { address, accepted, _tasks: tasks }
    }

    /// A server that answers each request with the same bytes and keeps its connections open.
    pub(in crate::upstream) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |_, mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                while read_request(&mut stream).await.is_some() {
                    stream.write_all(&answer).await.unwrap();
                }
            }
        })
        .await
    }

    pub(in crate::upstream) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(in crate::upstream) fn provider(&self) -> Provider {
        provider(&format!("http://{}/v1", self.address))
    }

    pub(in crate::upstream) fn upstream(&self) -> Arc<Upstream> {
        adopt(&self.provider())
    }
}

pub(in crate::upstream) fn provider(base_url: &str) -> Provider {
    Provider {
        name: ProviderName::parse("house").unwrap(),
        format: Format::OpenAi,
        base_url: Some(base_url.parse().unwrap()),
        key: Key::Present(Secret::new(KEY.to_owned())),
        limits: Limits::default(),
        timeouts: Timeouts { connect: Duration::from_millis(400), first_content: Duration::from_secs(1), idle: Duration::from_secs(1) },
        cooldown: None,
        proxy: Proxy::None,
        http1_only: false,
        on_disconnect: crate::units::OnDisconnect::default(),
        cost_source: crate::config::CostSource::default(),
        sandbox: None,
    }
}

pub(in crate::upstream) fn adopt(provider: &Provider) -> Arc<Upstream> {
    adopt_with(provider, Resolver::System)
}

pub(in crate::upstream) fn adopt_with(provider: &Provider, resolver: Resolver) -> Arc<Upstream> {
    Upstreams::new(Clock::System, resolver).adopt(std::slice::from_ref(provider)).remove(0)
}

pub(in crate::upstream) fn outgoing(is_streaming: bool) -> Outgoing {
    Outgoing {
        on_fresh_connection: false,
        sent: Clock::System.now(),
        ask: Ask::Answer(Wire::Chat),
        client_headers: Arc::new(HeaderMap::new()),
        body: vec![Bytes::from_static(b"{\"model\":\"m\",\"messages\":"), Bytes::from_static(b"[]}")],
        path: None,
        is_streaming,
        model: ModelName::parse("m").unwrap(),
    }
}

/// Sends, with a bound so that a mistake fails instead of hanging.
pub(in crate::upstream) async fn send(upstream: &Upstream) -> Result<Reply, Failure> {
    within(upstream.send(&outgoing(false))).await
}

/// The same on a connection of its own.
pub(in crate::upstream) async fn send_afresh(upstream: &Upstream) -> Result<Reply, Failure> {
    within(upstream.send(&Outgoing { on_fresh_connection: true, ..outgoing(false) })).await
}

pub(in crate::upstream) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("this must not take so long")
}

pub(in crate::upstream) async fn whole(reply: Reply) -> Result<Bytes, Failure> {
    within(reply.body.read_whole(1 << 20)).await
}

pub(in crate::upstream) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

pub(in crate::upstream) fn ok() -> String {
    answer("200 OK", "content-type: application/json\r\n", OK_BODY)
}

/// One whole request as text; nothing at the end of the connection.
pub(in crate::upstream) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut byte = [0; 1];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
        if text.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// Waits until the other side has closed, whatever comes before.
pub(in crate::upstream) async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = [0; 4096];
    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
}
