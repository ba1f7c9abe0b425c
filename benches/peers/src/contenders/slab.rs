//! A lower bound on the cost of a waiter: wakers in a slab behind a mutex.

use std::{
    hint::black_box,
    mem,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
};

#[derive(Default)]
pub(crate) struct Slab {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// Holds an entry of a slab; removes its waker when dropped.
pub(crate) struct InSlab {
    slab: Arc<Mutex<Slab>>,
    at: usize,
}

impl InSlab {
    pub(crate) fn new(slab: &Arc<Mutex<Slab>>) -> Self {
        let mut entries = slab.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = Some(Waker::noop().clone());
        let at = if let Some(at) = entries.free.pop() {
            entries.wakers[at] = waker;
            at
        } else {
            entries.wakers.push(waker);
            entries.wakers.len() - 1
        };
        Self { slab: Arc::clone(slab), at }
    }
}

impl Drop for InSlab {
    fn drop(&mut self) {
        let mut entries = self.slab.lock().unwrap_or_else(PoisonError::into_inner);
        black_box(mem::take(&mut entries.wakers[self.at]));
        entries.free.push(self.at);
    }
}
