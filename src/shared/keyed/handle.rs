use std::{fmt, hash::Hash, sync::Arc};

use super::{SharedKeysSnapshot, limiters::Limiters};
use crate::{
    limiter::{QueueLimits, RejectedCounts},
    shared::SharedRateLimitHandle,
};

/// Finds the shared limits of keys in this process, and reads all of them.
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
    /// limit of the key is kept at least as long as the handle. It has no name: the events of all
    /// keys are counted together, in the [snapshot](Self::snapshot) of this handle.
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

    /// Returns the name of the limits, if they [have](super::SharedKeyedLimitLayer::name) one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.limiters.observed().observer.name().map(|name| &**name)
    }

    /// Returns the numbers of rejections of all keys since the limits were created, by reason.
    /// Those because the store was away, or because a request had no key, are in the
    /// [snapshot](Self::snapshot). Looks at each key that is kept.
    #[must_use]
    pub fn rejected(&self) -> RejectedCounts {
        self.limiters.sums().totals.rejected
    }

    /// Returns the state and the counts of this moment. Looks at each key that is kept, while no
    /// new key is added to a 64th of them.
    #[must_use]
    pub fn snapshot(&self) -> SharedKeysSnapshot {
        SharedKeysSnapshot::of(&self.limiters, self.limits)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn register_metrics(&self) {
        self.limiters.observed().register_metrics();
    }
}

impl fmt::Debug for SharedKeysHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SharedKeysHandle");
        self.limiters.observed().observer.fmt_name(&mut fields);
        fields
            .field("window", self.limiters.window())
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}
