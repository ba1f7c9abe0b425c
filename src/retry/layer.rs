use tower::retry::Retry;
use tower_layer::Layer;

use super::{AnyError, ByClone, ExponentialRetry};

/// Retries requests by an [`ExponentialRetry`] policy.
///
/// The counterpart of `tower::retry::RetryLayer`. Its service is tower's [`Retry`], which drives
/// the inner service to readiness before each attempt. Retries need an inner service that is
/// [`Clone`], and a tokio runtime with its timer enabled.
#[derive(Clone, Debug)]
pub struct ExponentialRetryLayer<C = AnyError, D = ByClone> {
    policy: ExponentialRetry<C, D>,
}

impl<C, D> ExponentialRetryLayer<C, D> {
    /// Retries by `policy`.
    #[must_use]
    pub const fn new(policy: ExponentialRetry<C, D>) -> Self {
        Self { policy }
    }
}

impl<C: Clone, D: Clone, S> Layer<S> for ExponentialRetryLayer<C, D> {
    type Service = Retry<ExponentialRetry<C, D>, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(self.policy.clone(), inner)
    }
}
