use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use super::{
    observed::{Listed, RuleRejectedCounts, RuleSnapshot, TopKey},
    rule::state::{RuleState, Usage},
    states::States,
};

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

    /// Returns the number of requests that [wait](super::KeyedLimitLayer::wait) at this rule, by
    /// looking at the keys with such requests, behind the lock of the queue.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.waiting().0 as usize
    }

    /// Returns the time that the first request that waits at this rule has waited, at any rule.
    /// `None` if none waits. Takes as long as [`queued`](Self::queued).
    #[must_use]
    pub fn queue_age(&self) -> Option<Duration> {
        self.waiting().1
    }

    pub(super) fn waiting(&self) -> (u32, Option<Duration>) {
        self.states.queued_at(self.index)
    }

    /// Returns the number of requests that were decided in an overflow, because the table was full
    /// of live keys.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.state().table().overflowed()
    }

    /// Returns the number of requests that were issued with permits of this rule. `None` unless
    /// the rule [counts them](super::Rule::count_admitted).
    #[must_use]
    pub fn admitted(&self) -> Option<u64> {
        self.state().admitted()
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
        self.rejected_by_reason().total()
    }

    /// Returns the number of requests that this rule has rejected, by reason. In a dry run, of
    /// those that it would have rejected.
    #[must_use]
    pub fn rejected_by_reason(&self) -> RuleRejectedCounts {
        self.state().observed().rejected()
    }

    /// Returns the keys that are rejected most, the greatest lower bound first. Empty unless the
    /// rule [lists them](super::Rule::track_top).
    ///
    /// [`TopKey`] tells the meaning of the numbers. The list is of the requests that were rejected
    /// for want of permits: the rule was reached, the table or the queue was full, or the wait was
    /// too long. Acquires nothing. Rejections in other threads meanwhile may be missed.
    ///
    /// ```
    /// use std::{hash::{Hash, Hasher}, time::Duration};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_floodgate::keyed::{Key, KeyedLimitLayer, Rule};
    ///
    /// struct Customer;
    ///
    /// impl Key<u32> for Customer {
    ///     fn hash_key<H: Hasher>(&self, customer: &u32, state: &mut H) -> bool {
    ///         customer.hash(state);
    ///         true
    ///     }
    ///     fn label(&self, customer: &u32) -> Option<String> {
    ///         Some(format!("customer {customer}"))
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let rule = Rule::new("customer", Customer).at_most(10, Duration::from_secs(1)).track_top(5);
    /// let layer = KeyedLimitLayer::new(rule);
    /// let service = layer.layer(service_fn(|_: u32| async { Ok::<_, std::io::Error>(()) }));
    /// for _ in 0..30 {
    ///     let _ = service.clone().oneshot(7).await;
    /// }
    ///
    /// let top = layer.handle("customer").top();
    /// assert_eq!(top[0].label.as_deref(), Some("customer 7"));
    /// assert_eq!((top[0].used, top[0].limit), (10, 10));
    /// assert_eq!((top[0].rejected_at_least, top[0].rejected_at_most), (20, 20));
    /// # }
    /// ```
    #[must_use]
    pub fn top(&self) -> Vec<TopKey> {
        let Some(top) = &self.state().observed().top else { return Vec::new() };
        let mut now = self.states.now();
        let of_key = |listed: Listed| {
            let usage = self.state().usage(listed.plan, listed.key, &mut now);
            self.states.tell(self.index, now.take_freed());
            let Listed { label, id, at_least, at_most, .. } = listed;
            let Usage { used, limit, window, is_shared } = usage;
            let (rejected_at_least, rejected_at_most) = (at_least, at_most);
            TopKey {
                label,
                id,
                rejected_at_least,
                rejected_at_most,
                used,
                limit,
                window,
                is_shared,
            }
        };
        top.list(self.states.now().get()).into_iter().map(of_key).collect()
    }

    /// Returns the state and the counts of this moment.
    ///
    /// Takes as long as [`live_keys`](Self::live_keys), which looks at each slot: 1.25 times
    /// [`max_keys`](super::Rule::max_keys). So it is for a page, a scrape or a log, not for each
    /// request. The numbers are read one after another, while requests are decided.
    #[must_use]
    pub fn snapshot(&self) -> RuleSnapshot {
        RuleSnapshot::of(self)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn register_metrics(&self) {
        self.state().observed().metrics.register();
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
