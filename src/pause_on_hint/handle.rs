use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{rate_limit_handle::RateLimitHandle, time::nanos};

/// Reads and changes the bound on the pauses of a
/// [`PauseOnHintLayer`](super::PauseOnHintLayer).
///
/// Cheap to clone. All clones, the layer it was taken from, the clones of that layer and their
/// services share one bound.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::{PauseOnHintLayer, WindowRateLimitLayer};
///
/// let limit = WindowRateLimitLayer::new(100, Duration::from_secs(1));
/// let hint = |_: &Result<u16, std::io::Error>| Some(Duration::from_secs(20));
/// let handle = PauseOnHintLayer::new(limit.handle(), hint).handle();
/// assert_eq!(handle.max_pause(), Duration::from_secs(60));
/// handle.set_max_pause(Duration::from_secs(5));
/// ```
#[derive(Clone)]
pub struct PauseOnHintHandle(Arc<Shared>);

/// The parts that are the same for all services of a layer, behind the one reference that each call
/// clones.
struct Shared {
    limit: RateLimitHandle,
    /// In nanoseconds. Relaxed: it orders nothing.
    max_pause: AtomicU64,
}

impl PauseOnHintHandle {
    pub(super) fn new(limit: RateLimitHandle, max_pause: Duration) -> Self {
        Self(Arc::new(Shared { limit, max_pause: AtomicU64::new(nanos(max_pause)) }))
    }

    /// Returns the same with another bound, of its own.
    pub(super) fn with_max_pause(&self, max_pause: Duration) -> Self {
        Self::new(self.0.limit.clone(), max_pause)
    }

    /// Returns the longest pause that a server can cause.
    #[must_use]
    pub fn max_pause(&self) -> Duration {
        Duration::from_nanos(self.0.max_pause.load(Relaxed))
    }

    /// Bounds each pause, by hints of responses that complete from now on.
    ///
    /// A pause that has begun stays as long as it is. Bounds above 584 years are that long.
    pub fn set_max_pause(&self, max_pause: Duration) {
        self.0.max_pause.store(nanos(max_pause), Relaxed);
    }

    /// Pauses the limit for the time of a hint.
    pub(super) fn pause(&self, hint: Duration) {
        self.0.limit.pause_for(hint.min(self.max_pause()));
    }
}

impl fmt::Debug for PauseOnHintHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseOnHintHandle")
            .field("limit", &self.0.limit)
            .field("max_pause", &self.max_pause())
            .finish()
    }
}
