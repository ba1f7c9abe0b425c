use std::{fmt, marker::PhantomData};

use tower_layer::Layer;

use super::AttemptSpan;
use crate::client::PlainError;

/// Opens a span for each attempt. Stands inside the retry. See the
/// [module](crate::client::attempt_span).
///
/// `M` is inferred from the error type of the service, as that of
/// [`HttpClassifier`](crate::client::HttpClassifier) is.
pub struct AttemptSpanLayer<M = PlainError> {
    errors: PhantomData<fn() -> M>,
}

impl<M> AttemptSpanLayer<M> {
    /// Opens a span for each attempt.
    #[must_use]
    pub const fn new() -> Self {
        Self { errors: PhantomData }
    }
}

impl<M> Default for AttemptSpanLayer<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// For any `M`.
impl<M> Clone for AttemptSpanLayer<M> {
    fn clone(&self) -> Self {
        *self
    }
}

/// For any `M`.
impl<M> Copy for AttemptSpanLayer<M> {}

impl<M> fmt::Debug for AttemptSpanLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttemptSpanLayer")
    }
}

impl<S, M> Layer<S> for AttemptSpanLayer<M> {
    type Service = AttemptSpan<S, M>;

    fn layer(&self, inner: S) -> AttemptSpan<S, M> {
        AttemptSpan::new(inner)
    }
}
