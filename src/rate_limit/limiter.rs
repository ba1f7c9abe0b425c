//! The limiter of requests issued in a window.

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::runtime::{self, Handle};

use super::{
    WindowSnapshot,
    window::{Reading, Shape, Window},
};
#[cfg(debug_assertions)]
use crate::limiter::nested::Nested;
use crate::{
    arc_cache::{CachedArc, arc_cache},
    current_deadline,
    limiter::{
        Bounds, CloseError, End, Ends, Event, Kind, Limiter, Observer, QueueLimits, Refusal,
        Rejecting, Waiter,
    },
    quota::Quota,
    refill_task::{Refill, RefillTask},
    rejected::{Limit, Reason, Rejected},
    semaphore::{Ended, View, WaiterKey},
    time::{Clock, Nanos, TICK, Time, TimerUse},
};

/// The limiter of requests issued in a window.
pub struct RateLimiter {
    pub(super) window: Window<Clock, runtime::Id>,
    pub(super) observer: Observer,
    pub(super) clock: Clock,
    shape: Shape,
    pub(super) bounds: Bounds,
    rejecting: Rejecting,
    #[cfg(debug_assertions)]
    nested: Nested,
}

arc_cache!(RateLimiter);

/// A permit of a window.
#[derive(Clone, Copy, Default)]
pub(crate) struct Permit(());

impl RateLimiter {
    pub(super) fn new(shape: Shape, limit: u32, length: Duration) -> Self {
        let clock = Clock::start();
        Self {
            window: Window::new(shape, limit, length, clock),
            observer: Observer::default(),
            clock,
            shape,
            bounds: Bounds::default(),
            rejecting: Rejecting::default(),
            #[cfg(debug_assertions)]
            nested: Nested::new(),
        }
    }

    /// Creates a sliding limit of which `issued` permits were committed just now.
    pub(crate) fn with_issued(limit: u32, length: Duration, issued: u32) -> Self {
        let this = Self::new(Shape::Sliding, limit, length);
        if issued > 0 && this.window.try_acquire_many(issued) {
            this.window.commit_many(issued);
        }
        this
    }

    /// Commits a permit: its request goes out now.
    pub(crate) fn commit_one(&self) {
        self.window.commit();
    }

    /// Refunds a permit.
    pub(crate) fn release_one(&self) {
        self.window.refund();
    }

    /// Ends all waits, and admits nothing more.
    pub(crate) fn end_waits(&self) {
        self.window.close();
    }

    /// Returns the number of requests that wait, and the time that the first of them has waited.
    pub(crate) fn queue(&self) -> (u32, Option<Duration>) {
        let (Reading { queued, queue_age, .. }, _) = self.read(QueueLimits::NONE);
        (queued, queue_age)
    }

    /// Pauses admission for a time from now.
    pub(crate) fn pause_for(&self, time: Duration) {
        self.pause(self.clock.now().after(time));
    }

    /// Pauses admission until `until`.
    pub(super) fn pause(&self, until: Nanos) {
        if self.window.pause(until) {
            self.observer.notify(|| Event::Paused { wait: until.since(self.clock.now()) });
        }
    }

    /// Notifies the observer of settings that a handle has made.
    pub(super) fn notify_change(&self) {
        self.observer.notify(|| {
            let (limit, length) = self.window.settings();
            Event::LimitChanged { limit, window: Some(length) }
        });
    }

    /// Returns the state of this moment, with the bounds in force for a layer with these `limits`.
    pub(super) fn read(&self, limits: QueueLimits) -> (Reading, QueueLimits) {
        self.window.read_with(|| self.bounds.in_force(limits))
    }

    /// Changes limit and window in one step, and `bounds` with them.
    pub(super) fn set_quota(&self, quota: Quota, bounds: impl FnOnce(&Bounds)) {
        if self.window.set_quota(quota.limit(), quota.window(), || bounds(&self.bounds)) {
            self.notify_change();
        }
    }

    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn close(&self) -> Result<(), CloseError> {
        self.rejecting.close()?;
        self.window.close();
        Ok(())
    }

