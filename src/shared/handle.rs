use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Away, SharedSnapshot,
    agent::{Agent, Terms},
    limiter::SharedLimiter,
    pool::PoolView,
    quota,
};
#[cfg(feature = "server")]
use crate::rate_limit_handle::Standing;
use crate::{
    limiter::{Closed, Drained, Event, Observer, QueueLimits, RejectedCounts},
    quota::Quota,
    settings::{self, InvalidSetting},
    time::Time,
};

/// Reads, changes, pauses and closes a shared limit in this process.
///
/// Cheap to clone. All clones, the layer and its services share one state. A reading takes a mutex
/// that calls take only if they wait. A change, a pause or a close holds for this process: the
/// others go on.
#[derive(Clone)]
pub struct SharedRateLimitHandle {
    limiter: Arc<SharedLimiter>,
    /// Of the layer or the service that it was taken from.
    limits: QueueLimits,
}

impl SharedRateLimitHandle {
    pub(super) const fn new(limiter: Arc<SharedLimiter>, limits: QueueLimits) -> Self {
        Self { limiter, limits }
    }

    /// Returns the number of requests that all processes may issue in a window.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limiter.terms().limit
    }

    /// Returns the length of the window.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.limiter.terms().window
    }

    /// Returns the limit and the window, of one moment.
    #[must_use]
    pub fn quota(&self) -> Quota {
        let Terms { limit, window, .. } = self.limiter.terms();
        Quota::checked(limit, window)
    }

    /// Returns the name of the quota in the store.
    #[must_use]
    pub fn quota_name(&self) -> &str {
        &self.limiter.quota_name
    }

    /// Returns the number of requests that could be issued now, as far as this process knows: the
    /// permits at hand, and those that were free at the latest reply of the store.
    ///
    /// It is 0 while requests wait, during a pause, and once the limit is closed. Other processes
    /// may have leased the free ones since.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        let now = self.limiter.clock().now();
        let is_paused = self.limiter.paused_until(now).is_some();
        let pool = self.limiter.pool.view(now);
        let (queued, _) = self.limiter.queue(&pool, now);
        remaining(&pool, queued, &self.limiter.agent(), is_paused)
    }

    /// Returns the time that a request would wait at least if it arrived now; zero if there is a
    /// permit at hand, or the store has to be asked. At a closed limit, it is [`Duration::MAX`].
    ///
    /// It knows of pauses, and of the permits of other processes by the latest reply of the store:
    /// they may give some back sooner.
    #[must_use]
    pub fn estimated_wait(&self) -> Duration {
        let now = self.limiter.clock().now();
        let pool = self.limiter.pool.view(now);
        if pool.is_closed {
            return Duration::MAX;
        }
        pool.expected.since(now)
    }

    /// Reads the state for headers.
    ///
    /// Permits of other processes are in use at unknown times, so the reset is the whole window, as
    /// of any sliding one. The next permit comes within the window, unless it is paused for longer.
    #[cfg(feature = "server")]
    pub(crate) fn standing(&self) -> Standing {
        let limiter = &*self.limiter;
        let now = limiter.clock().now();
        let paused = limiter.paused_until(now).map_or(Duration::ZERO, |end| end.since(now));
        let pool = limiter.pool.view(now);
        let (queued, _) = limiter.queue(&pool, now);
        let (terms, remaining) = {
            let agent = limiter.agent();
            (agent.terms(), remaining(&pool, queued, &agent, !paused.is_zero()))
        };
        let reset = match remaining {
            0 => pool.expected.since(now).min(terms.window).max(paused),
            _ => terms.window,
        };
        let reset = (!pool.is_closed).then_some(reset);
        Standing { limit: terms.limit, window: terms.window, remaining, reset }
    }

    /// Returns the number of requests that wait in this process.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.queue().0
    }

    /// Returns the time that the first request in the queue has waited; `None` for an empty queue.
    #[must_use]
    pub fn queue_age(&self) -> Option<Duration> {
        self.queue().1
    }

    fn queue(&self) -> (u32, Option<Duration>) {
        let now = self.limiter.clock().now();
        self.limiter.queue(&self.limiter.pool.view(now), now)
    }

    /// Returns the time since the store is [away](super::Away); `None` if it is not, or was never
    /// asked.
    #[must_use]
    pub fn away_for(&self) -> Option<Duration> {
        let now = self.limiter.clock().now();
        self.limiter.outage().as_ref().map(|outage| now.since(outage.since))
    }

    /// Returns the name of the limit, if it [has](super::SharedRateLimitLayer::name) one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.limiter.own_observer()?.name().map(|name| &**name)
    }

    /// Returns the state and the counts of this moment.
    #[must_use]
    pub fn snapshot(&self) -> SharedSnapshot {
        let limiter = &*self.limiter;
        let now = limiter.clock().now();
        let paused_for = limiter.paused_until(now).map_or(Duration::ZERO, |end| end.since(now));
        let (limits, away_for) = (limiter.bounds.in_force(self.limits), self.away_for());
        let pool = limiter.pool.view(now);
        let (queued, queue_age) = limiter.queue(&pool, now);
        let mut agent = limiter.agent();
        let (held, terms) = (agent.mine(now), agent.terms());
        SharedSnapshot {
            name: limiter.own_observer().and_then(Observer::name).cloned(),
            quota: Arc::clone(&limiter.quota_name),
            limit: terms.limit,
            window: terms.window,
            remaining: remaining(&pool, queued, &agent, !paused_for.is_zero()),
            free: agent.free(),
            pooled: pool.permits,
            held,
            queued,
            queue_age,
            paused_for,
            away_for,
            round_trip: agent.round_trip(),
            max_queue: limits.max_queue(),
            max_wait: limits.max_wait(),
            is_closed: pool.is_closed,
            rejected: self.rejected(),
            fleet: limiter.fleet(&pool, &agent),
            counts: limiter.own_observer().and_then(Observer::counts),
        }
    }

    /// Returns the numbers of rejections since the limit was created, by reason. Those because the
    /// store was away are in the [snapshot](Self::snapshot).
    #[must_use]
    pub fn rejected(&self) -> RejectedCounts {
        self.limiter.tally.rejected()
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn register_metrics(&self) {
        self.limiter.observed.register_metrics();
    }

    /// Changes limit and window in one step, for the leases of this process from now on. Change
    /// each process: until then, the largest limit holds, and `other_terms` counts. A share below
    /// the limit stays, and is at most the limit.
    ///
    /// Leases that were granted stay usable, and count as long as they would have. So a shorter
    /// window is used in full once those of the longer one count no more: up to 1.4 of the longer
    /// window later. Until then, little may be free. The same holds for a process that states a
    /// shorter window than the others.
    ///
    /// # Errors
    ///
    /// If the window is shorter than 100 ms or longer than 30 days. The quota stays as it was.
    pub fn set_quota(&self, quota: Quota) -> Result<(), InvalidSetting> {
        let window = quota::window(quota.window())?;
        let limit = settings::permits("limit", quota.limit())?;
        self.set_terms(Quota::checked(limit, window), |before| {
            let is_limited = before.max_share < before.limit;
            if is_limited { before.max_share.min(limit) } else { limit }
        });
        Ok(())
    }

    fn set_terms(&self, quota: Quota, max_share: impl FnOnce(Terms) -> u32) {
        let (limit, window) = (quota.limit(), quota.window());
        let mut is_other_quota = false;
        self.limiter.set_terms(|before| {
            is_other_quota = (before.limit, before.window) != (limit, window);
            Terms { limit, window, max_share: max_share(before), ..before }
        });
        if is_other_quota {
            let changed = || Event::LimitChanged { limit, window: Some(window) };
            self.limiter.observed.observer.notify(changed);
        }
    }

    /// Changes the settings that change at run time. They are valid.
    pub(crate) fn configure(
        &self,
        quota: Quota,
        max_share: Option<u32>,
        max_queue: u32,
        max_wait: Duration,
    ) {
        self.set_terms(quota, |_| max_share.unwrap_or(quota.limit()));
        self.limiter.bounds.set(Some(max_queue), Some(max_wait));
    }

    /// Returns the settings that do not change at run time.
    pub(crate) fn lasting(&self) -> Lasting {
        let limiter = &*self.limiter;
        Lasting {
            name: Arc::clone(&limiter.quota_name),
            away: limiter.away(),
            is_strict: limiter.terms().is_strict,
            request_timeout: limiter.request_timeout,
        }
    }

    /// Returns the bound of the queue that is in force; `None` without one.
    #[must_use]
    pub fn max_queue(&self) -> Option<u32> {
        self.limiter.bounds.in_force(self.limits).max_queue()
    }

    /// Returns the bound of a wait that is in force; `None` without one.
    #[must_use]
    pub fn max_wait(&self) -> Option<Duration> {
        self.limiter.bounds.in_force(self.limits).max_wait()
    }

    /// Lets at most this many requests wait, in the place of the `max_queue` of all layers of the
    /// limit. Those in the queue stay there. With `None`, the queue is unbounded.
    pub fn set_max_queue(&self, max_queue: Option<u32>) {
        self.limiter.bounds.set_max_queue(max_queue);
    }

    /// Lets a request wait for at most this time, in the place of the `max_wait` of all layers of
    /// the limit. Those in the queue keep their deadlines. With `None`, the wait is unbounded, even
    /// while the store is away.
    pub fn set_max_wait(&self, max_wait: Option<Duration>) {
        self.limiter.bounds.set_max_wait(max_wait);
    }

    /// Pauses the limit in this process until `instant`, for example because a server asks for it.
    ///
    /// A pause moves only forward: an instant before the end of the present pause has no effect.
    /// Requests that have a permit by then are issued. Permits at hand may lapse unused. A request
    /// that may not wait until the end is rejected at once.
    pub fn pause_until(&self, instant: Instant) {
        let limiter = &self.limiter;
        let until = limiter.clock().read(instant);
        if limiter.pause(until) {
            let paused = || Event::Paused { wait: until.since(limiter.clock().now()) };
            limiter.observed.observer.notify(paused);
        }
    }

    /// Pauses the limit for `wait` from now, as [`pause_until`](Self::pause_until) does.
    pub fn pause_for(&self, wait: Duration) {
        self.pause_until(self.limiter.clock().instant(self.limiter.clock().now().after(wait)));
    }

    /// Waits until no request waits for a permit in this process.
    ///
    /// New requests may arrive right after that, unless the limit is closed.
    pub fn drained(&self) -> Drained {
        Drained::new(self.limiter.clone())
    }

    /// Closes the limit in this process: rejects all waiters, and all requests from now on, as
    /// *closed*. It cannot be opened again. Permits at hand lapse unused.
    pub fn close(&self) {
        self.limiter.close();
    }

    /// Waits until the limit is closed. Completes at once if it is.
    pub fn closed(&self) -> Closed {
        Closed::new(self.limiter.clone())
    }

    /// Returns true if the limit is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.limiter.pool.is_closed()
    }
}

/// The settings that do not change at run time.
pub(crate) struct Lasting {
    pub(crate) name: Arc<str>,
    pub(crate) away: Away,
    pub(crate) is_strict: bool,
    pub(crate) request_timeout: Duration,
}

/// Returns the number of requests that could be issued, by readings of one moment.
fn remaining(pool: &PoolView, queued: u32, agent: &Agent, is_paused: bool) -> u32 {
    if queued > 0 || pool.is_closed || is_paused {
        return 0;
    }
    pool.permits.saturating_add(agent.free()).min(agent.terms().limit)
}

impl fmt::Debug for SharedRateLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SharedRateLimitHandle");
        if let Some(observer) = self.limiter.own_observer() {
            observer.fmt_name(&mut fields);
        }
        self.limiter.fmt_settings(&mut fields);
        fields
            .field("queued", &self.queued())
            .field("away_for", &self.away_for())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
