use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{ByRequest, TermsBackpressure, limiter::TermsLimiter, shares::Shares};
use crate::{
    arc_cache::CachedArc,
    backpressure::{ConcurrencyBackpressureHandle, limiter::ConcurrencyLimiter},
    macros::shared_by_layers,
    middleware::LimitLayer,
    per_service::Separate,
    reject::{RejectPolicy, RejectWithBoxError},
    settings::{InvalidSetting, literal},
};

/// Bounds the requests in flight as [`ConcurrencyBackpressureLayer`] does, for requests with terms
/// that are set on a service.
///
/// Made by [`with_terms`](crate::ConcurrencyBackpressureLayer::with_terms).
///
/// [`ConcurrencyBackpressureLayer`]: crate::ConcurrencyBackpressureLayer
#[derive(Clone)]
pub struct TermsLayer<P = RejectWithBoxError>(LimitLayer<TermsLimiter, P>);

/// Bounds the requests in flight as [`ConcurrencyBackpressureLayer`] does, and reads the terms of
/// each request.
///
/// Made by [`by_request`](crate::ConcurrencyBackpressureLayer::by_request).
///
/// [`ConcurrencyBackpressureLayer`]: crate::ConcurrencyBackpressureLayer
#[derive(Clone)]
pub struct ByRequestLayer<F, P = RejectWithBoxError>(LimitLayer<TermsLimiter, P>, F);

/// Returns the layer of a limiter for requests with terms.
fn on_terms<P: RejectPolicy>(
    layer: LimitLayer<ConcurrencyLimiter, P>,
) -> LimitLayer<TermsLimiter, P::Bounded> {
    layer
        .with_policy(P::bounded)
        .with_limiter(|limiter| TermsLimiter::new(Arc::clone(limiter), Shares::DEFAULT))
}

/// The methods of both layers. One that reads its requests names the field of its reader.
macro_rules! of_terms {
    ($($index:tt)?) => {
        /// Sets the shares of `max_queue` up to which each class may queue: 1, 1/2 and 1/4 by
        /// default.
        ///
        /// A class may join the queue while that is shorter than its share, which is rounded down,
        /// and at least 1 where `max_queue` is. The longer wait by which a class is
        /// [judged](crate::backpressure#classes) follows the share as well.
        ///
        /// # Panics
        ///
        /// If a share is 0, above 1, NaN, or above that of a class that matters more.
        #[must_use]
        #[track_caller]
        pub fn shares(self, critical: f64, normal: f64, sheddable: f64) -> Self {
            literal(self.try_shares(critical, normal, sheddable))
        }

        /// Sets the shares as [`shares`](Self::shares) does, for values that may be invalid.
        ///
        /// # Errors
        ///
        /// Where `shares` panics.
        pub fn try_shares(
            self,
            critical: f64,
            normal: f64,
            sheddable: f64,
        ) -> Result<Self, InvalidSetting> {
            let shares = Shares::new(critical, normal, sheddable)?;
            let layer = self.0.with_limiter(|limiter| limiter.with_shares(shares));
            Ok(Self(layer $(, self.$index)?))
        }

        /// Returns a handle that reads, changes and closes the limit.
        #[must_use]
        pub fn handle(&self) -> ConcurrencyBackpressureHandle {
            let limiter = Arc::clone(self.0.limiter().shared());
            ConcurrencyBackpressureHandle::new(limiter, self.0.limits())
        }
    };
}

impl<P: RejectPolicy> TermsLayer<P> {
    pub(in crate::backpressure) fn new<Q>(layer: LimitLayer<ConcurrencyLimiter, Q>) -> Self
    where
        Q: RejectPolicy<Bounded = P>,
    {
        Self(on_terms(layer))
    }

    of_terms!();
    shared_by_layers!(TermsLayer);
}

impl<P: Clone> Separate for TermsLayer<P> {
    fn separate(&self) -> Self {
        Self(self.0.separate())
    }
}

impl<P: RejectPolicy, S> Layer<S> for TermsLayer<P> {
    type Service = TermsBackpressure<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

impl<P: fmt::Debug> fmt::Debug for TermsLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<F, P: RejectPolicy> ByRequestLayer<F, P> {
    pub(in crate::backpressure) fn new<Q>(layer: LimitLayer<ConcurrencyLimiter, Q>, read: F) -> Self
    where
        Q: RejectPolicy<Bounded = P>,
    {
        Self(on_terms(layer), read)
    }

    of_terms!(1);
    shared_by_layers!(ByRequestLayer, F: 1);
}

impl<F: Clone, P: Clone> Separate for ByRequestLayer<F, P> {
    fn separate(&self) -> Self {
        Self(self.0.separate(), self.1.clone())
    }
}

impl<F: Clone, P: RejectPolicy, S> Layer<S> for ByRequestLayer<F, P> {
    type Service = ByRequest<S, F, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let limiter = CachedArc::new(Arc::clone(self.0.limiter()));
        let policy = self.0.policy().clone();
        ByRequest::new(inner, self.1.clone(), limiter, self.0.limits(), policy)
    }
}

impl<F, P: fmt::Debug> fmt::Debug for ByRequestLayer<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
