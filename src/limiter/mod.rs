//! The seam between limiters and the middleware in front of a service.
//!
//! A [`Limiter`] hands out permits, at once or after a wait. [`Readiness`] keeps the state of one
//! clone of a limited service between `poll_ready` and `call`. A [`Waiter`] is one wait.

mod acquire;
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
#[cfg(feature = "metrics")]
pub(crate) use self::observer::{ADMITTED, REJECTED, labels};
pub use self::{
    acquire::AcquireManyError,
    end::{Closed, Drained},
    observer::{LimitCounts, RejectedByClass, RejectedCounts},
    rejecting::{BoundError, CloseError},
};
pub(crate) use self::{
    acquire::{Acquiring, Held, Unissued, acquire_futures, try_acquire, try_acquire_many},
    bounds::{Bounds, QueueLimits},
    end::{End, Ends},
    in_flight::InFlight,
    observer::{Event, Kind, Observer, RejectedCounter},
    readiness::Readiness,
    rejecting::Rejecting,
    waiter::Waiter,
};
use crate::{
    arc_cache::{Cached, CachedArc},
    judge::Measure,
    rejected::{Reason, Rejected},
    semaphore::View,
    settings::InvalidSetting,
    time::{Clock, Nanos, TimerUse},
};

/// A source of permits, shared by all clones of a service. Sealed.
///
/// The shape is that of tokio's semaphores and of .NET's `RateLimiter`: `poll_acquire` is all that
/// a wait needs. A permit is plain data. Its owner gives it back to the limiter that it came from,
/// by [`release`](Self::release) or [`call`](Self::call).
pub(crate) trait Limiter: Cached {
    /// The name of the layer, for messages.
    const LAYER: &'static str;

    /// A permit to proceed, acquired and not used. One that was acquired without a wait and
    /// unobserved is the default.
    type Permit: Copy + Default;

    /// The permit as the response holds it, released by its drop. The default holds none.
    type InFlight: Measure;

    /// The terms of a request, which its wait and its rejection depend on.
    type Terms: Terms;

    /// The kind of the limit.
    const KIND: Kind;

    /// Acquires a permit as [`try_acquire`](Self::try_acquire) does, unless admissions are
    /// [observed](Self::observe).
    fn try_acquire_unobserved(&self) -> bool;

    /// Acquires a permit that is available without a look at deadlines and clocks.
    fn try_acquire(&self) -> Option<Self::Permit>;

    /// Acquires `permits`, all or none, as [`try_acquire`](Self::try_acquire) does.
    fn try_acquire_many(&self, permits: u32) -> bool;

    /// Acquires `permits`, or queues `waiter` for them and registers the task to be woken. The
    /// permit that is returned stands for all of them. Each poll of a wait names the same number.
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
        permits: u32,
        limits: &QueueLimits,
        terms: &Self::Terms,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Permit, Refusal>>;

    /// Ends a wait. Permits that were granted meanwhile are released.
    fn cancel(&self, waiter: Waiter);

    /// Makes the permits available that have expired, or whose waiters are gone.
    fn refill(&self);

    /// Releases a permit that was not used.
    fn release(&self, permit: Self::Permit);

    /// Releases `permits` of a handle that were not used, or whose use has ended.
    fn release_many(&self, permits: u32);

    /// Runs `call`, the inner service's, on a permit that was acquired.
    fn call<R>(
        limiter: &CachedArc<Self>,
        terms: &Self::Terms,
        call: impl FnOnce() -> R,
    ) -> (R, Self::InFlight);

    /// Begins to measure the request that is called with this permit, if it is to be.
    ///
    /// The data of the permit that say so are taken.
    fn measure(
        limiter: &CachedArc<Self>,
        permit: &mut Self::Permit,
    ) -> Option<<Self::InFlight as Measure>::Begun>;

    /// Is told that the response of a request has come, before its permit is released. Without it,
    /// the request was abandoned.
    #[inline]
    fn completed(in_flight: &mut Self::InFlight) {
        let _ = in_flight;
    }

    /// Creates a rejection of this moment, of a request for `permits`.
    ///
    /// `reason` is that of the readiness, which may be older. A close that came since replaces it
    /// and so does, with `limits`, the reason for which they reject a request that comes now.
    fn rejection(
        &self,
        reason: Reason,
        limits: Option<&QueueLimits>,
        permits: u32,
        terms: &Self::Terms,
    ) -> Rejected;

    /// Returns the number of permits.
    fn limit(&self) -> u32;

    /// Creates a limiter with the same settings and no requests.
    fn separate(&self) -> Self;

    fn clock(&self) -> &Clock;

    fn bounds(&self) -> &Bounds;

    fn rejecting(&self) -> &Rejecting;

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

/// The terms of a request. The default are those of a request that has none.
pub(crate) trait Terms: Copy + Default {
    /// The use of a timer by a request with a permit, a deadline, and an inner service that is not
    /// ready.
    const READYING: &TimerUse;

    /// Returns the time by which the request is to be done; [`Nanos::NEVER`] for none.
    fn done_by(&self) -> Nanos;
}

/// No request has terms.
impl Terms for () {
    const READYING: &TimerUse = &TimerUse { what: "a request without a deadline", otherwise: "" };

    #[inline]
    fn done_by(&self) -> Nanos {
        Nanos::NEVER
    }
}

/// The end of a wait without permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Rejected(Reason),
    /// More permits were asked for than this limit.
    TooMany {
        limit: u32,
    },
}

impl Refusal {
    /// Decides whether a request for `permits` can ever be admitted.
    pub(crate) fn check(view: View, permits: u32) -> Result<(), Self> {
        let limit = view.limit;
        if permits > limit { Err(Self::TooMany { limit }) } else { Ok(()) }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Rejected(reason)
    }
}
