use tower_layer::Layer;

use super::Replay;

/// The default bound on the kept bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Makes request bodies replayable. Stands outside the retry. See the
/// [module](crate::client::replay).
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`max_bytes`](Self::max_bytes) | 64 KiB | the bytes kept of each body |
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

    /// Keeps up to `max_bytes` of each body; a longer body is sent once.
    ///
    /// With 0, only empty bodies are sent again.
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
