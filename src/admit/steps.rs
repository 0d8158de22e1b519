//! Where one thread may overtake another: at each lock, and at each number that is changed without one.
//!
//! A test lets a scheduler decide at every such place who goes on; otherwise these are plain locks, and nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock for one short step. What it guards is never left half done, so it holds after a panic too.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(test)]
    scheduled::wait_for(mutex);
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another thread may be faster here.
#[inline]
pub(super) fn step() {
    #[cfg(test)]
    scheduled::step();
}

#[cfg(test)]
mod scheduled {
    use std::sync::{Mutex, TryLockError};
    use std::time::Duration;

    fn is_scheduled() -> bool {
        shuttle::current::try_get_current_task().is_some()
    }

    pub(super) fn step() {
        if is_scheduled() {
            // A plain switch; it does not sleep.
            shuttle::thread::sleep(Duration::ZERO);
        }
    }

    /// Lets others go on until the lock is free: all of them run on one thread, which must not block.
    pub(super) fn wait_for<T>(mutex: &Mutex<T>) {
        step();
        while is_scheduled() && matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)) {
            shuttle::thread::yield_now();
        }
    }
}
