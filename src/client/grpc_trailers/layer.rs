use std::time::Duration;

use tower_layer::Layer;

use super::GrpcTrailers;

/// The default bound on the wait for the first frame.
const MAX_WAIT: Duration = Duration::from_millis(10);

/// Moves a gRPC status that directly follows the head of a response into the head. See the
/// [module](crate::client::grpc_trailers).
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`max_wait`](Self::max_wait) | 10 ms | the longest wait for the first frame after the head |
#[derive(Clone, Copy, Debug)]
pub struct GrpcTrailersLayer {
    max_wait: Duration,
}

impl GrpcTrailersLayer {
    /// Waits up to 10 ms for the first frame.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_wait: MAX_WAIT }
    }

    /// Waits up to `max_wait` for the first frame, counted from the head.
    ///
    /// With zero, a frame is seen only if the connection has read it by the time that the head is
    /// polled. Of trailers sent together with the head, a runtime of two threads missed 5 % so.
    #[must_use]
    pub const fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }
}

impl Default for GrpcTrailersLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for GrpcTrailersLayer {
    type Service = GrpcTrailers<S>;

    fn layer(&self, inner: S) -> GrpcTrailers<S> {
        GrpcTrailers::new(inner, self.max_wait)
    }
}
