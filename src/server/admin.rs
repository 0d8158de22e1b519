use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::connection::{Drain, Service, serve_connection};

/// The listener for operators: health, readiness, metrics, status. Never on the applications' port.
#[derive(Debug)]
pub struct Admin<M, S> {
    pub drain: Drain,
    /// Prometheus text.
    pub metrics: M,
    /// What `tollgate status --json` prints.
    pub status: S,
}

impl<M, S> Admin<M, S>
where
    M: Fn() -> String + Send + Sync + 'static,
    S: Fn() -> Bytes + Send + Sync + 'static,
{
    /// Accepts until everything open has been cut, so that metrics can be read while a drain runs.
    pub async fn run(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        let own = listener.local_addr().ok();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.drain.was_cut() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let admin = Arc::clone(&self);
            tasks.spawn(async move {
                // An operator's connection ends with the daemon, not with the drain's beginning.
                let until_cut = admin.drain.only_cut();
                serve_connection(stream, Operators { admin, own }, &until_cut).await;
            });
        }
    }

    fn route(&self, request: &Request<Incoming>, own: Option<SocketAddr>) -> Response<Full<Bytes>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if !is_own_host(host, own) {
            return plain(StatusCode::MISDIRECTED_REQUEST, "text/plain; charset=utf-8", "this is not the host you named\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "only GET is known here\n");
        }
        match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
            "/readyz" if self.drain.has_begun() => plain(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "draining\n"),
            "/readyz" => plain(StatusCode::OK, "text/plain; charset=utf-8", "ready\n"),
            "/metrics" => plain(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", (self.metrics)()),
            "/status" => plain(StatusCode::OK, "application/json", (self.status)()),
            _ => plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "known here: /healthz /readyz /metrics /status\n"),
        }
    }
}

struct Operators<M, S> {
    admin: Arc<Admin<M, S>>,
    own: Option<SocketAddr>,
}

impl<M, S> Clone for Operators<M, S> {
    fn clone(&self) -> Self {
        Self { admin: Arc::clone(&self.admin), own: self.own }
    }
}

impl<M, S> Service for Operators<M, S>
where
    M: Fn() -> String + Send + Sync + 'static,
    S: Fn() -> Bytes + Send + Sync + 'static,
{
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>) -> Response<Self::Body> {
        self.admin.route(&request, self.own)
    }
}

/// A page elsewhere cannot reach this listener under a name of its own: only addresses, `localhost` and no name at all are taken.
fn is_own_host(host: Option<&str>, own: Option<SocketAddr>) -> bool {
    let Some(host) = host else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    is_address || name.eq_ignore_ascii_case("localhost") || own.is_some_and(|own| own.ip().to_string() == name)
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
