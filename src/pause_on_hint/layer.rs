use std::time::Duration;

use tower_layer::Layer;

use super::PauseOnHint;
use crate::rate_limit::WindowRateLimitHandle;

/// The default bound on a pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Lets a server's hint pause a rate limit for all callers. See the [module](crate::pause_on_hint).
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`max_pause`](Self::max_pause) | 60 s | the longest pause a server can cause |
#[derive(Clone, Debug)]
pub struct PauseOnHintLayer<H> {
    handle: WindowRateLimitHandle,
    hint: H,
    max_pause: Duration,
}

impl<H> PauseOnHintLayer<H> {
    /// Pauses the limit of `handle` for the times that `hint` reads from responses.
    #[must_use]
    pub const fn new(handle: WindowRateLimitHandle, hint: H) -> Self {
        Self { handle, hint, max_pause: MAX_PAUSE }
    }

    /// Bounds each pause, however long the server wants it.
    #[must_use]
    pub const fn max_pause(mut self, max_pause: Duration) -> Self {
        self.max_pause = max_pause;
        self
    }
}

impl<H: Clone, S> Layer<S> for PauseOnHintLayer<H> {
    type Service = PauseOnHint<S, H>;

    fn layer(&self, inner: S) -> Self::Service {
        PauseOnHint::new(inner, self.handle.clone(), self.hint.clone(), self.max_pause)
    }
}
