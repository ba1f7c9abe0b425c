//! The seam between limiters and the middleware in front of a service.
//!
//! A [`Limiter`] hands out permits, at once or after a wait. [`Readiness`] keeps the state of one
//! clone of a limited service between `poll_ready` and `call`. A [`Waiter`] is one wait.

mod bounds;
mod end;
mod in_flight;
#[cfg(debug_assertions)]
pub(crate) mod nested;
mod observer;
mod readiness;
mod rejecting;
mod waiter;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

#[cfg(debug_assertions)]
use self::nested::Nested;
pub(crate) use self::{
    bounds::{Bounds, QueueLimits},
    end::{End, Ends},
    in_flight::InFlight,
    observer::{Observer, RejectedCounter},
    readiness::Readiness,
    rejecting::Rejecting,
    waiter::Waiter,
};
pub use self::{
    end::{Closed, Drained},
    observer::RejectedCounts,
    rejecting::{BoundError, CloseError},
};
use crate::{
    arc_cache::{Cached, CachedArc},
    rejected::{Reason, Rejected},
    time::Clock,
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

    fn bounds(&self) -> &Bounds;

    fn rejecting(&self) -> &Rejecting;

    fn observer(&self) -> &impl Observer;

    /// Writes the fields of the limiter's settings.
    fn fmt_settings(&self, f: &mut fmt::DebugStruct<'_, '_>);

    /// Finds requests that acquire a second permit.
    #[cfg(debug_assertions)]
    fn nested(&self) -> &Nested;

    /// Describes the consequence of a second permit.
    #[cfg(debug_assertions)]
    const NESTED: &'static str;
}
