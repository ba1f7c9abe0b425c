//! A limiter of which only the pool is modelled, and the flags that its group and driver use.

use super::{group::Flag, pool::LeasePool};
use crate::sync::{AtomicBool, Ordering::Relaxed};

pub(super) struct SharedLimiter {
    pub(super) pool: LeasePool,
    is_listed: AtomicBool,
    pub(super) is_low: Flag,
}

impl SharedLimiter {
    pub(super) fn new() -> Self {
        Self { pool: LeasePool::new(), is_listed: AtomicBool::new(false), is_low: Flag::new() }
    }

    pub(super) fn list(&self) -> bool {
        !self.is_listed.swap(true, Relaxed)
    }

    pub(super) fn unlist(&self) {
        self.is_listed.store(false, Relaxed);
    }
}
