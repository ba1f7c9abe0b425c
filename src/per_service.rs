//! A limit for each service.

use tower_layer::Layer;

/// Makes a limit of its own for every service that is layered.
///
/// Made by `per_service()` of a limiting layer. Clones of one service still share their limit.
///
/// A service that is layered again has a new limit. An axum `Router` layers its handlers for each
/// connection, or each request, until it is given its state: call `with_state` after `layer`.
///
/// ```
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// use tower_floodgate::ConcurrencyBackpressureLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let echo = service_fn(|n: u32| async move { Ok::<_, std::convert::Infallible>(n) });
/// let layer = ConcurrencyBackpressureLayer::new(1).per_service();
/// let (mut one, mut other) = (layer.layer(echo), layer.layer(echo));
///
/// one.ready().await.unwrap();
/// other.ready().await.unwrap(); // a permit of its own
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PerService<L>(L);

/// A layer that can be copied with a limit of its own.
pub(crate) trait Separate {
    fn separate(&self) -> Self;
}

impl<L> PerService<L> {
    pub(crate) const fn new(layer: L) -> Self {
        Self(layer)
    }
}

#[allow(private_bounds, reason = "the layers of this crate, and no others")]
impl<L: Separate + Layer<S>, S> Layer<S> for PerService<L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> L::Service {
        self.0.separate().layer(inner)
    }
}
