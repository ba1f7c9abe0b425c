use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::PauseKeyOnHint;
use crate::keyed::{rule::RuleList, shared::Shared};

/// The default bound on a pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Lets a server's hint pause the key of the request that it responds to, and no other.
///
/// Made by `pause_on_hint` of a [`KeyedLimitLayer`](crate::keyed::KeyedLimitLayer::pause_on_hint)
/// or a [`KeyedQueueLayer`](crate::keyed::KeyedQueueLayer::pause_on_hint). The key is that of the
/// rule. Each request hashes it once more.
///
/// The pause is one of the [handle](crate::keyed::RuleHandle::pause_for): it moves only forward, and
/// holds back no request that was admitted before. A key without a slot in a full table is not
/// paused, nor are requests without a key. A response future that is dropped pauses nothing.
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`max_pause`](Self::max_pause) | 60 s | the longest pause that a server can cause |
pub struct PauseKeyOnHintLayer<R, H> {
    shared: Arc<Shared<R>>,
    rule: usize,
    hint: H,
    max_pause: Duration,
}

impl<R: RuleList, H> PauseKeyOnHintLayer<R, H> {
    /// Creates a layer for the rule with this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub(in crate::keyed) fn new(shared: &Arc<Shared<R>>, rule: &str, hint: H) -> Self {
        let rule = shared.states.index_of(rule);
        Self { shared: Arc::clone(shared), rule, hint, max_pause: MAX_PAUSE }
    }
}

impl<R, H> PauseKeyOnHintLayer<R, H> {
    /// Bounds each pause, however long the server wants it. After it, requests are issued again.
    #[must_use]
    pub const fn max_pause(mut self, max_pause: Duration) -> Self {
        self.max_pause = max_pause;
        self
    }
}

impl<R, H: Clone, S> Layer<S> for PauseKeyOnHintLayer<R, H> {
    type Service = PauseKeyOnHint<S, R, H>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { shared, rule, hint, max_pause } = self;
        PauseKeyOnHint::new(inner, Arc::clone(shared), *rule, hint.clone(), *max_pause)
    }
}

impl<R, H: Clone> Clone for PauseKeyOnHintLayer<R, H> {
    fn clone(&self) -> Self {
        let Self { shared, rule, hint, max_pause } = self;
        let (shared, hint) = (Arc::clone(shared), hint.clone());
        Self { shared, rule: *rule, hint, max_pause: *max_pause }
    }
}

impl<R, H: fmt::Debug> fmt::Debug for PauseKeyOnHintLayer<R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseKeyOnHintLayer")
            .field("rule", &self.shared.states[self.rule].name())
            .field("hint", &self.hint)
            .field("max_pause", &self.max_pause)
            .finish()
    }
}
