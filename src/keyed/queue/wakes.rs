//! Wakers that are woken after the lock.

use std::task::Waker;

/// Wakers to be woken. A drop wakes the rest, so that one that panics keeps no other asleep.
#[derive(Default)]
pub(in crate::keyed) struct Wakes {
    /// Most steps wake one task, and allocate nothing.
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Wakes {
    pub(in crate::keyed) fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.rest.push(waker),
        }
    }

    pub(in crate::keyed) fn wake(mut self) {
        self.wake_all();
    }

    fn wake_all(&mut self) {
        while let Some(waker) = self.first.take().or_else(|| self.rest.pop()) {
            waker.wake();
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        if let Some(waker) = self.first.take().or_else(|| self.rest.pop()) {
            let _rest = Self { first: None, rest: std::mem::take(&mut self.rest) };
            waker.wake();
        }
    }
}
