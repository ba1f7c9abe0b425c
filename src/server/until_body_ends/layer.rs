use tower_layer::Layer;

use super::UntilBodyEnds;
use crate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, PerService,
    backpressure::{ByRequestLayer, TermsLayer},
    keyed::{KeyedLimitLayer, KeyedQueueLayer, RuleHandle},
    per_service::Separate,
    reject::RejectPolicy,
};

/// Bounds the requests in flight, the bodies of their responses included. See the
/// [module](crate::server::until_body_ends).
///
/// Made by `until_body_ends` of [`ConcurrencyBackpressureLayer`], [`KeyedLimitLayer`] and
/// [`KeyedQueueLayer`], and shares the limit of that layer.
#[derive(Clone, Debug)]
pub struct UntilBodyEndsLayer<L = ConcurrencyBackpressureLayer>(L);

impl<A> ConcurrencyBackpressureLayer<A> {
    /// Holds the permit until the response's **body** has ended, failed, or is dropped, rather than
    /// until the response future has completed.
    ///
    /// For services that respond with [`http::Response`], and with the feature `reqwest` for
    /// reqwest's client. Comes after the bounds and the reject
    /// policy. See [`until_body_ends`](crate::server::until_body_ends). With the feature `server`.
    #[must_use]
    pub fn until_body_ends(self) -> UntilBodyEndsLayer<Self> {
        UntilBodyEndsLayer(self)
    }
}

impl<P> TermsLayer<P> {
    /// Holds the permit until the response's **body** has ended, failed, or is dropped.
    ///
    /// As [`ConcurrencyBackpressureLayer::until_body_ends`]. The [time in
    /// service](crate::backpressure#deadlines) ends with the head of the response all the same.
    /// With the feature `server`.
    #[must_use]
    pub fn until_body_ends(self) -> UntilBodyEndsLayer<Self> {
        UntilBodyEndsLayer(self)
    }
}

impl<F, P> ByRequestLayer<F, P> {
    /// Holds the permit until the response's **body** has ended, failed, or is dropped.
    ///
    /// As [`ConcurrencyBackpressureLayer::until_body_ends`]. The [time in
    /// service](crate::backpressure#deadlines) ends with the head of the response all the same.
    /// With the feature `server`.
    #[must_use]
    pub fn until_body_ends(self) -> UntilBodyEndsLayer<Self> {
        UntilBodyEndsLayer(self)
    }
}

impl<P: RejectPolicy> UntilBodyEndsLayer<TermsLayer<P>> {
    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle {
        self.0.handle()
    }
}

impl<F, P: RejectPolicy> UntilBodyEndsLayer<ByRequestLayer<F, P>> {
    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle {
        self.0.handle()
    }
}

impl<R, P> KeyedLimitLayer<R, P> {
    /// Counts a request [in flight](crate::keyed::Rule::max_in_flight) until the **body** of its
    /// response has ended, failed, or is dropped, rather than until the response future has
    /// completed.
    ///
    /// Windows and costs are those of the layer: a cost is [settled](crate::keyed::Rule::settle)
    /// with the head of the response. For services that respond with [`http::Response`], and with
    /// the feature `reqwest` for reqwest's client. Comes after the reject policy. See
    /// [`until_body_ends`](crate::server::until_body_ends). With the feature `server`.
    #[must_use]
    pub fn until_body_ends(self) -> UntilBodyEndsLayer<Self> {
        UntilBodyEndsLayer(self)
    }
}

impl<R, P> KeyedQueueLayer<R, P> {
    /// Counts a request [in flight](crate::keyed::Rule::max_in_flight) until the **body** of its
    /// response has ended, failed, or is dropped. The next request of its keys waits until then.
    ///
    /// As [`KeyedLimitLayer::until_body_ends`] otherwise. Comes after the bounds of the queue and
    /// the reject policy. With the feature `server`.
    #[must_use]
    pub fn until_body_ends(self) -> UntilBodyEndsLayer<Self> {
        UntilBodyEndsLayer(self)
    }
}

impl<A: RejectPolicy> UntilBodyEndsLayer<ConcurrencyBackpressureLayer<A>> {
    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle {
        self.0.handle()
    }

    /// Creates a separate limit for each service that the layer is put on.
    ///
    /// A [`handle`](Self::handle) taken before belongs to none of them.
    #[must_use]
    pub fn per_service(self) -> PerService<Self> {
        PerService::new(self)
    }
}

impl<R, P> UntilBodyEndsLayer<KeyedLimitLayer<R, P>> {
    /// Returns a handle of the rule with this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn handle(&self, rule: &str) -> RuleHandle {
        self.0.handle(rule)
    }
}

impl<R, P> UntilBodyEndsLayer<KeyedQueueLayer<R, P>> {
    /// Returns a handle of the rule with this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn handle(&self, rule: &str) -> RuleHandle {
        self.0.handle(rule)
    }
}

impl<A: Clone> Separate for UntilBodyEndsLayer<ConcurrencyBackpressureLayer<A>> {
    fn separate(&self) -> Self {
        Self(self.0.separate())
    }
}

impl<L: Layer<S>, S> Layer<S> for UntilBodyEndsLayer<L> {
    type Service = UntilBodyEnds<L::Service>;

    #[track_caller]
    fn layer(&self, inner: S) -> Self::Service {
        UntilBodyEnds::new(self.0.layer(inner))
    }
}
