use std::{fmt, hash::Hash, sync::Arc};

use super::limiters::Limiters;
use crate::{limiter::QueueLimits, shared::SharedRateLimitHandle};

/// Finds the shared limits of keys in this process.
///
/// Cheap to clone. All clones, the layer and its services share one state.
#[derive(Clone)]
pub struct SharedKeysHandle {
    limiters: Arc<Limiters>,
    limits: QueueLimits,
}

impl SharedKeysHandle {
    pub(super) const fn new(limiters: Arc<Limiters>, limits: QueueLimits) -> Self {
        Self { limiters, limits }
    }

    /// Returns the handle of the limit of a key, if the key is kept in this process.
    ///
    /// `key` is the value that the [key](crate::keyed::Key) of the layer reads from a request. The
    /// limit of the key is kept at least as long as the handle.
    #[must_use]
    pub fn of(&self, key: &impl Hash) -> Option<SharedRateLimitHandle> {
        let limiter = self.limiters.of_value(key)?;
        Some(SharedRateLimitHandle::new(limiter, self.limits))
    }

    /// Returns the number of keys that are kept in this process.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.limiters.len()
    }
}

impl fmt::Debug for SharedKeysHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeysHandle")
            .field("windows", self.limiters.windows())
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}