    /// Queues `waiter`, or rejects it if its permits are expected after its deadline or, in a layer
    /// with a bound, less than a tick before that of its request. Ready if it is not queued.
    #[track_caller]
    fn poll_queue(
        self: &Arc<Self>,
        waiter: &mut Waiter,
        permits: u32,
        limits: &QueueLimits,
        cx: &Context<'_>,
    ) -> Poll<Result<Permit, Refusal>> {
        let arrival = waiter.arrival(permits);
        let Waiter { deadline, poll_at, .. } = waiter;
        let mut runtime = None;
        let admit = |view: View, expected: &dyn Fn() -> Nanos| {
            Refusal::check(view, permits).map_err(Some)?;
            limits.admit(view).map_err(|reason| Some(reason.into()))?;
            let of_request = if limits.is_bounded() { current_deadline::current() } else { None };
            if *deadline != Nanos::NEVER || of_request.is_some() {
                let expected = expected();
                // A timer may fire a tick late.
                let is_late = |at| expected.after(TICK) >= self.clock.read(at);
                if expected > *deadline || of_request.is_some_and(is_late) {
                    return Err(Some(Reason::WaitTimeout.into()));
                }
                if *deadline != Nanos::NEVER {
                    *poll_at = expected;
                }
            }
            // Without a runtime, `no_runtime` panics below, where the caller's line is known.
            let current = Handle::try_current().map_err(|_| None)?;
            Ok(runtime.insert(current).id())
        };
        match self.window.queue(cx.waker(), arrival, admit) {
            Ok(None) => Poll::Ready(Ok(Permit(()))),
            Err(Some(refusal)) => Poll::Ready(Err(refusal)),
            Err(None) => Self::TIMER.no_runtime(),
            Ok(Some((key, is_task_missing))) => {
                waiter.key = Some(key);
                if let (true, Some(runtime)) = (is_task_missing, runtime) {
                    RefillTask::spawn(self, &runtime);
                }
                Poll::Pending
            }
        }
    }

    /// Polls a waiter, which is queued first. With a deadline, its timer polls it at the time at
    /// which its permit was first expected, and at the deadline. In between, the grant wakes it.
    #[track_caller]
    fn poll_waiter(
        self: &Arc<Self>,
        waiter: &mut Waiter,
        permits: u32,
        limits: &QueueLimits,
        cx: &Context<'_>,
    ) -> Poll<Result<Permit, Refusal>> {
        let Some(key) = &waiter.key else { return self.poll_queue(waiter, permits, limits, cx) };
        let (deadline, poll_at) = (waiter.deadline, &mut waiter.poll_at);
        let mut is_late = false;
        let polled = self.window.poll(key, cx.waker(), deadline.into(), |expected| {
            if deadline != Nanos::NEVER {
                // A pause or a lowered limit may have delayed even the first permit.
                is_late = expected() > deadline;
                *poll_at = if self.clock.now() < *poll_at { *poll_at } else { deadline };
            }
        });
        match polled {
            Poll::Pending if is_late => {
                if let Some(key) = waiter.key.take() {
                    self.window.cancel(key);
                }
                Poll::Ready(self.acquire_or_time_out(permits))
            }
            Poll::Pending => {
                let runtime = Self::TIMER.runtime();
                if self.window.assign(key, runtime.id()) {
                    RefillTask::spawn(self, &runtime);
                }
                Poll::Pending
            }
            Poll::Ready(ended) => {
                waiter.key = None;
                match ended {
                    Ok(()) => Poll::Ready(Ok(Permit(()))),
                    Err(Ended::Closed) => Poll::Ready(Err(Reason::Closed.into())),
                    Err(Ended::TooMany { limit }) => Poll::Ready(Err(Refusal::TooMany { limit })),
                    Err(Ended::TooLate) => unreachable!("no request here is to be done by a time"),
                    // The deadline was that of an earlier request: this one queues anew.
                    Err(Ended::Overdue) if self.clock.now() < deadline => {
                        self.poll_queue(waiter, permits, limits, cx)
                    }
                    Err(Ended::Overdue) => Poll::Ready(self.acquire_or_time_out(permits)),
                }
            }
        }
    }

    fn acquire_or_time_out(&self, permits: u32) -> Result<Permit, Refusal> {
        self.window.refill();
        let is_acquired = self.window.try_acquire_many(permits);
        is_acquired.then_some(Permit(())).ok_or(Reason::WaitTimeout.into())
    }
}

/// The settings. The handle reads the state.
impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("RateLimiter");
        self.fmt_settings(&mut fields);
        fields.finish_non_exhaustive()
    }
}

impl Limiter for RateLimiter {
    const LAYER: &'static str = "WindowRateLimitLayer";
    const KIND: Kind =
        Kind { name: WindowSnapshot::KIND, can_pause: true, has_store: false, has_keys: false };

