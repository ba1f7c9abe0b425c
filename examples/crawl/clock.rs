//! The clock of all times in the log.

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

#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn now() -> Instant {
    Instant::now()
}
