//! The limiter of requests in flight.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use super::{
    ConcurrencySnapshot,
    arrival::{self, Ask, Unfit},
    knee::{Begun, Knee, Stamp},
    pace::Pace,
    reserve::Reserve,
    service_times::ServiceTimes,
};
#[cfg(debug_assertions)]
use crate::limiter::nested::Nested;
use crate::{
    arc_cache::{CachedArc, arc_cache},
    limiter::{
        Bounds, CloseError, End, Ends, Event, InFlight, Kind, Limiter, Observer, QueueLimits,
        Refusal, RejectedByClass, Rejecting, Waiter,
    },
    rejected::{Limit, Reason, Rejected},
    semaphore::{Arrival, Ended, Semaphore, Tag, Turn, View, WaiterKey},
    time::{Clock, Nanos, Time, TimerUse},
};

/// The limiter of requests in flight.
///
/// The semaphore comes first, so that its state lies beside the reference count: a call changes
/// both, and usually finds them in one cache line.
#[repr(C)]
pub struct ConcurrencyLimiter {
    pub(super) semaphore: Semaphore<Reserve, Pace<Clock>>,
    pub(super) observer: Observer,
    clock: Clock,
    pub(super) bounds: Bounds,
    rejecting: Rejecting,
    /// The search of a limit that adapts. In a box: a fixed limit has none.
    pub(super) knee: Option<Box<Knee>>,
    #[cfg(debug_assertions)]
    nested: Nested,
}

arc_cache!(ConcurrencyLimiter);

const TIMER: TimerUse = TimerUse {
    what: "ConcurrencyBackpressureLayer: a wait that `max_wait` or a deadline bounds",
    otherwise: "leave both out",
};

/// A permit of a limiter of requests in flight.
///
/// With the half round in which it was taken as the last one, if its request is measured.
#[derive(Clone, Copy, Default)]
pub(crate) struct Permit(Option<Stamp>);

impl Permit {
    const UNMEASURED: Self = Self(None);
}

impl ConcurrencyLimiter {
    pub(super) fn new(max_in_flight: u32) -> Self {
        let clock = Clock::start();
        Self {
            semaphore: Semaphore::new(max_in_flight, Reserve::new(clock), Pace::new(clock)),
            knee: None,
            observer: Observer::default(),
            clock,
            bounds: Bounds::default(),
            rejecting: Rejecting::default(),
            #[cfg(debug_assertions)]
            nested: Nested::new(),
        }
    }

    /// Creates a limiter whose limit is that of a search.
    pub(super) fn adaptive(knee: Knee) -> Self {
        let limiter = Self::new(knee.limit());
        let semaphore = limiter.semaphore.telling_last();
        Self { semaphore, knee: Some(Box::new(knee)), ..limiter }
    }

    pub(super) fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// Returns the time that the first waiter has waited.
    pub(super) fn queue_age(&self, view: View) -> Option<Duration> {
        view.since.map(|since| self.clock.now().since(Nanos::new(since.get())))
    }

    /// Returns the state of this moment, without the waiters whose deadlines have passed.
    pub(super) fn read(&self) -> View {
        self.read_with(|| ()).0
    }

    /// Returns the state of this moment, with the bounds in force for a layer with these `limits`.
    pub(super) fn read_bounded(&self, limits: QueueLimits) -> (View, QueueLimits) {
        self.read_with(|| self.bounds.in_force(limits))
    }

    fn read_with<S>(&self, settings: impl Fn() -> S) -> (View, S) {
        self.semaphore.remove_overdue();
        let read = || self.semaphore.read(|view| (view, settings()));
        self.semaphore.try_read_with(&settings).unwrap_or_else(read)
    }

    /// Changes the limit, and `bounds` in the same step. A limit that adapts is pinned.
    pub(super) fn set_limit(&self, limit: u32, bounds: impl FnOnce(&Bounds)) {
        let before = || {
            bounds(&self.bounds);
            self.knee.iter().for_each(|knee| knee.hold(limit));
        };
        if self.semaphore.set_limit(limit, before) {
            self.observer.notify(|| Event::LimitChanged { limit, window: None });
        }
    }

    /// Returns the half round of a request that is about to take a permit.
    pub(super) fn half_round(&self) -> Option<Stamp> {
        self.knee.as_ref()?.present()
    }

