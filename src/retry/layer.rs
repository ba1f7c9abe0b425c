use tower::retry::Retry;
use tower_layer::Layer;

use super::{AnyError, ByClone, ExponentialRetry, NoHook};

/// Retries requests by an [`ExponentialRetry`] policy.
///
/// The counterpart of `tower::retry::RetryLayer`. Its service is tower's [`Retry`], which drives
/// the inner service to readiness before each attempt. Retries need an inner service that is
/// [`Clone`], and a tokio runtime with its timer enabled.
#[derive(Clone, Debug)]
pub struct ExponentialRetryLayer<C = AnyError, D = ByClone, H = NoHook> {
    policy: ExponentialRetry<C, D, H>,
}

impl<C, D, H> ExponentialRetryLayer<C, D, H> {
    /// Retries by `policy`.
    #[must_use]
    pub const fn new(policy: ExponentialRetry<C, D, H>) -> Self {
        Self { policy }
    }
}

impl<C: Clone, D: Clone, H: Clone, S> Layer<S> for ExponentialRetryLayer<C, D, H> {
    type Service = Retry<ExponentialRetry<C, D, H>, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(self.policy.clone(), inner)
    }
}