    type Permit = Permit;
    type InFlight = ();
    type Terms = ();

    #[inline]
    fn try_acquire_unobserved(&self) -> bool {
        self.window.try_acquire_unobserved()
    }

    #[inline]
    fn try_acquire(&self) -> Option<Permit> {
        self.window.try_acquire().then_some(Permit(()))
    }

    fn try_acquire_many(&self, permits: u32) -> bool {
        self.window.try_acquire_many(permits)
    }

    #[track_caller]
    fn poll_acquire(
        self: &Arc<Self>,
        waiter: &mut Waiter,
        permits: u32,
        limits: &QueueLimits,
        (): &(),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Permit, Refusal>> {
        loop {
            if let Poll::Ready(result) = self.poll_waiter(waiter, permits, limits, cx) {
                return Poll::Ready(result);
            }
            ready!(waiter.poll_timer(cx, &self.clock, &Self::TIMER));
        }
    }

    fn cancel(&self, waiter: Waiter) {
        if let Some(key) = waiter.key {
            self.window.cancel(key);
        }
    }

    fn refill(&self) {
        self.window.refill();
    }

    fn release(&self, _: Permit) {
        self.window.refund();
    }

    fn release_many(&self, permits: u32) {
        self.window.refund_many(permits);
        // Permits that are used are committed, and not released.
        self.observer.notify(|| Event::Unused { permits });
    }

    /// The permit is committed after the call, even by a panic: the request may have gone out.
    #[inline]
    fn call<R>(limiter: &CachedArc<Self>, (): &(), call: impl FnOnce() -> R) -> (R, ()) {
        struct Commit<'a>(&'a RateLimiter);
        impl Drop for Commit<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.window.commit();
            }
        }
        let _commit = Commit(limiter);
        (call(), ())
    }

    fn measure(_: &CachedArc<Self>, _: &mut Permit) -> Option<Infallible> {
        None
    }

    fn rejection(
        &self,
        reason: Reason,
        limits: Option<&QueueLimits>,
        permits: u32,
        (): &(),
    ) -> Rejected {
        let (view, wait) = self.window.estimate(permits);
        if view.is_closed {
            return Rejected::new(Limit::Rate, Reason::Closed, None);
        }
        let reason = limits.and_then(|limits| limits.rejects(view, wait)).unwrap_or(reason);
        Rejected::new(Limit::Rate, reason, Some(wait))
    }

    fn limit(&self) -> u32 {
        self.window.limit()
    }

    fn separate(&self) -> Self {
        // In one step, as they are changed.
        let ((limit, length), bounds) = self.window.settings_with(|| self.bounds.separate());
        let mut separate = Self::new(self.shape, limit, length);
        (separate.bounds, separate.rejecting) = bounds;
        separate
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    fn rejecting(&self) -> &Rejecting {
        &self.rejecting
    }

    fn observer(&self) -> &Observer {
        &self.observer
    }

    fn observe(&self) {
        self.window.observe();
    }

    fn fmt_settings(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        let (limit, window) = self.window.settings();
        f.field("shape", &self.shape).field("limit", &limit).field("window", &window);
    }

    #[cfg(debug_assertions)]
    fn nested(&self) -> &Nested {
        &self.nested
    }

    #[cfg(debug_assertions)]
    const NESTED: &'static str =
        "It counts twice, and if the first permit was not committed, it may wait for itself";
}

impl Ends for RateLimiter {
    fn poll_end(&self, end: End, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()> {
        match end {
            End::Drained => self.window.poll_drained(key, waker),
            End::Closed => self.window.poll_closed(key, waker),
        }
    }

    fn cancel_end(&self, end: End, key: WaiterKey) {
        match end {
            End::Drained => self.window.cancel_drained(key),
            End::Closed => self.window.cancel_closed(key),
        }
    }
}

impl Refill for RateLimiter {
    const TIMER: TimerUse = TimerUse {
        what: "WindowRateLimitLayer: a wait for a permit",
        otherwise: "reject what would wait, with `max_queue(0)` or `try_acquire`",
    };

    fn attend(&self, runtime: runtime::Id, task: &Waker) -> Option<Nanos> {
        self.window.attend(runtime, task)
    }

    fn abandon(&self, runtime: runtime::Id) {
        self.window.abandon(runtime);
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}
