//! Traces of the events of a limiter, in the span of the caller.
//!
//! An event that each admitted request causes is below the level at which programs usually run. One
//! that changes what happens to requests is at INFO: a rejection, a pause, a changed limit. None is
//! a WARN, because each is the effect of a setting, and is reported to its caller.

use tracing::{debug, info, trace};

use super::Event;
use crate::class::Class;

const TARGET: &str = "tower_floodgate";

pub(super) fn record(limiter: &str, kind: &'static str, event: Event<'_>) {
    match event {
        Event::Acquired { permits } => {
            trace!(target: TARGET, limiter, kind, permits, "admitted");
        }
        Event::Queued => trace!(target: TARGET, limiter, kind, "queued"),
        Event::AcquiredAfterWait { permits, queued_for } => {
            let queued_for = queued_for.as_secs_f64();
            debug!(target: TARGET, limiter, kind, permits, queued_for, "admitted after a wait");
        }
        Event::Cancelled => debug!(target: TARGET, limiter, kind, "cancelled"),
        Event::Unused { permits } => {
            debug!(target: TARGET, limiter, kind, permits, "permits unused");
        }
        Event::Rejected(rejected) => {
            let reason = rejected.reason().name();
            let retry_after = rejected.retry_after().map(|wait| wait.as_secs_f64());
            let class = rejected.class().map(Class::name);
            info!(target: TARGET, limiter, kind, reason, class, retry_after, "rejected");
        }
        Event::LimitChanged { limit, window } => {
            let window = window.map(|window| window.as_secs_f64());
            info!(target: TARGET, limiter, kind, limit, window, "limit changed");
        }
        Event::Paused { wait } => {
            let paused_for = wait.as_secs_f64();
            info!(target: TARGET, limiter, kind, paused_for, "paused");
        }
    }
}
