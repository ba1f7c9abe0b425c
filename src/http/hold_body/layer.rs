use tower_layer::Layer;

use super::HoldBody;
use crate::{
    ConcurrencyBackpressure, ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    PerService,
    answer::{Answer, Wait},
    per_service::Anew,
};

/// Bounds the requests in flight, their answers' bodies included. See the
/// [module](crate::http::hold_body).
///
/// Made by [`ConcurrencyBackpressureLayer::until_body_ends`]; shares the limit with the layer it was made of.
#[derive(Clone, Debug)]
pub struct HoldBodyLayer<A = Wait>(ConcurrencyBackpressureLayer<A>);

impl<A> ConcurrencyBackpressureLayer<A> {
    /// Counts a request as in flight until its response's **body** has ended, failed, or is dropped, rather
    /// than until the response future has. For services that answer with [`http::Response`]; comes after the
    /// bounds and the answer. With the feature `http`. See [`hold_body`](crate::http::hold_body).
    #[must_use]
    pub fn until_body_ends(self) -> HoldBodyLayer<A> {
        HoldBodyLayer(self)
    }
}

impl<A: Answer> HoldBodyLayer<A> {
    /// A handle that reads and steers the limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle<A::Outcome> {
        self.0.handle()
    }

    /// Makes a limit of its own for every service it is put on.
    ///
    /// A [`handle`](Self::handle) taken before reads and steers none of them.
    #[must_use]
    pub fn per_service(self) -> PerService<Self> {
        PerService::new(self)
    }
}

impl<A: Clone> Anew for HoldBodyLayer<A> {
    fn anew(&self) -> Self {
        Self(self.0.anew())
    }
}

impl<A: Clone, S> Layer<S> for HoldBodyLayer<A> {
    type Service = HoldBody<ConcurrencyBackpressure<S, A>>;

    fn layer(&self, inner: S) -> Self::Service {
        HoldBody::new(self.0.layer(inner))
    }
}
