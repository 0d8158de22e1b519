//! Two halves of one task that wake each other: a connection, and what waits for what comes over it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How often a task goes round before it lets others go on.
const MOST_ROUNDS: usize = 16;

/// The task waits for its waker.
const RESTS: u8 = 1;
/// What drives was woken since it was begun last.
const DRIVES: u8 = 2;
/// What is driven was.
const DRIVEN: u8 = 4;

/// What one half wakes the other for is done in the same turn of their task, which is woken only from outside, and only while it rests.
#[derive(Debug)]
pub struct Halves {
    state: Arc<State>,
    /// What the two halves are polled with.
    drives: Waker,
    driven: Waker,
}

#[derive(Debug, Default)]
struct State {
    bits: AtomicU8,
    task: Mutex<Option<Waker>>,
}

/// Wakes one of the halves.
#[derive(Debug)]
struct Half {
    state: Arc<State>,
    bit: u8,
}

impl Default for Halves {
    fn default() -> Self {
        let state = Arc::<State>::default();
        let waker = |bit| Waker::from(Arc::new(Half { state: Arc::clone(&state), bit }));
        Self { drives: waker(DRIVES), driven: waker(DRIVEN), state }
    }
}

impl Halves {
    /// Polls what is awaited, and drives what it comes from, until the one is ready or the other does not move. Nothing but `drive`
    /// makes it ready; true: it has come to an end.
    pub fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut drive: impl FnMut(&mut Context<'_>) -> bool,
        mut awaited: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        for _ in 0..MOST_ROUNDS {
            if let ready @ Poll::Ready(_) = awaited(&mut Context::from_waker(&self.driven)) {
                return ready;
            }
            // Whatever was asked for above is looked at below.
            self.state.begins();
            if !drive(&mut Context::from_waker(&self.drives)) && self.state.rests(cx.waker()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The same for a half that has the other within, which polls itself by [`Self::within`].
    pub fn around<T>(&self, cx: &mut Context<'_>, mut drive: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        for _ in 0..MOST_ROUNDS {
            self.state.begins();
            if let ready @ Poll::Ready(_) = drive(&mut Context::from_waker(&self.drives)) {
                return ready;
            }
            if self.state.rests(cx.waker()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls the half within. What it was woken for until now need not be told once more.
    pub fn within<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.state.bits.fetch_and(!DRIVEN, Ordering::AcqRel);
        poll(&mut Context::from_waker(&self.driven))
    }
}

impl State {
    fn begins(&self) {
        self.bits.swap(0, Ordering::AcqRel);
    }

    /// False where a half was woken since the round was begun.
    fn rests(&self, task: &Waker) -> bool {
        if self.bits.load(Ordering::Acquire) != 0 {
            return false;
        }
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
        self.bits.compare_exchange(0, RESTS, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Half {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.bits.fetch_or(self.bit, Ordering::AcqRel) == RESTS {
            let task = self.state.task.lock().unwrap_or_else(PoisonError::into_inner).take();
            task.into_iter().for_each(Waker::wake);
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
        let (halves, mut rounds) = (Halves::default(), 0);
        let drive = |cx: &mut Context<'_>| {
            rounds += 1;
            if rounds < 5 {
                cx.waker().wake_by_ref();
            }
            false
        };
        assert!(halves.poll(&mut Context::from_waker(&waker), drive, |_| Poll::<()>::Pending).is_pending());
        assert_eq!((rounds, count.get()), (5, 0));
        halves.drives.wake_by_ref();
        halves.drives.wake_by_ref();
        assert_eq!(count.get(), 1, "once, until it has worked again");
    }

    #[test]
    fn what_is_asked_for_is_done_in_the_same_turn() {
        let (count, waker) = counting();
        let (halves, asked, given) = (Halves::default(), Cell::new(false), Cell::new(0));
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
        assert_eq!(halves.poll(&mut Context::from_waker(&waker), drive, awaited), Poll::Ready(1));
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn a_half_within_is_polled_for_what_it_was_woken_for_before() {
        let (count, waker) = counting();
        let (halves, mut rounds) = (Halves::default(), 0);
        let polled = halves.around(&mut Context::from_waker(&waker), |cx| {
            rounds += 1;
            halves.driven.wake_by_ref();
            let within = halves.within(|own| {
                if rounds == 1 {
                    cx.waker().wake_by_ref();
                }
                if rounds == 2 {
                    own.waker().wake_by_ref();
                }
                Poll::<()>::Pending
            });
            assert!(within.is_pending());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((rounds, count.get()), (3, 0), "once for either half");
        halves.driven.wake_by_ref();
        halves.drives.wake_by_ref();
        assert_eq!(count.get(), 1);
    }

    #[test]
    fn an_end_is_looked_at_once_more() {
        let (count, waker) = counting();
        let (halves, has_ended) = (Halves::default(), Cell::new(false));
        let awaited = |_: &mut Context<'_>| if has_ended.get() { Poll::Ready(()) } else { Poll::Pending };
        let drive = |_: &mut Context<'_>| !has_ended.replace(true);
        assert!(halves.poll(&mut Context::from_waker(&waker), drive, awaited).is_ready());
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn nobody_is_woken_where_nobody_waits() {
        let (count, waker) = counting();
        let halves = Halves::default();
        halves.drives.wake_by_ref();
        assert_eq!(halves.poll(&mut Context::from_waker(&waker), |_| false, |_| Poll::Ready(7)), Poll::Ready(7));
        halves.drives.wake_by_ref();
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn who_never_rests_lets_others_go_on() {
        let (count, waker) = counting();
        let (halves, mut rounds) = (Halves::default(), 0);
        let drive = |cx: &mut Context<'_>| {
            rounds += 1;
            cx.waker().wake_by_ref();
            false
        };
        assert!(halves.poll(&mut Context::from_waker(&waker), drive, |_| Poll::<()>::Pending).is_pending());
        assert_eq!((rounds, count.get()), (MOST_ROUNDS, 1));
    }

    /// Who sends the next number from another thread, each time it is wanted.
    fn numbers(tasks: &mut JoinSet<()>, count: u32) -> (Arc<Notify>, mpsc::UnboundedReceiver<u32>) {
        let (tx, rx) = mpsc::unbounded_channel();
        let wanted = Arc::new(Notify::new());
        let asked = Arc::clone(&wanted);
        tasks.spawn(async move {
            for number in 0..count {
                asked.notified().await;
                tx.send(number).unwrap();
            }
        });
        (wanted, rx)
    }

    /// Numbers come from other threads to either half; the one within ends with one of each, of which the other half hands it its own.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_that_comes_for_either_half_is_missed() {
        const NUMBERS: u32 = 20_000;
        let mut tasks = JoinSet::new();
        let (wanted, mut outer) = numbers(&mut tasks, NUMBERS);
        let (wanted_within, mut inner) = numbers(&mut tasks, NUMBERS);
        let halves = Halves::default();
        for expected in 0..NUMBERS {
            let (mut handed, mut own, mut waits): (_, _, Option<Waker>) = (None, None, None);
            wanted.notify_one();
            wanted_within.notify_one();
            let both = poll_fn(|cx| {
                halves.around(cx, |cx| {
                    if handed.is_none()
                        && let Poll::Ready(number) = outer.poll_recv(cx)
                    {
                        handed = number;
                        waits.take().into_iter().for_each(Waker::wake);
                    }
                    halves.within(|cx| {
                        waits = Some(cx.waker().clone());
                        if own.is_none()
                            && let Poll::Ready(number) = inner.poll_recv(cx)
                        {
                            own = number;
                        }
                        handed.zip(own).map_or(Poll::Pending, Poll::Ready)
                    })
                })
            });
            assert_eq!(both.await, (expected, expected));
        }
    }

    /// Numbers come from another thread to the half that drives, and from there to the one that waits.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_that_comes_from_another_thread_is_missed() {
        const NUMBERS: u32 = 20_000;
        let (mut tasks, taken) = (JoinSet::new(), Notify::new());
        let (wanted, mut rx) = numbers(&mut tasks, NUMBERS);
        let halves = Halves::default();
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
                halves.poll(cx, drive, |cx| is_taken.as_mut().poll(cx).map(|()| held.get()))
            });
            assert_eq!(number.await, Some(expected));
        }
    }
}
