//! One client connection of a load.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    to: SocketAddr,
    /// Drives the connection; ends with it.
    _connection: JoinSet<bool>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await.context("no connection")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut owner = JoinSet::new();
        owner.spawn(async move { connection.await.is_ok() });
        Ok(Self { sender, to, _connection: owner })
    }

    /// Sends a chat call, which says what it is for where there is a task; the head of its answer.
    pub(crate) async fn chat(&mut self, labels: &str, task: Option<&str>, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/v1/chat/completions")
            .header(HOST, self.to.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header("x-tollgate-labels", labels);
        if let Some(task) = task {
            request = request.header("x-tollgate-task", task);
        }
        let request = request.body(Full::new(body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}
