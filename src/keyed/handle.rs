use std::{error::Error, fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    observed::{Listed, RuleRejectedCounts, RuleSnapshot, TopKey},
    rule::state::{RuleState, Usage},
    states::States,
    table::Freed,
};
use crate::time::{Nanos, Time};

/// A handle of a rule: reads its keys, pauses them, and forgets them. Cheap to clone.
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
        Self { states: Arc::clone(states), index: states.index_of(rule) }
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
    /// It is 0 while the key is paused. Requests in flight do not count; a rule without windows
    /// returns `u32::MAX`. Of a key without
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

    /// Returns the time until all windows have room for a request of a key, in the first plan, and
    /// the key is not paused. `None` if that holds now.
    #[must_use]
    pub fn time_until_room(&self, key: impl Hash) -> Option<Duration> {
        self.read(0, key).1
    }

    /// Pauses a key until `instant`: see [pauses](crate::keyed#pauses). All of its requests are
    /// rejected as [paused](crate::Rejected::is_paused), or wait for the end.
    ///
    /// A pause moves only forward: an instant before the end of the present pause has no effect,
    /// nor has one that has passed. Requests that were admitted before are not held back. Of a
    /// [global](super::Rule::global) rule, all requests are paused, by the key `()`.
    ///
    /// The first pause of a rule allocates 10 bytes for each of its
    /// [`max_keys`](super::Rule::max_keys); later ones allocate nothing.
    ///
    /// # Errors
    ///
    /// If the key has no slot, and finds none: see [`TableFull`]. No key is paused then.
    #[doc(alias = "block_until")]
    #[doc(alias = "ban")]
    pub fn pause_until(&self, key: impl Hash, instant: Instant) -> Result<(), TableFull> {
        self.pause(key, self.states.clock().read(instant))
    }

    /// Pauses a key for `wait` from now, as [`pause_until`](Self::pause_until) does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    /// use tower_floodgate::{
    ///     Rejected,
    ///     keyed::{KeyedLimitLayer, Rule},
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), BoxError> {
    /// let limit = KeyedLimitLayer::new(
    ///     Rule::new("client", |client: &u32| Some(*client)).at_most(100, Duration::from_secs(1)),
    /// );
    /// let clients = limit.handle("client");
    /// let service = ServiceBuilder::new()
    ///     .layer(limit)
    ///     .service(service_fn(|client: u32| async move { Ok::<_, BoxError>(client) }));
    ///
    /// clients.pause_for(7_u32, Duration::from_secs(900))?;
    /// let error = service.clone().oneshot(7).await.unwrap_err();
    /// let rejected = Rejected::find(&*error).unwrap();
    /// assert!(rejected.is_paused());
    /// assert_eq!(rejected.retry_after_secs(), Some(900));
    /// service.clone().oneshot(8).await?;
    ///
    /// assert!(clients.resume(7_u32));
    /// service.oneshot(7).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Where `pause_until` returns one.
    #[doc(alias = "block_for")]
    #[doc(alias = "ban")]
    pub fn pause_for(&self, key: impl Hash, wait: Duration) -> Result<(), TableFull> {
        self.pause(key, self.states.clock().now().after(wait))
    }

    fn pause(&self, key: impl Hash, until: Nanos) -> Result<(), TableFull> {
        let mut now = self.states.now();
        let is_paused = self.state().pause(self.state().hash(key), until, &mut now);
        self.states.tell(self.index, now.take_freed());
        if is_paused { Ok(()) } else { Err(TableFull) }
    }

    /// Ends the pause of a key. Returns true if it was paused.
    ///
    /// Requests that wait for its end are issued as far as there is room.
    #[doc(alias = "unblock")]
    #[doc(alias = "unban")]
    pub fn resume(&self, key: impl Hash) -> bool {
        let mut now = self.states.now();
        let (was_paused, freed) = self.state().resume(self.state().hash(key), &mut now);
        self.states.tell(self.index, freed);
        was_paused
    }

    /// Returns the end of the pause of a key. `None` if it is not paused.
    #[must_use]
    pub fn paused_until(&self, key: impl Hash) -> Option<Instant> {
        let mut now = self.states.now();
        let until = self.state().paused_until(self.state().hash(key), &mut now);
        self.states.tell(self.index, now.take_freed());
        until.map(|until| self.states.clock().instant(until))
    }

    /// Forgets what a key has used. Requests of the key that are about to be issued, or in flight,
    /// still count, and a pause stays.
    ///
    /// Has no effect on a key that shares an overflow.
    pub fn forget(&self, key: impl Hash) {
        let freed = self.state().table().forget(self.state().hash(key));
        self.states.tell(self.index, freed);
    }

    /// Returns the number of keys that hold a permit, have a request in flight, or are paused, by
    /// looking at all of them.
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
    /// Requests that wait for permits of this rule go on when a dry run begins.
    pub fn set_dry_run(&self, is_dry_run: bool) {
        self.state().set_dry_run(is_dry_run);
        if is_dry_run {
            self.states.tell(self.index, Freed::Several);
        }
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
    /// for want of permits: a limit was reached, the key was paused, the table or the queue was
    /// full, or the wait was too long. Acquires nothing. Rejections in other threads meanwhile may
    /// be missed.
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

impl States {
    /// Returns the index of the rule with this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub(super) fn index_of(&self, rule: &str) -> usize {
        self.iter().position(|state| **state.name() == *rule).unwrap_or_else(|| {
            let names: Vec<_> = self.iter().map(|state| &**state.name()).collect();
            panic!("there is no rule {rule:?}: the layer has {names:?}")
        })
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

/// All slots that a key may have are held by other keys, or the key shares an overflow that cannot
/// be divided at present, because requests of it are about to be issued, in flight, or wait. So the
/// key cannot be [paused](RuleHandle::pause_until) by itself. See
/// [a full table](crate::keyed#a-full-table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableFull;

impl fmt::Display for TableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many keys at once: there is no slot for the key to be paused")
    }
}

impl Error for TableFull {}
