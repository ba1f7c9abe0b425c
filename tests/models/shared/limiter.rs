//! A limiter of which only the pool is modelled, and the flags that its group and driver use.

use super::pool::LeasePool;
use crate::sync::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};

pub(super) struct SharedLimiter {
    pub(super) pool: LeasePool,
    is_listed: AtomicBool,
    is_low: AtomicBool,
}

impl SharedLimiter {
    pub(super) fn new() -> Self {
        let [is_listed, is_low] = [(); 2].map(|()| AtomicBool::new(false));
        Self { pool: LeasePool::new(), is_listed, is_low }
    }

    pub(super) fn list(&self) -> bool {
        !self.is_listed.swap(true, Relaxed)
    }

    pub(super) fn unlist(&self) {
        self.is_listed.store(false, Relaxed);
    }

    pub(super) fn ran_low(&self) {
        self.is_low.store(true, Release);
    }

    pub(super) fn take_low(&self) -> bool {
        self.is_low.swap(false, Acquire)
    }
}
