use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::Body as _;
use tokio::time::Sleep;

use super::Story;
use super::account::event_stream_headers;
use super::answer::{Answer, Body, CutShort};
use super::running::header_value;

/// How often a client that has its status hears that its stream lives, until content comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a told error gets to leave before the connection ends.
const FLUSH: Duration = Duration::from_millis(20);

/// A stream whose status went out before its story was over, so that load balancers between here and the client do not cut it.
pub struct Early {
    state: State,
    timer: Pin<Box<Sleep>>,
}

enum State {
    Waiting(Story),
    Answered(Body),
    Cutting,
    Done,
}

/// The story's answer, or status 200 with the story still running when `after` has passed.
pub(super) async fn answer_by(after: Duration, request_id: &str, mut story: Story) -> Answer {
    if let Ok(answer) = tokio::time::timeout(after, &mut story).await {
        return answer;
    }
    let mut headers = HeaderMap::new();
    event_stream_headers(&mut headers);
    for name in ["x-request-id", "request-id"] {
        headers.insert(HeaderName::from_static(name), header_value(request_id));
    }
    // The first comment leaves at once: a head alone does not keep a load balancer waiting.
    let early = Early { state: State::Waiting(story), timer: Box::pin(tokio::time::sleep(Duration::ZERO)) };
    Answer { status: StatusCode::OK, headers, body: Body::Early(Box::new(early)) }
}

impl Early {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        loop {
            match &mut self.state {
                State::Waiting(story) => match story.as_mut().poll(cx) {
                    Poll::Ready(answer) if answer.status.is_success() => self.state = State::Answered(answer.body),
                    Poll::Ready(answer) => {
                        self.timer.as_mut().reset(tokio::time::Instant::now() + FLUSH);
                        self.state = State::Cutting;
                        return Poll::Ready(Some(Ok(as_event(answer.body))));
                    }
                    Poll::Pending => {
                        ready!(self.timer.as_mut().poll(cx));
                        self.timer.as_mut().reset(tokio::time::Instant::now() + KEEP_ALIVE);
                        return Poll::Ready(Some(Ok(Bytes::from_static(b": keep-alive\n\n"))));
                    }
                },
                State::Answered(body) => {
                    let frame = ready!(Pin::new(body).poll_frame(cx));
                    return Poll::Ready(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())));
                }
                State::Cutting => {
                    ready!(self.timer.as_mut().poll(cx));
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(CutShort)));
                }
                State::Done => return Poll::Ready(None),
            }
        }
    }
}

/// An error's body as one event. Line breaks in JSON stand only between its tokens, so a space serves as well.
fn as_event(body: Body) -> Bytes {
    let Body::Whole(json) = body else { return Bytes::new() };
    let mut event = b"data: ".to_vec();
    event.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    event.extend_from_slice(b"\n\n");
    event.into()
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early").finish_non_exhaustive()
    }
}
