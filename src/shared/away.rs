//! The behaviour while the store is away, and the state of an outage.

use std::{sync::Arc, time::Duration};

use crate::{rate_limit::RateLimiter, time::Nanos};

/// The behaviour of requests while the store does not reply.
///
/// The store is *away* from the first request to it that fails, or has no reply in time, until the
/// next good reply. Permits that are leased stay usable until their deadline, in every mode. Until
/// that first request has failed, calls wait for it, up to the
/// [timeout](super::SharedWindow::request_timeout).
///
/// Probes are sent to the store one at a time, each after a random time of 5 ms up to a bound,
/// which doubles from 50 ms to 1 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Away {
    /// Fails closed: requests wait, up to `max_wait`, and are rejected as
    /// [unavailable](crate::Rejected::is_unavailable) then. One whose `max_wait` ends before the
    /// next probe is rejected at once. The limit holds.
    ///
    /// For clients of an API that bans those that exceed its quota.
    Closed,
    /// Fails open: requests are issued without a limit, and counted. **The limit does not hold.**
    ///
    /// For servers that prefer to answer.
    Open,
    /// Each process has a limit of its own: that of the quota divided by `processes`, rounded down,
    /// in a sliding window. If more processes run, they issue more than the limit.
    /// [`max_share`](super::SharedWindow::max_share) has no effect on it.
    ///
    /// While some processes reach the store and others do not, the former lease up to the limit,
    /// and each of the latter issues its share: up to twice the limit in any window, for as long as
    /// that lasts. The same holds for windows that contain the begin or the end of an outage of
    /// all.
    Share {
        /// The number of processes of the fleet, at least 1 and at most the limit.
        processes: u32,
    },
}

/// The shortest and the longest time until the next probe.
const FIRST_PROBE: Duration = Duration::from_millis(50);
const MAX_PROBE: Duration = Duration::from_secs(1);

/// The times of probes, with backoff.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    next_probe: Nanos,
    /// Requests that have failed.
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next_probe: Nanos::ZERO, failures: 0 }
    }
}

impl Backoff {
    pub(super) const fn next_probe(&self) -> Nanos {
        self.next_probe
    }

    /// Records that a request has failed.
    pub(super) fn failed(&mut self, now: Nanos) {
        self.failures = self.failures.saturating_add(1);
        self.draw(now);
    }

    /// Draws the time of the next probe.
    pub(super) fn draw(&mut self, now: Nanos) {
        let doublings = self.failures.saturating_sub(1).min(10);
        let longest = FIRST_PROBE.saturating_mul(1 << doublings).min(MAX_PROBE);
        // Full jitter, so that the processes of a fleet do not probe at once. The least wait keeps
        // a random number near zero from a probe right behind the failure.
        let wait = longest.mul_f64(fastrand::f64()).max(FIRST_PROBE / 10);
        self.next_probe = now.after(wait);
    }

    /// Lets the next probe be sent at `at`.
    pub(super) fn probe_at(&mut self, at: Nanos) {
        self.next_probe = at;
    }
}

/// The state while the store is away.
pub(super) struct Outage {
    pub(super) since: Nanos,
    pub(super) backoff: Backoff,
    /// A request of the quota itself has failed, and not those of others only.
    pub(super) has_failed: bool,
    /// The limit of this process alone.
    pub(super) local: Option<Arc<RateLimiter>>,
}