    /// Returns a permit that was taken in this half round.
    fn permit(&self, half_round: Option<Stamp>, is_last: bool) -> Permit {
        let is_chosen = || self.knee.as_deref().is_some_and(Knee::is_chosen);
        Permit(half_round.filter(|_| is_last && is_chosen()))
    }

    pub(super) fn close(&self) -> Result<(), CloseError> {
        self.rejecting.close()?;
        self.semaphore.close();
        Ok(())
    }

    /// A service of this limit has requests with terms.
    pub(super) fn has_terms(&self) {
        self.semaphore.deadlines().has_terms();
    }

    /// Returns the rejections by class, if requests have terms.
    pub(super) fn rejected_by_class(&self) -> Option<RejectedByClass> {
        let may_have_terms = self.semaphore.deadlines().may_have_terms();
        may_have_terms.then(|| self.observer.rejected_by_class())
    }

    /// Returns the times in service of requests with a deadline.
    pub(super) fn service_times(&self) -> &ServiceTimes {
        self.semaphore.deadlines().service_times()
    }

    /// Decides whether a request may queue.
    fn decide(
        &self,
        ask: &Ask,
        limits: &QueueLimits,
        view: View,
        wait: impl FnOnce() -> Option<Duration>,
    ) -> Result<(), Unfit> {
        let reserve = || self.semaphore.deadlines().reserve();
        arrival::decide(ask, limits, view, wait, reserve, || self.clock.now())
    }

    /// Acquires `permits`, or queues `waiter` for them, as [`Limiter::poll_acquire`] says, for a
    /// request with these terms.
    #[track_caller]
    pub(super) fn poll_ask(
        &self,
        waiter: &mut Waiter,
        permits: u32,
        limits: &QueueLimits,
        ask: &Ask,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Permit, Refusal>> {
        let arrival = Arrival { done_by: ask.done_by.into(), ..waiter.arrival(permits) };
        waiter.poll_at = waiter.deadline;
        let admit = |view: View, _: &dyn Fn() -> Turn, pace: &Pace<Clock>| {
            Refusal::check(view, permits)?;
            let decided = self.decide(ask, limits, view, || pace.wait(view.ahead));
            decided.map(|()| view.ahead).map_err(|unfit| Refusal::from(unfit.reason))
        };
        let uses_pace = waiter.deadline != Nanos::NEVER;
        let note = |pace: &mut Pace<Clock>, ahead| {
            pace.queued(ahead, uses_pace);
            Tag::NONE
        };
        loop {
            self.semaphore.remove_overdue();
            // Before the grant is looked for, as before a permit is acquired.
            let half_round = self.half_round();
            let polled = match &waiter.key {
                None => match self.semaphore.queue(cx.waker(), arrival, admit, note) {
                    Ok(None) => return Poll::Ready(Ok(Permit::UNMEASURED)),
                    Ok(key) => {
                        waiter.key = key;
                        Poll::Pending
                    }
                    Err(refusal) => return Poll::Ready(Err(refusal)),
                },
                Some(key) => self.semaphore.poll(key, cx.waker(), arrival.deadline, |_, _| {}),
            };
            let Poll::Ready(ended) = polled else {
                ready!(waiter.poll_timer(cx, &self.clock, &TIMER));
                continue;
            };
            let key = waiter.key.take();
            let reason = match ended {
                Ok(()) => {
                    let is_last = || key.is_some_and(|key| self.semaphore.was_last(&key));
                    let is_last = half_round.is_some() && is_last();
                    return Poll::Ready(Ok(self.permit(half_round, is_last)));
                }
                Err(Ended::Closed) => Reason::Closed,
                Err(Ended::TooMany { limit }) => {
                    return Poll::Ready(Err(Refusal::TooMany { limit }));
                }
                Err(Ended::TooLate) => Reason::TooLate,
                Err(Ended::Overdue) => {
                    let now = self.clock.now();
                    match () {
                        // The deadline was that of an earlier request: this one queues anew.
                        () if now < waiter.deadline => continue,
                        () if ask.done_by <= now => Reason::TooLate,
                        () if self.try_acquire_many(permits) => {
                            return Poll::Ready(Ok(Permit::UNMEASURED));
                        }
                        () => Reason::WaitTimeout,
                    }
                }
            };
            return Poll::Ready(Err(reason.into()));
        }
    }

    /// Creates a rejection of this moment, as [`Limiter::rejection`] says, of a request with these
    /// terms.
    pub(super) fn reject_ask(
        &self,
        reason: Reason,
        limits: Option<&QueueLimits>,
        ask: &Ask,
    ) -> Rejected {
        let view = self.semaphore.glance();
        // The lock of the queue is taken only for a prediction.
        let wait = || self.semaphore.with_waiters(|waiters| waiters.tags().wait(view.ahead));
        let decided = limits.map_or(Ok(()), |limits| self.decide(ask, limits, view, wait));
        let unfit = match decided {
            _ if view.is_closed => Reason::Closed.into(),
            Err(unfit) => unfit,
            Ok(()) => reason.into(),
        };
        Rejected::new(Limit::Concurrency, unfit.reason, unfit.after)
    }
}

/// The settings. The handle reads the state.
impl fmt::Debug for ConcurrencyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("ConcurrencyLimiter");
        self.fmt_settings(&mut fields);
        fields.finish_non_exhaustive()
    }
}

