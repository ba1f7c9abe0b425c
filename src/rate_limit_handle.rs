use std::time::Duration;

use crate::{rate_limit::WindowRateLimitHandle, shared::SharedRateLimitHandle};

/// A handle of a rate limit: of one of this process, or of one that many processes share.
///
/// Made of either by `From`, for layers that take both:
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::{RateLimitHandle, WindowRateLimitLayer};
///
/// let limit = WindowRateLimitLayer::new(100, Duration::from_secs(1));
/// assert!(matches!(RateLimitHandle::from(limit.handle()), RateLimitHandle::Window(_)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RateLimitHandle {
    /// Of a limit of this process.
    Window(WindowRateLimitHandle),
    /// Of a limit that many processes [share](crate::shared).
    Shared(SharedRateLimitHandle),
}

impl From<WindowRateLimitHandle> for RateLimitHandle {
    fn from(handle: WindowRateLimitHandle) -> Self {
        Self::Window(handle)
    }
}

impl From<SharedRateLimitHandle> for RateLimitHandle {
    fn from(handle: SharedRateLimitHandle) -> Self {
        Self::Shared(handle)
    }
}

impl RateLimitHandle {
    /// Pauses the limit for `wait` from now. A shared one is paused in this process.
    pub(crate) fn pause_for(&self, wait: Duration) {
        match self {
            Self::Window(handle) => handle.pause_for(wait),
            Self::Shared(handle) => handle.pause_for(wait),
        }
    }

    /// Reads the state for headers, of one moment.
    #[cfg(feature = "server")]
    pub(crate) fn standing(&self) -> Standing {
        match self {
            Self::Window(handle) => {
                let reading = handle.read();
                let reset = if reading.remaining == 0 { reading.wait } else { reading.reset };
                Standing {
                    limit: reading.limit,
                    window: reading.length,
                    remaining: reading.remaining,
                    // A closed limit has no next permit, so there is no time to tell.
                    reset: (!reading.is_closed).then_some(reset),
                }
            }
            Self::Shared(handle) => handle.standing(),
        }
    }
}

/// The state of a rate limit, for headers.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) window: Duration,
    /// The number of requests that could be issued now.
    pub(crate) remaining: u32,
    /// The time within which no more than these can be issued; `None` at a closed limit.
    pub(crate) reset: Option<Duration>,
}
