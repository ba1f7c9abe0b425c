use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use super::{rule::state::RuleState, states::States};

/// A handle of a rule: reads its keys, and forgets them. Cheap to clone.
///
/// A key is given as the value that the rule's [`Key`](super::Key) feeds to the hasher: for a
/// closure, the value that it returns. Of a value with another hash, the handle finds no key.
#[derive(Clone)]
pub struct RuleHandle {
    states: Arc<States>,
    index: usize,
}

impl RuleHandle {
    /// Returns the handle of the rule with this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub(super) fn of(states: &Arc<States>, rule: &str) -> Self {
        match states.iter().position(|state| **state.name() == *rule) {
            Some(index) => Self { states: Arc::clone(states), index },
            None => {
                let names: Vec<_> = states.iter().map(|state| &**state.name()).collect();
                panic!("there is no rule {rule:?}: the layer has {names:?}")
            }
        }
    }

    pub(crate) fn state(&self) -> &RuleState {
        &self.states[self.index]
    }

    fn read(&self, plan: usize, key: impl Hash) -> (u32, Option<Duration>) {
        let mut now = self.states.now();
        let read = self.state().remaining(plan, self.state().hash(key), &mut now);
        self.states.tell(self.index, now.take_freed());
        read
    }

    /// Returns the number of requests of a key that could be issued now by all windows, in the
    /// first plan. Acquires nothing, and makes no room for a key.
    ///
    /// Requests in flight do not count; a rule without windows returns `u32::MAX`. Of a key without
    /// a slot, it is the rest of the overflow that the key would share.
    #[must_use]
    pub fn remaining(&self, key: impl Hash) -> u32 {
        self.remaining_in(0, key)
    }

    /// Returns the number as [`remaining`](Self::remaining) does, in the plan of this index.
    #[must_use]
    pub fn remaining_in(&self, plan: usize, key: impl Hash) -> u32 {
        self.read(plan, key).0
    }

    /// Returns the time until all windows have room for a request of a key, in the first plan.
    /// `None` if they have now.
    #[must_use]
    pub fn time_until_room(&self, key: impl Hash) -> Option<Duration> {
        self.read(0, key).1
    }

    /// Forgets what a key has used. Requests of the key that are about to be issued, or in flight,
    /// still count.
    ///
    /// Has no effect on a key that shares an overflow.
    pub fn forget(&self, key: impl Hash) {
        let freed = self.state().table().forget(self.state().hash(key));
        self.states.tell(self.index, freed);
    }

    /// Returns the number of keys that hold a permit, or have a request in flight, by looking at
    /// all of them.
    #[must_use]
    pub fn live_keys(&self) -> usize {
        let mut now = self.states.now();
        let live = self.state().live_keys(&mut now);
        self.states.tell(self.index, now.take_freed());
        live
    }

    /// Returns the number of requests that [wait](super::KeyedLimitLayer::wait) at this rule.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.states.queued_at(self.index)
    }

    /// Returns the number of requests that were decided in an overflow, because the table was full
    /// of live keys.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.state().table().overflowed()
    }

    /// Returns true if the rule admits every request: see [`Rule::dry_run`](super::Rule::dry_run).
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.state().is_dry_run()
    }

    /// Begins or ends a dry run, for requests that are decided later. What was counted before
    /// holds: at the end of a dry run, a key has used what its requests have acquired.
    ///
    /// A request that waits goes on waiting for its turn.
    pub fn set_dry_run(&self, is_dry_run: bool) {
        self.state().set_dry_run(is_dry_run);
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
            .field("queued", &self.queued())
            .finish()
    }
}
