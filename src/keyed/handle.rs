use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use super::rule_state::RuleState;

/// A handle of a rule: reads its keys, and forgets them. Cheap to clone.
///
/// A key is given as the value that the rule's [`Key`](super::Key) feeds to the hasher: for a
/// closure, the value that it returns. Of a value with another hash, the handle finds no key.
#[derive(Clone)]
pub struct RuleHandle {
    states: Arc<[RuleState]>,
    index: usize,
}

impl RuleHandle {
    pub(super) const fn new(states: Arc<[RuleState]>, index: usize) -> Self {
        Self { states, index }
    }

    fn state(&self) -> &RuleState {
        &self.states[self.index]
    }

    /// Returns the number of requests of a key that could be issued now by all windows, in the
    /// first plan. Requests in flight do not count. Acquires nothing, and makes no room for a key.
    #[must_use]
    pub fn remaining(&self, key: impl Hash) -> u32 {
        self.remaining_in(0, key)
    }

    /// Returns the number as [`remaining`](Self::remaining) does, in the plan of this index.
    #[must_use]
    pub fn remaining_in(&self, plan: usize, key: impl Hash) -> u32 {
        self.state().remaining(plan, Some(self.state().hash(key))).0
    }

    /// Returns the time until all windows have room for a request of a key, in the first plan.
    /// `None` if they have now.
    #[must_use]
    pub fn time_until_room(&self, key: impl Hash) -> Option<Duration> {
        self.state().remaining(0, Some(self.state().hash(key))).1
    }

    /// Forgets what a key has used. Requests of the key that are about to be issued, or in flight,
    /// still count.
    ///
    /// Has no effect on a key that shares an overflow.
    pub fn forget(&self, key: impl Hash) {
        self.state().table().forget(self.state().hash(key));
    }

    /// Returns the number of keys that hold a permit, or have a request in flight, by looking at
    /// all of them.
    #[must_use]
    pub fn live_keys(&self) -> usize {
        self.state().live_keys()
    }

    /// Returns the number of requests that were decided in an overflow, because the table was full
    /// of live keys.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.state().table().overflowed()
    }

    /// Returns the number of requests that this rule has rejected, in a dry run too.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.state().rejected()
    }
}

impl fmt::Debug for RuleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleHandle")
            .field("name", self.state().name())
            .field("live_keys", &self.live_keys())
            .field("overflowed", &self.overflowed())
            .field("rejected", &self.rejected())
            .finish()
    }
}
