//! One clock for all that is written down.

use std::time::Duration;

use tokio::time::Instant;

/// Reads the time, counted from the start of the crawl.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: now() }
    }

    pub(crate) fn now(&self) -> Duration {
        now() - self.start
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the time")]
fn now() -> Instant {
    Instant::now()
}
