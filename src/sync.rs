//! The atomics and the mutex of the cores.
//!
//! The cores ([`semaphore`](crate::semaphore), the [windows](crate::rate_limit), the retry budget)
//! take their shared state only from here. `tests/models` compiles the same source files against
//! those of [loom](https://docs.rs/loom), which runs the interleavings and the memory orderings.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::{
    hint::black_box,
    sync::{MutexGuard, PoisonError},
};

pub(crate) use futures_util::task::AtomicWaker;

/// Has the line of a word fetched into the cache, because it is needed soon.
#[inline]
pub(crate) fn fetch(word: &AtomicU64) {
    // Relaxed: the value is not used. A load is the only way that is safe.
    black_box(word.load(Ordering::Relaxed));
}

/// Lets other threads run, one of which is to make a step of a few instructions.
pub(crate) fn wait_for_others() {
    std::thread::yield_now();
}

/// Steps that one thread at a time makes, each after those of the threads before. The models check
/// that; here, it is nothing.
pub(crate) struct Exclusive;

impl Exclusive {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline]
    pub(crate) const fn enter(&self) {}
}

/// A mutex without poisoning.
///
/// Foreign code that could panic (the `clone` of a waker) runs under it only before a change, so
/// the state behind the lock is whole even if a holder unwinds.
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
