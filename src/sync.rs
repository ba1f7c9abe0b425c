//! The atomics and the mutex of the cores.
//!
//! The cores ([`gate`](crate::gate), the [windows](crate::rate_limit), the retry budget) take their
//! shared state from here and from nowhere else. `tests/models` compiles the same source files against
//! [loom](https://docs.rs/loom)'s instead, which tries the interleavings and the memory orderings.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};

/// A mutex that doesn't know poison.
///
/// Foreign code that could panic (a waker's `clone`) only runs under it where nothing has been changed
/// yet, so the state behind the lock is whole even if a holder unwinds.
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
