use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use super::{Answer, Refusal};

/// What `act` gives, or nothing when it panics. Whatever it was at is dropped unused afterwards: that makes it safe to unwind.
pub(super) fn caught<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

/// The answer that `story` comes to, or an `internal` one when it panics: the process and its other requests go on.
///
/// The story is pinned where it was made, so that it is not copied into this future.
pub async fn answer_or_internal(
    request_id: &str,
    mut story: Pin<&mut impl Future<Output = Result<Answer, Refusal>>>,
) -> Result<Answer, Refusal> {
    let told = poll_fn(|cx| match caught(|| story.as_mut().poll(cx)) {
        Some(poll) => poll.map(Some),
        None => std::task::Poll::Ready(None),
    });
    told.await.unwrap_or_else(|| {
        tracing::error!(request_id, "a request met a fault of tollgate's own");
        Err(Refusal::internal())
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_story_is_answered() {
        let story = pin!(async {
            tokio::task::yield_now().await;
            panic!("of this test");
        });
        let refusal = answer_or_internal("1", story).await.unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code, refusal.should_retry), (500, "internal", false));
    }
}
