use tower_layer::Layer;

use super::UntilBodyEnds;
use crate::{
    ConcurrencyBackpressure, ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    PerService,
    per_service::Separate,
    reject::{NeverReject, RejectPolicy},
};

/// Bounds the requests in flight, the bodies of their responses included. See the
/// [module](crate::server::until_body_ends).
///
/// Made by [`ConcurrencyBackpressureLayer::until_body_ends`], and shares the limit of that layer.
#[derive(Clone, Debug)]
pub struct UntilBodyEndsLayer<A = NeverReject>(ConcurrencyBackpressureLayer<A>);

impl<A> ConcurrencyBackpressureLayer<A> {
    /// Holds the permit until the response's **body** has ended, failed, or is dropped, rather than
    /// until the response future has completed.
    ///
    /// For services that respond with [`http::Response`], and with the feature `reqwest` for
    /// reqwest's client. Comes after the bounds and the reject
    /// policy. See [`until_body_ends`](crate::server::until_body_ends). With the feature `server`.
    #[must_use]
    pub fn until_body_ends(self) -> UntilBodyEndsLayer<A> {
        UntilBodyEndsLayer(self)
    }
}

impl<A: RejectPolicy> UntilBodyEndsLayer<A> {
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

impl<A: Clone> Separate for UntilBodyEndsLayer<A> {
    fn separate(&self) -> Self {
        Self(self.0.separate())
    }
}

impl<A: RejectPolicy, S> Layer<S> for UntilBodyEndsLayer<A> {
    type Service = UntilBodyEnds<ConcurrencyBackpressure<S, A>>;

    fn layer(&self, inner: S) -> Self::Service {
        UntilBodyEnds::new(self.0.layer(inner))
    }
}
