use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::flow::Refusal;

/// From here on a body has to come at [`SLOWEST`] bytes a second on average.
const GRACE: Duration = Duration::from_secs(10);
const SLOWEST: u64 = 1 << 10;

/// Reads a request's body whole, within `limit` bytes and at a decent pace.
pub(super) async fn read(headers: &HeaderMap, body: &mut Incoming, limit: u64) -> Result<Bytes, Refusal> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|value| value.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut whole = Whole::Nothing;
    let mut begun = None;
    loop {
        let frame = if let Some(frame) = at_once(body).await {
            frame
        } else {
            let due = *begun.get_or_insert_with(Instant::now) + GRACE + Duration::from_secs(whole.len() / SLOWEST);
            // Boxed: most bodies are there already, and need no timer.
            Box::pin(tokio::time::timeout_at(due, body.frame())).await.map_err(|_| slow())?
        };
        let piece = match frame {
            None => return Ok(whole.finish()),
            Some(Err(error)) => return Err(Refusal::bad_request("bad_framing", None, format!("the request's body broke off: {error}"))),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        if whole.len() + piece.len() as u64 > limit {
            return Err(too_large(limit));
        }
        whole = whole.with(piece, declared);
        if body.is_end_stream() {
            return Ok(whole.finish());
        }
    }
}

/// What there is now or at the task's next turn, when the connection hands over what came along with the head: a timer would be
/// set and cleared for nothing.
async fn at_once(body: &mut Incoming) -> Option<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let mut has_waited = false;
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(Some(frame)),
        Poll::Pending if has_waited => Poll::Ready(None),
        Poll::Pending => {
            has_waited = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// A body so far. One that came in one piece is never copied.
enum Whole {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Whole {
    fn len(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::One(piece) => piece.len() as u64,
            Self::Many(pieces) => pieces.len() as u64,
        }
    }

    fn with(self, piece: Bytes, declared: Option<u64>) -> Self {
        match self {
            Self::Nothing => Self::One(piece),
            Self::One(first) => {
                let room = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(first.len() * 4);
                let mut pieces = BytesMut::with_capacity(room.max(first.len() + piece.len()));
                pieces.extend_from_slice(&first);
                pieces.extend_from_slice(&piece);
                Self::Many(pieces)
            }
            Self::Many(mut pieces) => {
                pieces.extend_from_slice(&piece);
                Self::Many(pieces)
            }
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(piece) => piece,
            Self::Many(pieces) => pieces.freeze(),
        }
    }
}

pub(super) fn too_large(limit: u64) -> Refusal {
    Refusal::bad_request("request_too_large", None, format!("the request's body is larger than `server.body_limit`, {limit} bytes"))
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

fn slow() -> Refusal {
    Refusal::bad_request("request_timeout", None, "the request's body came slower than 1 KiB a second".into())
        .with_status(StatusCode::REQUEST_TIMEOUT)
}
