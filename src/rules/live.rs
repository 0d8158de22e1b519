use std::sync::Arc;

use arc_swap::ArcSwap;

/// The one cell that a reload swaps. A request takes its snapshot once and keeps it to the end.
#[derive(Debug)]
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// The value that holds now.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Puts `value` in place for all that ask from now on.
    pub fn swap(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}
