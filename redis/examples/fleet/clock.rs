//! The clock of all times.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Returns the time of the machine's monotonic clock, which all its processes share.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).expect("since the start of the machine");
    Duration::new(seconds, u32::try_from(now.tv_nsec).expect("less than a second"))
}

#[allow(clippy::disallowed_methods, reason = "the course of the example is in real time")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
