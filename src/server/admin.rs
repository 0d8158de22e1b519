use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::connection::{Drain, Service, Turns, serve_connection};

/// The largest question, in bytes: a request's body may stand in it.
const LARGEST_QUESTION: usize = 32 << 20;

/// The listener for operators: health, readiness, metrics, status, questions. Never on the applications' port.
#[derive(Debug)]
pub struct Admin<M, S, E> {
    pub drain: Drain,
    /// Prometheus text.
    pub metrics: M,
    /// What `tollgate status --json` prints.
    pub status: S,
    /// What `tollgate explain --live` asks: a question as JSON.
    pub explain: E,
}

impl<M, S, E> Admin<M, S, E>
where
    M: Fn() -> String + Send + Sync + 'static,
    S: Fn() -> Bytes + Send + Sync + 'static,
    E: Fn(&[u8]) -> Result<Bytes, String> + Send + Sync + 'static,
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

    async fn route(&self, request: Request<Incoming>, own: Option<SocketAddr>) -> Response<Full<Bytes>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if !is_own_host(host, own) {
            return plain(StatusCode::MISDIRECTED_REQUEST, "text/plain; charset=utf-8", "this is not the host you named\n");
        }
        if *request.method() == Method::POST && request.uri().path() == "/explain" {
            return self.explained(request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "only GET is known here, and POST at /explain\n");
        }
        match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
            "/readyz" if self.drain.has_begun() => plain(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "draining\n"),
            "/readyz" => plain(StatusCode::OK, "text/plain; charset=utf-8", "ready\n"),
            "/metrics" => plain(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", (self.metrics)()),
            "/status" => plain(StatusCode::OK, "application/json", (self.status)()),
            _ => plain(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "known here: /healthz /readyz /metrics /status, and POST /explain\n",
            ),
        }
    }

    /// Only a program that says it sends JSON is answered: a page in a browser cannot say so without asking first.
    async fn explained(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if !is_json {
            return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a question is `content-type: application/json`");
        }
        let Ok(question) = Limited::new(request.into_body(), LARGEST_QUESTION).collect().await else {
            return refused(StatusCode::PAYLOAD_TOO_LARGE, "the question is larger than 32 MiB, or it broke off");
        };
        match (self.explain)(&question.to_bytes()) {
            Ok(explained) => plain(StatusCode::OK, "application/json", explained),
            Err(message) => refused(StatusCode::BAD_REQUEST, &message),
        }
    }
}

struct Operators<M, S, E> {
    admin: Arc<Admin<M, S, E>>,
    own: Option<SocketAddr>,
}

impl<M, S, E> Clone for Operators<M, S, E> {
    fn clone(&self) -> Self {
        Self { admin: Arc::clone(&self.admin), own: self.own }
    }
}

impl<M, S, E> Service for Operators<M, S, E>
where
    M: Fn() -> String + Send + Sync + 'static,
    S: Fn() -> Bytes + Send + Sync + 'static,
    E: Fn(&[u8]) -> Result<Bytes, String> + Send + Sync + 'static,
{
    type Body = Full<Bytes>;
    type Epilogue = Infallible;

    async fn answer(self, request: Request<Incoming>, _: &Turns<Infallible>) -> Result<Response<Self::Body>, Infallible> {
        Ok(self.admin.route(request, self.own).await)
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

fn refused(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    plain(status, "application/json", serde_json::json!({ "error": message }).to_string() + "\n")
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
