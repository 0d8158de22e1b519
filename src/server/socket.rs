use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::TaskTracker;

use super::connection::{Drain, Service, Turns, serve_connection};

/// The largest question on the control socket: 32 MiB, as a request to explain may be.
const LARGEST: usize = 32 << 20;

/// Serves the control socket until everything open has been cut. `identify` says who asks, `answer` answers.
pub async fn serve_socket<P, I, A, F>(listener: UnixListener, drain: Drain, tasks: TaskTracker, identify: I, answer: A)
where
    P: Copy + Send + Sync + 'static,
    I: Fn(&UnixStream) -> std::io::Result<P> + Send + 'static,
    A: Fn(Request<Bytes>, P) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let answer = Arc::new(answer);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.was_cut() => return,
        };
        let identified = accepted.and_then(|(stream, _)| identify(&stream).map(|peer| (stream, peer)));
        match identified {
            Ok((stream, peer)) => {
                let asker = Asker { peer, answer: Arc::clone(&answer) };
                let until_cut = drain.only_cut();
                tasks.spawn(async move { serve_connection(stream, asker, &until_cut).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the control socket could not be taken");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

struct Asker<P, A> {
    peer: P,
    answer: Arc<A>,
}

impl<P: Copy, A> Clone for Asker<P, A> {
    fn clone(&self) -> Self {
        Self { peer: self.peer, answer: Arc::clone(&self.answer) }
    }
}

impl<P, A, F> Service for Asker<P, A>
where
    P: Copy + Send + Sync + 'static,
    A: Fn(Request<Bytes>, P) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    type Body = Full<Bytes>;
    type Epilogue = Infallible;

    async fn answer(self, request: Request<Incoming>, _: &Turns<Infallible>) -> Result<Response<Self::Body>, Infallible> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, LARGEST).collect().await else {
            let mut response = Response::new(Full::new(Bytes::from_static(b"{\"error\":\"the question is too large\"}\n")));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return Ok(response);
        };
        Ok((self.answer)(Request::from_parts(head, body.to_bytes()), self.peer).await.map(Full::new))
    }
}
