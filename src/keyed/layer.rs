use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    handle::RuleHandle,
    pause_on_hint::PauseKeyOnHintLayer,
    rule::{IntoRules, RuleList},
    service::KeyedLimit,
    shared::Shared,
    waiting::KeyedQueueLayer,
};
use crate::{
    Rejected,
    reject::{RejectWith, RejectWithBoxError, RejectWithError},
    settings::{InvalidSetting, literal},
};

/// Limits the requests of each key. See the [module](crate::keyed).
///
/// A layer has one state. All services that it is put on, all their clones and all clones of the
/// layer share it.
///
/// By default, a rejected request fails with a `BoxError` that holds the [`Rejected`].
pub struct KeyedLimitLayer<R, P = RejectWithBoxError> {
    pub(crate) shared: Arc<Shared<R>>,
    policy: P,
}

impl<R: RuleList> KeyedLimitLayer<R> {
    /// Creates a layer of one [`Rule`](super::Rule), or of a tuple of rules that are decided
    /// together. Allocates the memory of all keys.
    ///
    /// # Panics
    ///
    /// If a rule has no limit or an empty name, two rules have the same name, a window has a
    /// smaller limit than a shorter one beside it, the plans of a rule have windows of different
    /// lengths or in another order, or the counts of its windows do not fit into a word of 61 bits:
    /// each window takes twice the bits of its largest limit plus one, and requests in flight those
    /// of theirs.
    #[must_use]
    #[track_caller]
    pub fn new(rules: impl IntoRules<Rules = R>) -> Self {
        literal(Self::try_new(rules))
    }

    /// Creates a layer as [`new`](Self::new) does, for rules that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(rules: impl IntoRules<Rules = R>) -> Result<Self, InvalidSetting> {
        let shared = Arc::new(Shared::new(rules.into_rules())?);
        Ok(Self { shared, policy: RejectWithBoxError })
    }
}

impl<R, P> KeyedLimitLayer<R, P> {
    /// Rejects with the error `E`, into which the errors of the inner service are made, too. See
    /// [`RejectWithError`].
    #[must_use]
    pub fn reject_with_error<E>(self) -> KeyedLimitLayer<R, RejectWithError<E>> {
        KeyedLimitLayer { shared: self.shared, policy: RejectWithError::new() }
    }

    /// Rejects with a response made by `respond`. The types of the error and the response stay
    /// those of the inner service. See [`RejectWith`].
    #[must_use]
    pub fn reject_with<F, Response>(self, respond: F) -> KeyedLimitLayer<R, RejectWith<F>>
    where
        F: Fn(Rejected) -> Response + Clone,
    {
        KeyedLimitLayer { shared: self.shared, policy: RejectWith::new(respond) }
    }

    /// Lets requests wait for their keys, for at most `max_wait`, in the place of a rejection.
    ///
    /// The layer shares the state of this one, and has its reject policy for requests that cannot
    /// wait. See [waiting](crate::keyed#waiting).
    #[must_use]
    pub fn wait(self, max_wait: Duration) -> KeyedQueueLayer<R, P> {
        KeyedQueueLayer::new(self.shared, self.policy, max_wait)
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

impl<R, P: Clone, S> Layer<S> for KeyedLimitLayer<R, P> {
    type Service = KeyedLimit<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedLimit::new(inner, Arc::clone(&self.shared), self.policy.clone())
    }
}

impl<R, P: Clone> Clone for KeyedLimitLayer<R, P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), policy: self.policy.clone() }
    }
}

impl<R, P: fmt::Debug> fmt::Debug for KeyedLimitLayer<R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLimitLayer")
            .field("rules", &self.shared.states)
            .field("policy", &self.policy)
            .finish()
    }
}
