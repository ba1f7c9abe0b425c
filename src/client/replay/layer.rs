use tower_layer::Layer;

use super::Replay;

/// How much of a body is kept, unless set otherwise.
const MAX_BYTES: usize = 64 * 1024;

/// Makes request bodies such that they can be sent again. Stands outside the retry. See the
/// [module](crate::http::replay).
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`max_bytes`](Self::max_bytes) | 64 KiB | how much of each body is kept |
#[derive(Clone, Copy, Debug)]
pub struct ReplayLayer {
    max_bytes: usize,
}

impl ReplayLayer {
    /// Keeps up to 64 KiB of each body.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_bytes: MAX_BYTES }
    }

    /// Keeps up to so many bytes of each body; a longer one is sent once. With 0 only empty bodies are sent again.
    #[must_use]
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Replay<S> {
        Replay::new(inner, self.max_bytes)
    }
}