impl Limiter for ConcurrencyLimiter {
    const LAYER: &'static str = "ConcurrencyBackpressureLayer";
    const KIND: Kind = Kind {
        name: ConcurrencySnapshot::KIND,
        can_pause: false,
        has_store: false,
        has_keys: false,
    };

    type Permit = Permit;
    type InFlight = InFlight<Self>;
    type Terms = ();

    #[inline]
    fn try_acquire_unobserved(&self) -> bool {
        self.semaphore.try_acquire_unobserved()
    }

    fn try_acquire(&self) -> Option<Permit> {
        let half_round = self.half_round();
        let is_last = self.semaphore.try_acquire_telling()?;
        Some(self.permit(half_round, is_last))
    }

    fn try_acquire_many(&self, permits: u32) -> bool {
        self.semaphore.try_acquire_many(permits)
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
        self.poll_ask(waiter, permits, limits, &Ask::PLAIN, cx)
    }

    fn cancel(&self, waiter: Waiter) {
        if let Some(key) = waiter.key {
            self.semaphore.cancel(key);
        }
    }

    fn refill(&self) {
        self.semaphore.remove_overdue();
    }

    #[inline]
    fn release(&self, _: Permit) {
        self.semaphore.release(1);
    }

    fn release_many(&self, permits: u32) {
        self.semaphore.release(permits);
    }

    /// The permit is taken before the call, so a panic releases it.
    #[inline]
    fn call<R>(
        limiter: &CachedArc<Self>,
        (): &(),
        call: impl FnOnce() -> R,
    ) -> (R, InFlight<Self>) {
        let permit = InFlight::new(limiter);
        (call(), permit)
    }

    #[inline]
    fn measure(limiter: &CachedArc<Self>, permit: &mut Permit) -> Option<Begun> {
        if permit.0.is_none() { None } else { limiter.begin(&mut permit.0) }
    }

    fn rejection(&self, reason: Reason, limits: Option<&QueueLimits>, _: u32, (): &()) -> Rejected {
        self.reject_ask(reason, limits, &Ask::PLAIN)
    }

    fn limit(&self) -> u32 {
        self.semaphore.limit()
    }

    fn separate(&self) -> Self {
        // In one step, as they are changed.
        let (limit, bounds) = self.semaphore.read(|view| (view.limit, self.bounds.separate()));
        let mut separate = match &self.knee {
            None => Self::new(limit),
            Some(knee) => Self::adaptive(knee.separate()),
        };
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
        self.semaphore.observe();
    }

    fn fmt_settings(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        f.field("max_in_flight", &self.semaphore.limit());
        if let Some(knee) = &self.knee {
            knee.fmt_settings(f);
        }
    }

    #[cfg(debug_assertions)]
    fn nested(&self) -> &Nested {
        &self.nested
    }

    #[cfg(debug_assertions)]
    const NESTED: &'static str =
        "Once such requests hold all permits, each waits for another, and none proceeds";
}

impl Ends for ConcurrencyLimiter {
    fn poll_end(&self, end: End, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()> {
        match end {
            End::Drained => {
                self.semaphore.remove_overdue();
                self.semaphore.poll_drained(key, waker, &|view| view().is_idle())
            }
            End::Closed => self.semaphore.poll_closed(key, waker),
        }
    }

    fn cancel_end(&self, end: End, key: WaiterKey) {
        match end {
            End::Drained => self.semaphore.cancel_drained(key),
            End::Closed => self.semaphore.cancel_closed(key),
        }
    }
}
