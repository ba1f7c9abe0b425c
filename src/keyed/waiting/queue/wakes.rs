//! Wakers that are woken after the lock.

use std::{collections::VecDeque, mem, task::Waker};

/// Wakers to be woken by the drop, in the order in which they were pushed. One that panics keeps no
/// other asleep.
#[derive(Default)]
pub(in crate::keyed) struct Wakes {
    /// Most steps wake one task, and allocate nothing.
    first: Option<Waker>,
    rest: VecDeque<Waker>,
}

impl Wakes {
    pub(in crate::keyed) fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.rest.push_back(waker),
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        while let Some(waker) = self.first.take().or_else(|| self.rest.pop_front()) {
            // Dropped by a panic of the waker, and by the end of the loop without wakers.
            let rest = Self { first: None, rest: mem::take(&mut self.rest) };
            waker.wake();
            self.rest = rest.into_rest();
        }
    }
}

impl Wakes {
    fn into_rest(mut self) -> VecDeque<Waker> {
        mem::take(&mut self.rest)
    }
}
