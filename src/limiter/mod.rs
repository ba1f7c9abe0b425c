//! The seam between limiters and the middleware in front of a service.
//!
//! A [`Limiter`] hands out permits, at once or after a wait. [`Readiness`] keeps the state of one
//! clone of a limited service between `poll_ready` and `call`. A [`Waiter`] is one wait.

mod closing;
mod end;
mod in_flight;
#[cfg(debug_assertions)]
pub(crate) mod nested;
mod observer;
mod readiness;
mod waiter;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

#[cfg(debug_assertions)]
use self::nested::Nested;
#[cfg(feature = "metrics")]
pub(crate) use self::observer::labels;
pub use self::{
    closing::CloseError,
    end::{Closed, Drained},
    observer::{LimitCounts, RejectedCounts},
};
pub(crate) use self::{
    closing::Closing,
    end::{End, Ends},
    in_flight::InFlight,
    observer::{Event, Observer},
    readiness::Readiness,
    waiter::Waiter,
};
use crate::{
    arc_cache::{Cached, CachedArc},
    rejected::{Reason, Rejected},
    semaphore::View,
    settings::InvalidSetting,
    time::{Clock, Nanos, nanos},
};

/// A source of permits, shared by all clones of a service. Sealed.
///
/// The shape is that of tokio's semaphores and of .NET's `RateLimiter`: `poll_acquire` is all that
/// a wait needs. A permit is plain data. Its owner gives it back to the limiter that it came from,
/// by [`release`](Self::release) or [`call`](Self::call).
pub(crate) trait Limiter: Cached {
    /// The name of the layer, for messages.
    const LAYER: &'static str;

    /// A permit to proceed, acquired and not used.
    type Permit: Copy;

    /// The permit as the response holds it, released by its drop. The default holds none.
    type InFlight: Default;

    /// The kind of the limit, in metrics and traces.
    const KIND: &'static str;

    /// Acquires a permit as [`try_acquire`](Self::try_acquire) does, unless admissions are
    /// [observed](Self::observe).
    fn try_acquire_unobserved(&self) -> Option<Self::Permit>;

    /// Acquires a permit that is available without a look at deadlines and clocks.
    fn try_acquire(&self) -> Option<Self::Permit>;

    /// Acquires a permit, or queues `waiter` and registers the task to be woken.
    ///
    /// Ready means that `waiter` has left the queue. Pending waits must be
    /// [cancelled](Self::cancel) before they are dropped.
    ///
    /// # Panics
    ///
    /// If a wait needs a runtime, or its timer, and there is none.
    #[track_caller]
    fn poll_acquire(
        self: &Arc<Self>,
        waiter: &mut Waiter,
        limits: &QueueLimits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Permit, Reason>>;

    /// Ends a wait. A permit that was granted meanwhile is released.
    fn cancel(&self, waiter: Waiter);

    /// Makes the permits available that have expired, or whose waiters are gone.
    fn refill(&self);

    /// Releases a permit that was not used.
    fn release(&self, permit: Self::Permit);

    /// Runs `call`, the inner service's, on a permit.
    fn call<R>(
        limiter: &CachedArc<Self>,
        permit: Self::Permit,
        call: impl FnOnce() -> R,
    ) -> (R, Self::InFlight);

    /// Creates a rejection of this moment.
    ///
    /// `reason` is that of the readiness, which may be older. A close that came since replaces it
    /// and so does, with `limits`, the reason for which they reject a request that comes now.
    fn rejection(&self, reason: Reason, limits: Option<&QueueLimits>) -> Rejected;

    /// Creates a limiter with the same settings and no requests.
    fn separate(&self) -> Self;

    fn clock(&self) -> &Clock;

    fn closing(&self) -> &Closing;

    fn observer(&self) -> &Observer;

    /// Lets [`try_acquire_unobserved`](Self::try_acquire_unobserved) acquire no more permits.
    fn observe(&self);

    /// Names the limit, whose events are observed from now on.
    ///
    /// # Errors
    ///
    /// If the name is empty, or the limit has another one.
    fn set_name(&self, name: Arc<str>) -> Result<(), InvalidSetting> {
        self.observer().set_name(name, Self::KIND)?;
        self.observe();
        Ok(())
    }

    /// Writes the fields of the limiter's settings.
    fn fmt_settings(&self, f: &mut fmt::DebugStruct<'_, '_>);

    /// Finds requests that acquire a second permit.
    #[cfg(debug_assertions)]
    fn nested(&self) -> &Nested;

    /// Describes the consequence of a second permit.
    #[cfg(debug_assertions)]
    const NESTED: &'static str;
}

/// The limits of the queue that one layer sets. Layers that share a limiter may differ in them.
#[derive(Clone, Copy)]
pub(crate) struct QueueLimits {
    max_queue: u32,
    /// In nanoseconds, which keeps every clone of a service small. [`u64::MAX`] without a limit.
    max_wait: u64,
}

impl QueueLimits {
    pub(crate) const NONE: Self = Self { max_queue: u32::MAX, max_wait: u64::MAX };

    pub(crate) fn set_max_queue(&mut self, max_queue: u32) {
        self.max_queue = max_queue;
    }

    pub(crate) fn set_max_wait(&mut self, max_wait: Duration) {
        self.max_wait = nanos(max_wait);
    }

    /// Decides whether a new waiter may queue.
    pub(crate) fn admit(&self, view: View) -> Result<(), Reason> {
        if view.is_closed {
            return Err(Reason::Closed);
        }
        if view.ahead >= self.max_queue { Err(Reason::QueueFull) } else { Ok(()) }
    }

    /// Returns the reason for which a request is rejected that comes now and would wait for `wait`.
    pub(crate) fn rejects(&self, view: View, wait: Duration) -> Option<Reason> {
        let is_too_long = self.max_wait().is_some_and(|max_wait| wait > max_wait);
        self.admit(view).err().or(is_too_long.then_some(Reason::WaitTimeout))
    }

    /// Returns true if there is a limit, and so a reject policy.
    pub(crate) const fn is_bounded(&self) -> bool {
        self.max_queue != u32::MAX || self.max_wait != u64::MAX
    }

    /// Returns true if `max_wait` is zero.
    pub(crate) const fn has_zero_wait(&self) -> bool {
        self.max_wait == 0
    }

    /// Returns the longest wait; `None` without a limit.
    fn max_wait(&self) -> Option<Duration> {
        (self.max_wait != u64::MAX).then(|| Duration::from_nanos(self.max_wait))
    }

    pub(crate) fn fmt_fields(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        let max_queue = (self.max_queue != u32::MAX).then_some(self.max_queue);
        f.field("max_queue", &max_queue).field("max_wait", &self.max_wait());
    }

    /// Returns the deadline of a request that comes at `moment`.
    fn deadline(&self, moment: Nanos) -> Nanos {
        self.max_wait().map_or(Nanos::NEVER, |wait| moment.after(wait))
    }
}
