use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{limiter::RateLimiter, window::Reading};
use crate::{
    seat::RejectedCounts,
    settings::{self, InvalidSetting},
};

/// Reads and steers the limit of a [`WindowRateLimitLayer`](super::WindowRateLimitLayer).
///
/// Cheap to clone; all clones, and the layer, speak of one limit, also if the layer is bounded after the handle was
/// taken. A reading also hands out the places that have come back by then, and takes a mutex that calls take only
/// while somebody waits.
///
/// ```
/// use std::time::Duration;
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// use tower_floodgate::WindowRateLimitLayer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let layer = WindowRateLimitLayer::new(2, Duration::from_secs(10));
/// let handle = layer.handle();
/// let mut service =
///     layer.layer(service_fn(|n: u32| async move { Ok::<_, std::convert::Infallible>(n) }));
///
/// service.ready().await.unwrap().call(1).await.unwrap();
/// tokio::time::advance(Duration::from_secs(3)).await;
/// service.ready().await.unwrap().call(2).await.unwrap();
/// assert_eq!(handle.remaining(), 0);
/// assert_eq!(handle.estimated_wait(), Duration::from_secs(7));
///
/// handle.pause_for(Duration::from_secs(60)); // the server said so
/// assert_eq!(handle.estimated_wait(), Duration::from_secs(60));
/// # }
/// ```
#[derive(Clone)]
pub struct WindowRateLimitHandle {
    limiter: Arc<RateLimiter>,
}

impl WindowRateLimitHandle {
    pub(super) const fn new(limiter: Arc<RateLimiter>) -> Self {
        Self { limiter }
    }

    /// All of it at one moment.
    pub(crate) fn read(&self) -> Reading {
        self.limiter.window.read(&|| self.limiter.clock.now())
    }

    /// How many requests may be issued in a window.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.read().limit
    }

    /// How long the window is.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.read().length
    }

    /// How many requests could be issued right now: 0 while paused, and while anybody waits.
    ///
    /// A clone that is ready and not called has its place already. With limits above 256, up to 0.8 % of
    /// the places may be counted as taken longer than they are; it is never more than there is.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.read().remaining
    }

    /// How long a request that came now would wait, if those before it go as soon as they can. Zero if
    /// it could go at once.
    #[must_use]
    pub fn estimated_wait(&self) -> Duration {
        self.read().wait
    }

    /// How long until everything that is used now has come back: the window, or what is left of a fixed
    /// one. (What is reserved and not issued comes back a window after it is.)
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        self.read().reset
    }

    /// How many wait in the line.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.read().waiting
    }

    /// How many were turned away since the layer was made.
    #[must_use]
    pub fn rejected(&self) -> RejectedCounts {
        self.limiter.rejections.counts()
    }

    /// Changes how many requests may be issued in a window. More admit those who wait at once; fewer
    /// count from now on. What is reserved by then may still be issued.
    ///
    /// # Errors
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1; nothing is changed.
    pub fn set_limit(&self, limit: u32) -> Result<(), InvalidSetting> {
        let limit = settings::permits("limit", limit)?;
        self.limiter.window.set_limit(limit, &|| self.limiter.clock.now());
        Ok(())
    }

    /// Changes the length of the window, for what has been issued lately, too. (What a shorter window
    /// has let go of already is forgotten: a longer one holds for the spans that begin from now on.)
    ///
    /// # Errors
    ///
    /// If `window` is zero or longer than 100 years; nothing is changed.
    pub fn set_window(&self, window: Duration) -> Result<(), InvalidSetting> {
        let window = settings::window(window)?;
        self.limiter.window.set_length(window, &|| self.limiter.clock.now());
        Ok(())
    }

    /// Holds everybody back until `instant`, for one who was told to by the server. Moves only forward:
    /// an earlier instant than that of a pause under way changes nothing.
    ///
    /// Those who were ready before are not called back.
    pub fn pause_until(&self, instant: Instant) {
        self.limiter.pause(self.limiter.clock.read(instant));
    }

    /// [`pause_until`](Self::pause_until) `wait` from now.
    pub fn pause_for(&self, wait: Duration) {
        self.limiter.pause(self.limiter.clock.now().after(wait));
    }
}

impl fmt::Debug for WindowRateLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reading = self.read();
        f.debug_struct("WindowRateLimitHandle")
            .field("limit", &reading.limit)
            .field("window", &reading.length)
            .field("remaining", &reading.remaining)
            .field("waiting", &reading.waiting)
            .field("rejected", &self.rejected())
            .finish()
    }
}
