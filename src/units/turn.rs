//! Two halves of one task that wake each other: a connection, and what waits for what comes over it.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How often a task goes round before it lets others go on.
const MOST_ROUNDS: usize = 16;

/// What one half wakes the other for is done in the same turn of their task, which is woken only from outside, and only while it rests.
#[derive(Debug)]
pub struct Turn {
    state: Arc<Shared>,
    /// What both halves are polled with.
    waker: Waker,
}

#[derive(Debug)]
struct Shared(Mutex<State>);

#[derive(Debug)]
enum State {
    /// Nobody waits.
    Idle,
    Working,
    /// Something has moved since the work began.
    Woken,
    Resting(Waker),
}

impl Default for Turn {
    fn default() -> Self {
        Self::new()
    }
}

impl Turn {
    #[must_use]
    pub fn new() -> Self {
        let state = Arc::new(Shared(Mutex::new(State::Idle)));
        Self { waker: Waker::from(Arc::clone(&state)), state }
    }

    /// Polls what is awaited, and drives what it comes from, until the one is ready or the other does not move. Nothing but `drive`
    /// makes it ready; true: it has come to an end.
    pub fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut drive: impl FnMut(&mut Context<'_>) -> bool,
        mut awaited: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut own = Context::from_waker(&self.waker);
        for _ in 0..MOST_ROUNDS {
            if let Poll::Ready(ready) = awaited(&mut own) {
                self.state.becomes(State::Idle);
                return Poll::Ready(ready);
            }
            // Whatever was asked for above is looked at below.
            self.state.becomes(State::Working);
            if !drive(&mut own) && self.state.rests(cx.waker()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Shared {
    fn becomes(&self, next: State) -> State {
        mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), next)
    }

    /// False where something has moved meanwhile.
    fn rests(&self, waker: &Waker) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_still = matches!(*state, State::Working);
        if is_still {
            *state = State::Resting(waker.clone());
        }
        is_still
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let State::Resting(waker) = self.becomes(State::Woken) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Notify, mpsc};
    use tokio::task::JoinSet;

    use super::*;

    /// How often a task was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counting() -> (Arc<Count>, Waker) {
        let count = Arc::<Count>::default();
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn who_works_is_not_woken_but_looks_again() {
        let (count, waker) = counting();
        let (turn, mut rounds) = (Turn::new(), 0);
        let drive = |cx: &mut Context<'_>| {
            rounds += 1;
            if rounds < 5 {
                cx.waker().wake_by_ref();
            }
            false
        };
        assert!(turn.poll(&mut Context::from_waker(&waker), drive, |_| Poll::<()>::Pending).is_pending());
        assert_eq!((rounds, count.get()), (5, 0));
        turn.waker.wake_by_ref();
        turn.waker.wake_by_ref();
        assert_eq!(count.get(), 1, "once, until it has worked again");
    }

    #[test]
    fn what_is_asked_for_is_done_in_the_same_turn() {
        let (count, waker) = counting();
        let (turn, asked, given) = (Turn::new(), Cell::new(false), Cell::new(0));
        let drive = |cx: &mut Context<'_>| {
            if asked.take() {
                given.set(given.get() + 1);
                cx.waker().wake_by_ref();
            }
            false
        };
        let awaited = |cx: &mut Context<'_>| match given.take() {
            0 => {
                asked.set(true);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            given => Poll::Ready(given),
        };
        assert_eq!(turn.poll(&mut Context::from_waker(&waker), drive, awaited), Poll::Ready(1));
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn an_end_is_looked_at_once_more() {
        let (count, waker) = counting();
        let (turn, has_ended) = (Turn::new(), Cell::new(false));
        let awaited = |_: &mut Context<'_>| if has_ended.get() { Poll::Ready(()) } else { Poll::Pending };
        let drive = |_: &mut Context<'_>| !has_ended.replace(true);
        assert!(turn.poll(&mut Context::from_waker(&waker), drive, awaited).is_ready());
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn nobody_is_woken_where_nobody_waits() {
        let (count, waker) = counting();
        let turn = Turn::new();
        turn.waker.wake_by_ref();
        assert_eq!(turn.poll(&mut Context::from_waker(&waker), |_| false, |_| Poll::Ready(7)), Poll::Ready(7));
        turn.waker.wake_by_ref();
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn who_never_rests_lets_others_go_on() {
        let (count, waker) = counting();
        let (turn, mut rounds) = (Turn::new(), 0);
        let drive = |cx: &mut Context<'_>| {
            rounds += 1;
            cx.waker().wake_by_ref();
            false
        };
        assert!(turn.poll(&mut Context::from_waker(&waker), drive, |_| Poll::<()>::Pending).is_pending());
        assert_eq!((rounds, count.get()), (MOST_ROUNDS, 1));
    }

    /// Numbers come from another thread to the half that drives, and from there to the one that waits.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_that_comes_from_another_thread_is_missed() {
        const NUMBERS: u32 = 20_000;
        let (tx, mut rx) = mpsc::unbounded_channel();
        let (taken, wanted) = (Notify::new(), Arc::new(Notify::new()));
        let (mut tasks, asked) = (JoinSet::new(), Arc::clone(&wanted));
        tasks.spawn(async move {
            for number in 0..NUMBERS {
                asked.notified().await;
                tx.send(number).unwrap();
            }
        });
        let turn = Turn::new();
        for expected in 0..NUMBERS {
            let held = Cell::new(None);
            let mut is_taken = Box::pin(taken.notified());
            wanted.notify_one();
            let number = poll_fn(|cx| {
                let drive = |cx: &mut Context<'_>| {
                    if held.get().is_none()
                        && let Poll::Ready(number) = rx.poll_recv(cx)
                    {
                        held.set(number);
                        taken.notify_one();
                    }
                    false
                };
                turn.poll(cx, drive, |cx| is_taken.as_mut().poll(cx).map(|()| held.get()))
            });
            assert_eq!(number.await, Some(expected));
        }
    }
}
