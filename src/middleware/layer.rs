use std::{fmt, sync::Arc, time::Duration};

use super::Limited;
use crate::{
    arc_cache::CachedArc,
    limiter::{Limiter, QueueLimits, Readiness},
    reject::{NeverReject, RejectPolicy},
};

/// What the layers of both limits have in common: a shared limiter, and the settings of one layer.
pub(crate) struct LimitLayer<L, P> {
    limiter: Arc<L>,
    limits: QueueLimits,
    policy: P,
}

impl<L> LimitLayer<L, NeverReject> {
    pub(crate) fn new(limiter: L) -> Self {
        Self { limiter: Arc::new(limiter), limits: QueueLimits::NONE, policy: NeverReject }
    }
}

impl<L, P> LimitLayer<L, P> {
    pub(crate) const fn limiter(&self) -> &Arc<L> {
        &self.limiter
    }

    /// Returns the bounds that the layer has set.
    pub(crate) const fn limits(&self) -> QueueLimits {
        self.limits
    }

    /// Returns the reject policy.
    pub(crate) const fn policy(&self) -> &P {
        &self.policy
    }

    /// Replaces the limiter by one that is made of it.
    pub(crate) fn with_limiter<M>(self, make: impl FnOnce(&Arc<L>) -> M) -> LimitLayer<M, P> {
        let Self { limiter, limits, policy } = self;
        LimitLayer { limiter: Arc::new(make(&limiter)), limits, policy }
    }

    pub(crate) fn with_policy<Q>(self, policy: impl FnOnce(P) -> Q) -> LimitLayer<L, Q> {
        let Self { limiter, limits, policy: before } = self;
        LimitLayer { limiter, limits, policy: policy(before) }
    }
}

impl<L, P: RejectPolicy> LimitLayer<L, P> {
    pub(crate) fn max_queue(mut self, max_queue: u32) -> LimitLayer<L, P::Bounded> {
        self.limits.set_max_queue(Some(max_queue));
        self.with_policy(P::bounded)
    }

    pub(crate) fn max_wait(mut self, max_wait: Duration) -> LimitLayer<L, P::Bounded> {
        self.limits.set_max_wait(Some(max_wait));
        self.with_policy(P::bounded)
    }
}

impl<L: Limiter, P: Clone> LimitLayer<L, P> {
    /// Returns a layer with the same settings and name, and a limiter of its own.
    pub(crate) fn separate(&self) -> Self {
        let limiter = self.limiter.separate();
        if let Some(name) = self.limiter.observer().name() {
            limiter.set_name(Arc::clone(name)).expect("a limiter without a name takes any");
        }
        Self { limiter: Arc::new(limiter), ..self.clone() }
    }

    /// # Panics
    ///
    /// If the limit is closed or bounded by a handle, and the layer has no reject policy.
    #[track_caller]
    pub(crate) fn layer<S>(&self, inner: S) -> Limited<S, L, P>
    where
        P: RejectPolicy,
    {
        if P::NEVER_REJECTS {
            self.limiter.rejecting().forbid(L::LAYER);
        }
        let limiter = CachedArc::new(Arc::clone(&self.limiter));
        Limited::new(inner, Readiness::new(limiter, self.limits), self.policy.clone())
    }
}

impl<L, P: Clone> Clone for LimitLayer<L, P> {
    fn clone(&self) -> Self {
        let limiter = Arc::clone(&self.limiter);
        Self { limiter, limits: self.limits, policy: self.policy.clone() }
    }
}

impl<L: Limiter, P: fmt::Debug> fmt::Debug for LimitLayer<L, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct(L::LAYER);
        self.limiter.observer().fmt_name(&mut fields);
        self.limiter.fmt_settings(&mut fields);
        self.limits.fmt_fields(&mut fields);
        fields.field("policy", &self.policy).finish()
    }
}
