use std::time::Duration;

use tower_layer::Layer;

use super::{PauseOnHint, PauseOnHintHandle};
use crate::rate_limit_handle::RateLimitHandle;

/// The default bound on a pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Lets a server's hint pause a rate limit for all callers. See the [module](crate::pause_on_hint).
///
/// | setting | default | changed at run time by | |
/// | --- | --- | --- | --- |
/// | [`max_pause`](Self::max_pause) | 60 s | [`handle`](Self::handle) | the longest pause a server can cause |
#[derive(Clone, Debug)]
pub struct PauseOnHintLayer<H> {
    handle: PauseOnHintHandle,
    hint: H,
}

impl<H> PauseOnHintLayer<H> {
    /// Pauses the limit of `handle` for the times that `hint` reads from responses.
    ///
    /// The handle is a [`WindowRateLimitHandle`](crate::WindowRateLimitHandle) or a
    /// [`SharedRateLimitHandle`](crate::shared::SharedRateLimitHandle).
    #[must_use]
    pub fn new(handle: impl Into<RateLimitHandle>, hint: H) -> Self {
        Self { handle: PauseOnHintHandle::new(handle.into(), MAX_PAUSE), hint }
    }

    /// Bounds each pause, however long the server wants it.
    ///
    /// Changes this layer and none of its clones. A [`handle`](Self::handle) taken before changes
    /// it no more.
    #[must_use]
    pub fn max_pause(mut self, max_pause: Duration) -> Self {
        self.handle = self.handle.with_max_pause(max_pause);
        self
    }

    /// Returns a handle that changes the bound at run time, for this layer, its clones and their
    /// services.
    #[must_use]
    pub fn handle(&self) -> PauseOnHintHandle {
        self.handle.clone()
    }
}

impl<H: Clone, S> Layer<S> for PauseOnHintLayer<H> {
    type Service = PauseOnHint<S, H>;

    fn layer(&self, inner: S) -> Self::Service {
        PauseOnHint::new(inner, self.handle.clone(), self.hint.clone())
    }
}
