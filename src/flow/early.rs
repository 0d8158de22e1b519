use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use tokio::time::Sleep;

use crate::wire::Shape;

use super::Story;
use super::account::event_stream_headers;
use super::answer::{Addressee, Answer, Body, CutShort, FLUSH};
use super::head::{header_value, name};

/// How often a client that has its status hears that its stream lives, until content comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream whose status went out before its story was over, so that load balancers between here and the client do not cut it.
pub struct Early {
    shape: Shape,
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
pub(super) async fn answer_by(after: Duration, to: Addressee<'_>, mut story: Story) -> Answer {
    if let Ok(answer) = tokio::time::timeout(after, &mut story).await {
        return answer;
    }
    let mut headers = event_stream_headers();
    for name in [&name::REQUEST_ID, &name::REQUEST_ID_SHORT] {
        headers.insert(name, header_value(to.request_id));
    }
    // The first comment leaves at once: a head alone does not keep a load balancer waiting.
    let early = Early { shape: to.shape, state: State::Waiting(story), timer: Box::pin(tokio::time::sleep(Duration::ZERO)) };
    Answer::new(StatusCode::OK, headers, Body::Early(Box::new(early)))
}

impl Early {
    /// How its client's format writes errors.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        loop {
            match &mut self.state {
                State::Waiting(story) => match story.as_mut().poll(cx) {
                    Poll::Ready(answer) if answer.status.is_success() => self.state = State::Answered(answer.body),
                    Poll::Ready(answer) => {
                        self.timer.as_mut().reset(tokio::time::Instant::now() + FLUSH);
                        self.state = State::Cutting;
                        return Poll::Ready(Some(Ok(as_event(self.shape, answer.body))));
                    }
                    Poll::Pending => {
                        ready!(self.timer.as_mut().poll(cx));
                        self.timer.as_mut().reset(tokio::time::Instant::now() + KEEP_ALIVE);
                        return Poll::Ready(Some(Ok(Bytes::from_static(self.shape.keep_alive()))));
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

/// An error's body as one event.
fn as_event(shape: Shape, body: Body) -> Bytes {
    if let Body::Whole(json) = body { shape.as_event(&json) } else { Bytes::new() }
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Refusal;

    async fn pieces(mut body: Body) -> Vec<(Duration, Result<String, CutShort>)> {
        let begun = tokio::time::Instant::now();
        let mut pieces = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let text = frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap());
            let is_last = text.is_err();
            pieces.push((begun.elapsed(), text));
            if is_last {
                break;
            }
        }
        pieces
    }

    const TO: Addressee<'_> = Addressee { shape: Shape::OpenAi, request_id: "id" };
    const KEPT_ALIVE: &str = ": keep-alive\n\n";

    #[tokio::test(start_paused = true)]
    async fn a_client_hears_every_fifteen_seconds_until_the_story_ends() {
        let story: Story = Box::pin(async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            Refusal::internal().answer(TO)
        });
        let answer = answer_by(Duration::from_secs(10), TO, story).await;
        assert_eq!((answer.status, answer.headers.get("x-request-id").unwrap().to_str().unwrap()), (StatusCode::OK, "id"));
        let pieces = pieces(answer.body).await;
        let seconds: Vec<u64> = pieces.iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(seconds, [0, 15, 30, 40, 40]);
        assert!(pieces[..3].iter().all(|(_, piece)| piece.as_deref() == Ok(KEPT_ALIVE)), "{pieces:?}");
        let error = pieces[3].1.as_deref().unwrap();
        assert!(error.starts_with("data: {\"error\":") && error.contains("\"code\":\"internal\"") && error.ends_with("}\n\n"), "{error}");
        assert_eq!(pieces[4].1, Err(CutShort));
    }

    #[tokio::test(start_paused = true)]
    async fn an_anthropic_client_hears_pings_and_errors_of_its_own_shape() {
        let to = Addressee { shape: Shape::Anthropic, request_id: "id" };
        let story: Story = Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Refusal::internal().answer(to)
        });
        let pieces = pieces(answer_by(Duration::from_secs(10), to, story).await.body).await;
        assert_eq!(pieces[0].1.as_deref(), Ok("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
        let error = pieces[1].1.as_deref().unwrap();
        assert!(
            error.starts_with("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",") && error.ends_with("}\n\n"),
            "{error}"
        );
        assert_eq!(pieces[2].1, Err(CutShort));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_goes_out_as_it_is() {
        let story: Story = Box::pin(async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Refusal::internal().answer(TO)
        });
        assert_eq!(answer_by(Duration::from_secs(10), TO, story).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test(start_paused = true)]
    async fn l19_a_panic_after_the_status_is_told_in_the_stream() {
        let story: Story = Box::pin(async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            panic!("of this test");
        });
        let pieces = pieces(answer_by(Duration::from_secs(10), TO, story).await.body).await;
        let texts: Vec<_> = pieces.iter().map(|(_, piece)| piece.as_deref()).collect();
        assert!(matches!(texts[..], [Ok(KEPT_ALIVE), Ok(error), Err(_)] if error.contains("\"internal\"")), "{texts:?}");
    }
}
