use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{queue::QueueBounds, service::KeyedQueue};
use crate::{
    Rejected,
    keyed::{
        handle::RuleHandle, pause_on_hint::PauseKeyOnHintLayer, rule::RuleList, shared::Shared,
    },
    reject::{RejectWith, RejectWithBoxError, RejectWithError},
};

/// Limits the requests of each key, which wait for their turn. See
/// [waiting](crate::keyed#waiting).
///
/// Made by [`KeyedLimitLayer::wait`](crate::keyed::KeyedLimitLayer::wait). All services that it is
/// put on, all their clones and all clones of the layer share one state.
pub struct KeyedQueueLayer<R, P = RejectWithBoxError> {
    shared: Arc<Shared<R>>,
    policy: P,
    bounds: QueueBounds,
}

impl<R, P> KeyedQueueLayer<R, P> {
    pub(in crate::keyed) const fn new(
        shared: Arc<Shared<R>>,
        policy: P,
        max_wait: Duration,
    ) -> Self {
        let bounds = QueueBounds { max_wait, max_queue_per_key: 100, max_queue: 10_000 };
        Self { shared, policy, bounds }
    }

    /// Lets at most this many requests of a key wait. By default, 100.
    ///
    /// The key is that of the first rule that has one for the request. Requests without any key
    /// count as those of one key.
    #[must_use]
    pub const fn max_queue_per_key(mut self, max_queue_per_key: u32) -> Self {
        self.bounds.max_queue_per_key = max_queue_per_key;
        self
    }

    /// Lets at most this many requests wait, of all keys together. By default, 10,000.
    ///
    /// A request that waits takes up to half a kibibyte besides its own future. The memory is freed
    /// when no request waits.
    #[must_use]
    pub const fn max_queue(mut self, max_queue: u32) -> Self {
        self.bounds.max_queue = max_queue;
        self
    }

    /// Rejects with the error `E`, into which the errors of the inner service are made, too. See
    /// [`RejectWithError`].
    #[must_use]
    pub fn reject_with_error<E>(self) -> KeyedQueueLayer<R, RejectWithError<E>> {
        let Self { shared, bounds, .. } = self;
        KeyedQueueLayer { shared, bounds, policy: RejectWithError::new() }
    }

    /// Rejects with a response made by `respond`. The types of the error and the response stay
    /// those of the inner service. See [`RejectWith`].
    #[must_use]
    pub fn reject_with<F, Response>(self, respond: F) -> KeyedQueueLayer<R, RejectWith<F>>
    where
        F: Fn(Rejected) -> Response + Clone,
    {
        let Self { shared, bounds, .. } = self;
        KeyedQueueLayer { shared, bounds, policy: RejectWith::new(respond) }
    }

    /// Returns a handle of the rule with this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn handle(&self, rule: &str) -> RuleHandle {
        RuleHandle::of(&self.shared.states, rule)
    }

    /// Makes a layer that pauses the key of a request, at the rule with this name, for the time
    /// that `hint` reads from the response: see [pauses](crate::keyed#pauses).
    ///
    /// Put it inside the limit, next to the client, so that it sees each attempt.
    ///
    /// # Panics
    ///
    /// If there is no such rule.
    #[must_use]
    #[track_caller]
    pub fn pause_on_hint<H>(&self, rule: &str, hint: H) -> PauseKeyOnHintLayer<R, H>
    where
        R: RuleList,
    {
        PauseKeyOnHintLayer::new(&self.shared, rule, hint)
    }
}

impl<R, P: Clone, S> Layer<S> for KeyedQueueLayer<R, P> {
    type Service = KeyedQueue<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedQueue::new(inner, Arc::clone(&self.shared), self.policy.clone(), self.bounds)
    }
}

impl<R, P: Clone> Clone for KeyedQueueLayer<R, P> {
    fn clone(&self) -> Self {
        let Self { shared, policy, bounds } = self;
        Self { shared: Arc::clone(shared), policy: policy.clone(), bounds: *bounds }
    }
}

impl<R, P: fmt::Debug> fmt::Debug for KeyedQueueLayer<R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("KeyedQueueLayer");
        fields.field("rules", &self.shared.states);
        self.bounds.fmt_fields(&mut fields);
        fields.field("policy", &self.policy).finish()
    }
}
