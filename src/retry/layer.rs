use std::fmt;

use tower::retry::Retry;
use tower_layer::Layer;

use super::{
    AnyError, ByClone, ExponentialRetry, ExponentialRetryHandle, NoHook, Observed, Unobserved,
};

/// Retries requests by an [`ExponentialRetry`] policy.
///
/// The counterpart of `tower::retry::RetryLayer`. Its service is tower's [`Retry`], which drives
/// the inner service to readiness before each attempt. Retries need an inner service that is
/// [`Clone`], and a tokio runtime with its timer enabled.
#[derive(Clone)]
pub struct ExponentialRetryLayer<C = AnyError, D = ByClone, H = NoHook, O = Unobserved> {
    policy: ExponentialRetry<C, D, H, O>,
}

impl<C, D, H, O> ExponentialRetryLayer<C, D, H, O> {
    /// Retries by `policy`.
    #[must_use]
    pub const fn new(policy: ExponentialRetry<C, D, H, O>) -> Self {
        Self { policy }
    }
}

/// Of a policy with a [name](ExponentialRetry::name).
impl<C, D, H> ExponentialRetryLayer<C, D, H, Observed> {
    /// Returns a handle of the policy.
    #[must_use]
    pub fn handle(&self) -> ExponentialRetryHandle {
        self.policy.handle()
    }
}

impl<C: Clone, D: Clone, H: Clone, O: Clone, S> Layer<S> for ExponentialRetryLayer<C, D, H, O> {
    type Service = Retry<ExponentialRetry<C, D, H, O>, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(self.policy.clone(), inner)
    }
}

impl<C, D, H, O> fmt::Debug for ExponentialRetryLayer<C, D, H, O>
where
    ExponentialRetry<C, D, H, O>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExponentialRetryLayer").field("policy", &self.policy).finish()
    }
}
