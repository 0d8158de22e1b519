//! The control socket: what `tollgate reload`, `status` and `explain --live` ask the running daemon.
//!
//! Floor 5. HTTP/1.1 over a unix socket; the connection itself is the server's business, the answers are here.

mod ledger;
mod socket;
mod status;

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

pub use ledger::{Adjustment, Billed, LedgerAsk, Resolution};
pub use socket::{Bound, Peer, Side, bind, socket_path};
pub use status::{
    BudgetStatus, CallerStatus, LastReload, LedgerStatus, LimitStatus, ProviderStatus, Status, TargetStatus, TokenRatioStatus, TtftStatus,
};

/// How a reload ended, for the one who asked.
#[derive(Clone, Debug)]
pub struct ReloadAnswer {
    pub ok: bool,
    /// `{ok, changed, revision, text, findings, removed}`.
    pub body: Value,
}

/// A question that cannot be answered, in words.
#[derive(Clone, Debug)]
pub struct BadQuestion(pub String);

type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;

/// Takes a question as JSON.
pub type Explain = Box<dyn Fn(&[u8]) -> Result<Value, BadQuestion> + Send + Sync>;

/// Takes what is to be done about money; answers what was done.
pub type AskLedger = Box<dyn Fn(LedgerAsk) -> Future<Result<Value, BadQuestion>> + Send + Sync>;

/// The answers, plugged in by the one place that knows all parts.
pub struct Control {
    pub status: Box<dyn Fn() -> Value + Send + Sync>,
    pub reload: Box<dyn Fn() -> Future<ReloadAnswer> + Send + Sync>,
    pub explain: Explain,
    pub ledger: AskLedger,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// Answers one request. The socket's group may read; only [`Peer::may_change`] may reload.
    /// A refused file answers 422, so that tools which look at the status alone see it, with the same body as a success.
    pub async fn answer(&self, request: Request<Bytes>, peer: Peer) -> Response<Bytes> {
        let method = request.method().clone();
        match (&method, request.uri().path()) {
            (&Method::GET, "/status") => json_answer(StatusCode::OK, &(self.status)()),
            (&Method::POST, "/reload") if !peer.may_change => {
                let message = format!("user {} may not reload: only root and the daemon's own user may", peer.uid);
                refusal(StatusCode::FORBIDDEN, &message)
            }
            (&Method::POST, "/reload") => {
                let answer = (self.reload)().await;
                json_answer(if answer.ok { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, &answer.body)
            }
            (&Method::POST, "/explain") => match (self.explain)(request.body()) {
                Ok(value) => json_answer(StatusCode::OK, &value),
                Err(BadQuestion(message)) => refusal(StatusCode::BAD_REQUEST, &message),
            },
            (&Method::POST, "/ledger/resolve" | "/ledger/adjust" | "/ledger/clock") if !peer.may_change => {
                let message = format!("user {} may not change what is counted: only root and the daemon's own user may", peer.uid);
                refusal(StatusCode::FORBIDDEN, &message)
            }
            (&Method::POST, path @ ("/ledger/resolve" | "/ledger/adjust" | "/ledger/clock")) => {
                let word = path.trim_start_matches("/ledger/");
                let answer = match LedgerAsk::read(word, request.body()) {
                    Ok(ask) => (self.ledger)(ask).await,
                    Err(message) => Err(BadQuestion(message)),
                };
                match answer {
                    Ok(value) => json_answer(StatusCode::OK, &value),
                    Err(BadQuestion(message)) => refusal(StatusCode::BAD_REQUEST, &message),
                }
            }
            (_, "/status" | "/reload" | "/explain" | "/ledger/resolve" | "/ledger/adjust" | "/ledger/clock") => {
                refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("{} is not answered with {method}", request.uri().path()))
            }
            (_, path) => refusal(StatusCode::NOT_FOUND, &format!("nothing answers at {path}")),
        }
    }
}

fn refusal(status: StatusCode, message: &str) -> Response<Bytes> {
    json_answer(status, &json!({ "error": message }))
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> Control {
        Control {
            status: Box::new(|| json!({ "revision": "1-abc" })),
            reload: Box::new(|| Box::pin(async { ReloadAnswer { ok: false, body: json!({ "ok": false, "text": "error[bad]" }) } })),
            explain: Box::new(|question| {
                serde_json::from_slice(question).map_err(|error| BadQuestion(format!("the question is no JSON: {error}")))
            }),
            ledger: Box::new(|ask| Box::pin(async move { Ok(json!({ "asked": ask.word() })) })),
        }
    }

    #[tokio::test]
    async fn what_each_peer_may_ask() {
        let control = control();
        let (root, reader) = (Peer { uid: 0, may_change: true }, Peer { uid: 1_000, may_change: false });
        for (method, path, body, peer, status, part) in [
            ("GET", "/status", "", reader, 200, r#""revision":"1-abc""#),
            ("POST", "/reload", "", root, 422, r#""text":"error[bad]""#),
            ("POST", "/reload", "", reader, 403, "user 1000 may not reload"),
            ("POST", "/explain", r#"{"task":"coding"}"#, reader, 200, r#"{"task":"coding"}"#),
            ("POST", "/explain", "{", reader, 400, "the question is no JSON"),
            ("POST", "/ledger/resolve", r#"{"ids":["1.2"],"as":"billed"}"#, root, 200, r#""asked":"resolve""#),
            ("POST", "/ledger/resolve", r#"{"ids":["1.2"],"as":"perhaps"}"#, root, 400, "`perhaps` is none of"),
            ("POST", "/ledger/adjust", "{}", reader, 403, "user 1000 may not change what is counted"),
            ("GET", "/ledger/clock", "", root, 405, "/ledger/clock is not answered with GET"),
            ("GET", "/reload", "", root, 405, "/reload is not answered with GET"),
            ("GET", "/", "", root, 404, "nothing answers at /"),
        ] {
            let request = Request::builder().method(method).uri(path).body(Bytes::from(body)).unwrap();
            let answer = control.answer(request, peer).await;
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            assert!(answer.status().as_u16() == status && text.contains(part), "{method} {path}: {} {text}", answer.status());
        }
    }
}
