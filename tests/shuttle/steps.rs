//! Counts the steps in progress, to tell when a scene is at rest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Wake, Waker},
};

/// The counters are `std`'s: the scheduler switches threads at shuttle's only, so a reading of both
/// is one moment's.
#[derive(Default)]
pub(crate) struct Steps {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Steps {
    /// Runs one step of a scene.
    pub(crate) fn step<T>(&self, run: impl FnOnce() -> T) -> T {
        self.begun.fetch_add(1, Relaxed);
        let result = run();
        self.ended.fetch_add(1, Relaxed);
        result
    }

    /// Returns the value of `read` if no step was in progress from its beginning to its end.
    pub(crate) fn at_rest<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        let begun = self.begun.load(Relaxed);
        if self.ended.load(Relaxed) != begun {
            return None;
        }
        let result = read();
        (self.begun.load(Relaxed) == begun).then_some(result)
    }
}

/// A waker that counts its wake-ups, and clears a flag, before it wakes the inner one.
pub(crate) struct Counted {
    pub(crate) inner: Waker,
    pub(crate) wakes: Arc<AtomicUsize>,
    pub(crate) asleep: Arc<AtomicBool>,
}

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Relaxed);
        self.asleep.store(false, Relaxed);
        self.inner.wake_by_ref();
    }
}
