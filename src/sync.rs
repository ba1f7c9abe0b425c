//! Atomics and the mutex: `std`'s, or the model checker's.
//!
//! The cores ([`gate`](crate::gate) and the [windows](crate::rate_limit)) take their shared state
//! from here and from nowhere else. Built with `--cfg floodgate_loom` their tests run under
//! [loom](https://docs.rs/loom), which tries the interleavings and the memory orderings. The name of
//! the cfg is our own because `loom` would switch tokio over, too.

#[cfg(all(test, floodgate_loom))]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(not(all(test, floodgate_loom)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(all(test, floodgate_loom))]
use loom::sync::{Mutex as Inner, MutexGuard};
#[cfg(not(all(test, floodgate_loom)))]
use std::sync::{Mutex as Inner, MutexGuard};

use std::sync::PoisonError;

/// A mutex that doesn't know poison.
///
/// Foreign code that could panic (a waker's `clone`) only runs under it before anything has been
/// changed, so the state behind the lock is whole even if a holder unwinds.
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
