use tower_layer::Layer;

use super::Exempt;

/// Puts a layer on a service that some requests bypass. See the [module](crate::exempt).
#[derive(Clone, Debug)]
pub struct ExemptLayer<F, L> {
    exempt: F,
    layer: L,
}

impl<F, L> ExemptLayer<F, L> {
    /// Lets the requests for which `exempt` returns true bypass `layer`.
    ///
    /// `exempt` is a `Fn(&Request) -> bool`, called once for each call; annotate its argument.
    #[must_use]
    pub const fn new(exempt: F, layer: L) -> Self {
        Self { exempt, layer }
    }
}

impl<F: Clone, L: Layer<S>, S: Clone> Layer<S> for ExemptLayer<F, L> {
    type Service = Exempt<S, L::Service, F>;

    fn layer(&self, inner: S) -> Self::Service {
        let layered = self.layer.layer(inner.clone());
        Exempt::new(inner, layered, self.exempt.clone())
    }
}
