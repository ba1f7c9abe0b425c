//! The readiness of one clone of a limited service.
//!
//! Any time may pass between two polls, and between the last poll and the call; the task that polls
//! may be another one each time. A wait does not outlive its request. Two things depart from the
//! contract of tower's `Service`, for that purpose: a service that is ready to reject may become
//! pending without a call, and its call may poll the inner service.
//!
//! | state | `poll_ready` | `call` |
//! | --- | --- | --- |
//! | idle | acquires a permit, or queues, or is rejected | panics |
//! | waiting, before the deadline | waits on; in another task than before, with a deadline of its own | panics |
//! | waiting, up to [`GRACE`] past the deadline | acquires an available permit, or is rejected | panics |
//! | waiting, later | as idle: the request that waited is gone; too late by its terms, it is rejected | panics |
//! | acquired | polls the inner service; if that is pending at the deadline of the terms, is rejected | panics |
//! | ready | polls the inner service | passes the request on, unless it is late |
//! | rejected, for less than [`GRACE`] | acquires an available permit, or stays rejected | acquires a permit that is available by now if the inner service is ready, else rejects, as of now |
//! | rejected, for longer | as idle | the same |
//! | rejected as too late after a wait, for any time | stays rejected | rejects |
//!
//! A task that polls again before the deadline cannot be told from one that still waits for the
//! same request: the deadline stays. A task that is polled late for a second time, without an
//! outcome in between, is overloaded rather than new: see [`Waiter::is_of_gone_request`].
//!
//! The terms of a request stay until a call takes them, or others are set. If they were dropped
//! with a wait that has ended, a late request whose task is polled late would be sent as one
//! without a deadline. So terms begin a request, however late it is polled, and a wait that has
//! ended as too late stays so until its caller is told. A wait that another task polls is taken for
//! that of another request, and its terms are dropped.

use std::{
    fmt, mem,
    task::{Context, Poll, Waker, ready},
};

use super::{Event, Limiter, QueueLimits, Refusal, Terms, Waiter};
use crate::{
    arc_cache::CachedArc,
    rejected::{Reason, Rejected},
    time::{GRACE, Nanos, Time},
};

/// `poll_ready` leads from *idle* to *ready*, by way of a wait if need be. `take` leads back. A
/// drop releases the permit, or leaves the queue.
pub(crate) struct Readiness<L: Limiter> {
    limiter: CachedArc<L>,
    limits: QueueLimits,
    /// Of the next call.
    terms: L::Terms,
    state: State,
    /// The permit, in the states *acquired* and *ready*. Beside the state, and the default for one
    /// that was acquired without a wait: a call on that path neither writes nor reads it.
    permit: L::Permit,
    /// The wait, in the state *waiting*, and in the state *rejected* after a wait. In the states
    /// *acquired* and *ready*, the timer of a deadline. Beside the state, so that no state has
    /// anything to drop: calls that do not wait pay nothing for it.
    waiter: Option<Waiter>,
}

enum State {
    Idle,
    Waiting {
        /// The wait before this one ended late, and this one was begun in its place.
        is_renewed: bool,
    },
    /// The inner service may not be ready yet.
    Acquired,
    /// The inner service is ready too.
    Ready,
    /// Since `at`. `call` rejects the request.
    Rejected {
        reason: Reason,
        at: Nanos,
    },
}

impl<L: Limiter> Readiness<L> {
    pub(crate) fn new(limiter: CachedArc<L>, limits: QueueLimits) -> Self {
        let (terms, permit) = (L::Terms::default(), L::Permit::default());
        Self { limiter, limits, terms, state: State::Idle, permit, waiter: None }
    }

    /// Sets the terms of the next call. Leads to *idle*, from any state.
    pub(crate) fn set_terms(&mut self, terms: L::Terms) {
        self.leave();
        self.terms = terms;
    }

    /// Returns the bounds that the layer has set.
    pub(crate) const fn limits(&self) -> QueueLimits {
        self.limits
    }

    pub(crate) const fn limiter(&self) -> &CachedArc<L> {
        &self.limiter
    }

    /// Polls for a permit first, and for the inner service then.
    ///
    /// Ready without a poll of the inner service if the request is to be rejected. If the inner
    /// service fails, it is dead, and the permit is released. If it is not ready by the deadline of
    /// the terms, the permit is released, and the request is to be rejected.
    ///
    /// Always inlined, as is its caller: the result of these dozen instructions would be written to
    /// memory and read again.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn poll_ready<E>(
        &mut self,
        cx: &mut Context<'_>,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
    ) -> Poll<Result<(), E>> {
        if !ready!(self.poll_permit(cx)) {
            return Poll::Ready(Ok(()));
        }
        let Poll::Ready(result) = inner(cx) else {
            return if self.has_deadline() {
                self.poll_deadline(cx).map(Ok)
            } else {
                Poll::Pending
            };
        };
        match result {
            // Acquired => Ready
            Ok(()) => self.state = State::Ready,
            Err(_) => self.reset(),
        }
        Poll::Ready(result)
    }

    /// (Acquired | Ready) => Rejected, once the deadline of the request passes while the inner
    /// service is not ready.
    #[cold]
    #[track_caller]
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.limiter.clock();
        let timer = self.waiter.get_or_insert_with(|| {
            Waiter::new(&QueueLimits::NONE, self.terms.done_by(), clock, cx.waker())
        });
        ready!(timer.poll_timer(cx, clock, L::Terms::READYING));
        let at = clock.now();
        self.leave();
        self.state = State::Rejected { reason: Reason::TooLate, at };
        Poll::Ready(())
    }

    /// Ready with true if there is a permit, and with false if the request is to be rejected.
    #[inline(always)]
    #[track_caller]
    fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // Idle => Acquired
        if let State::Idle = self.state {
            let limiter = &*self.limiter;
            // The deadline of a request may have passed.
            if !self.has_deadline() && limiter.try_acquire_unobserved() {
                self.state = State::Acquired;
                return Poll::Ready(true);
            }
        }
        if let State::Acquired | State::Ready = self.state {
            return Poll::Ready(true);
        }
        self.poll_wait(cx)
    }

    #[cold]
    #[track_caller]
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut known = None;
        loop {
            match &mut self.state {
                // Idle => (Acquired | Waiting | Rejected)
                State::Idle => {
                    if self.is_late() {
                        let at = self.limiter.clock().now();
                        self.state = State::Rejected { reason: Reason::TooLate, at };
                        return Poll::Ready(false);
                    }
                    // Of an observed limit, requests that need no wait get here, too. For them no
                    // lock is taken, so the bounds are looked up behind them.
                    let mut permit = self.limiter.try_acquire();
                    if permit.is_none() && self.limiter.bounds().are_set() {
                        permit = self.acquire_now();
                    }
                    if let Some(permit) = permit {
                        self.acquired(permit);
                        return Poll::Ready(true);
                    }
                    let limits = known.insert(self.limits_in_force());
                    let (done_by, clock) = (self.terms.done_by(), self.limiter.clock());
                    let waiter = Waiter::new(limits, done_by, clock, cx.waker());
                    self.waiter = Some(waiter);
                    self.state = State::Waiting { is_renewed: false };
                }
                // Waiting => (Waiting | Acquired | Rejected). The waiter stays in its place until
                // the outcome is known, because wakers and timers may panic.
                State::Waiting { is_renewed } => {
                    let waiter = self.waiter.as_mut().expect("set in this state");
                    let (clock, bounds) = (self.limiter.clock(), self.limiter.bounds());
                    let limits = *known.get_or_insert_with(|| bounds.in_force(self.limits));
                    if waiter.polled_by(cx.waker(), &limits, clock) {
                        let terms = mem::take(&mut self.terms);
                        if terms.done_by() != Nanos::NEVER {
                            // The deadline is not that of the request of another task.
                            self.leave();
                            continue;
                        }
                    }
                    let was_queued = waiter.key.is_some();
                    let (limiter, terms) = (self.limiter.arc(), &self.terms);
                    let poll = limiter.poll_acquire(waiter, 1, &limits, terms, cx);
                    match poll {
                        Poll::Pending => {
                            if !was_queued {
                                self.limiter.observer().notify(|| Event::Queued);
                            }
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(permit)) => {
                            if !was_queued {
                                self.waiter = None;
                            }
                            self.acquired(permit);
                            return Poll::Ready(true);
                        }
                        Poll::Ready(Err(Refusal::TooMany { .. })) => {
                            unreachable!("a limit has at least one permit")
                        }
                        Poll::Ready(Err(Refusal::Rejected(_)))
                            if !was_queued && bounds.in_force(self.limits) != limits =>
                        {
                            self.waiter = None;
                            self.state = State::Idle;
                        }
                        Poll::Ready(Err(Refusal::Rejected(reason))) => {
                            let is_gone = reason == Reason::WaitTimeout
                                && waiter.is_of_gone_request(*is_renewed, &limits, clock);
                            if is_gone {
                                *waiter = Waiter::new(&limits, terms.done_by(), clock, cx.waker());
                                *is_renewed = true;
                                if was_queued {
                                    self.limiter.observer().notify(|| Event::Cancelled);
                                }
                            } else {
                                if was_queued {
                                    waiter.stop_timer();
                                } else {
                                    self.waiter = None;
                                }
                                self.state = State::Rejected { reason, at: clock.now() };
                                return Poll::Ready(false);
                            }
                        }
                    }
                }
                // Rejected => (Rejected | Acquired | Idle)
                &mut State::Rejected { reason, at } => {
                    if self.is_judged(reason) {
                        return Poll::Ready(false);
                    }
                    if self.is_old(at) {
                        self.leave();
                    } else if let Some(permit) = self.acquire_in_time() {
                        self.acquired(permit);
                        return Poll::Ready(true);
                    } else {
                        return Poll::Ready(false);
                    }
                }
                State::Acquired | State::Ready => return Poll::Ready(true),
            }
        }
    }

    /// (Idle | Waiting | Rejected) => Acquired. The wait is over, if there was one.
    fn acquired(&mut self, permit: L::Permit) {
        self.state = State::Acquired;
        self.permit = permit;
        let since = self.waiter.as_ref().map(|waiter| waiter.since);
        self.waiter = None;
        self.limiter.observer().notify(|| match since {
            None => Event::Acquired { permits: 1 },
            Some(since) => {
                let queued_for = self.limiter.clock().now().since(since);
                Event::AcquiredAfterWait { permits: 1, queued_for }
            }
        });
    }

    /// Returns the bounds of a request that comes now.
    fn limits_in_force(&self) -> QueueLimits {
        self.limiter.bounds().in_force(self.limits)
    }

    /// Returns true if a rejection of this time was that of a request that is gone.
    fn is_old(&self, at: Nanos) -> bool {
        self.limiter.clock().now() >= at.after(GRACE)
    }

    /// Returns true if a rejection for this reason is that of a wait which left too little time:
    /// less is left by now, so no permit is acquired for the request any more.
    fn is_judged(&self, reason: Reason) -> bool {
        reason == Reason::TooLate && self.waiter.is_some()
    }

    /// Returns true if the request is to be done by a time.
    #[inline]
    fn has_deadline(&self) -> bool {
        self.terms.done_by() != Nanos::NEVER
    }

    /// Returns true if the deadline of the request has passed.
    #[inline]
    fn is_late(&self) -> bool {
        self.has_deadline() && self.limiter.clock().has_come(self.terms.done_by())
    }

    /// Acquires a permit as [`acquire_now`](Self::acquire_now) does, for a request that is not
    /// late.
    fn acquire_in_time(&self) -> Option<L::Permit> {
        if self.is_late() { None } else { self.acquire_now() }
    }

    /// Acquires a permit that is available now, after a refill.
    fn acquire_now(&self) -> Option<L::Permit> {
        self.limiter.refill();
        self.limiter.try_acquire()
    }

    /// Ready => Idle, with the permit and the terms; Rejected => Idle, with a rejection.
    ///
    /// A request whose deadline has passed since is rejected, too.
    ///
    /// `inner` polls the inner service. It is called only if a permit has become available since
    /// the rejection.
    ///
    /// # Panics
    ///
    /// If the service is not ready.
    #[inline]
    #[track_caller]
    pub(crate) fn take<E>(
        &mut self,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
    ) -> Result<L::Terms, Rejected> {
        if !matches!(self.state, State::Ready) || self.is_late() {
            self.recheck(inner)?;
        }
        self.state = State::Idle;
        if self.has_deadline() {
            self.waiter = None; // the timer of the deadline
        }
        Ok(mem::take(&mut self.terms))
    }

    /// Returns the permit that [`take`](Self::take) has taken, and its limiter. A user of its
    /// data leaves the default behind.
    #[inline]
    pub(crate) fn taken(&mut self) -> (&CachedArc<L>, &mut L::Permit) {
        (&self.limiter, &mut self.permit)
    }

    /// Rejected => (Acquired | Idle, with a rejection); Ready => Idle, with a rejection
    #[cold]
    #[track_caller]
    fn recheck<E>(
        &mut self,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
    ) -> Result<(), Rejected> {
        let (reason, at) = match self.state {
            State::Rejected { reason, at } => (reason, at),
            State::Ready => return Err(self.too_late()),
            _ => panic!(
                "called without readiness: `poll_ready` must return `Ready(Ok(()))` before each `call`; use `oneshot`, \
                 or `ready` on this clone (a service of {})",
                L::LAYER
            ),
        };
        let is_judged = self.is_judged(reason);
        // A request that has waited is rejected for that. Any other one comes now.
        if !is_judged && self.is_old(at) {
            self.leave();
        }
        let comes_now = self.waiter.is_none();
        let permit = if is_judged { None } else { self.acquire_in_time() };
        if let Some(permit) = permit {
            self.acquired(permit); // released if the inner service panics
            // The call cannot wait, so there is no task to wake. An error is left to the next
            // `poll_ready`.
            let poll = inner(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Ok(())) = poll {
                return Ok(());
            }
            self.leave();
        }
        self.waiter = None;
        self.state = State::Idle;
        let limits = comes_now.then(|| self.limits_in_force());
        Err(self.reject(reason, limits.as_ref()))
    }

    /// Ready => Idle, with a rejection, because the deadline of the request has passed.
    fn too_late(&mut self) -> Rejected {
        self.leave();
        self.reject(Reason::TooLate, None)
    }

    fn reject(&mut self, reason: Reason, limits: Option<&QueueLimits>) -> Rejected {
        let terms = mem::take(&mut self.terms);
        let rejected = self.limiter.rejection(reason, limits, 1, &terms);
        self.limiter.observer().notify_rejected(&rejected);
        rejected
    }

    /// Leads to *idle* as [`leave`](Self::leave) does, without the terms.
    fn reset(&mut self) {
        self.terms = L::Terms::default();
        self.leave();
    }

    /// Leads to *idle*: cancels a wait, releases a permit, or forgets a rejection. The terms stay.
    ///
    /// Notifies last, because a sink is foreign code that may panic.
    fn leave(&mut self) {
        let waiter = self.waiter.take();
        let observer = self.limiter.observer();
        match mem::replace(&mut self.state, State::Idle) {
            State::Waiting { .. } => {
                let Some(waiter) = waiter else { return };
                let was_queued = waiter.key.is_some();
                self.limiter.cancel(waiter);
                if was_queued {
                    observer.notify(|| Event::Cancelled);
                }
            }
            State::Acquired | State::Ready => {
                self.limiter.release(mem::take(&mut self.permit));
                observer.notify(|| Event::Unused { permits: 1 });
            }
            // The request has queued, and its rejection was not called for.
            State::Rejected { .. } if waiter.is_some() => observer.notify(|| Event::Cancelled),
            State::Idle | State::Rejected { .. } => {}
        }
    }
}

/// A clone is idle.
impl<L: Limiter> Clone for Readiness<L> {
    fn clone(&self) -> Self {
        Self::new(self.limiter.clone(), self.limits)
    }
}

impl<L: Limiter> Drop for Readiness<L> {
    #[inline]
    fn drop(&mut self) {
        // Inlined, because nearly every clone is idle when it is dropped.
        if !matches!(self.state, State::Idle) {
            self.reset();
        }
    }
}

impl<L: Limiter> fmt::Debug for Readiness<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Idle => "idle",
            State::Waiting { .. } => "waiting",
            State::Acquired => "acquired",
            State::Ready => "ready",
            State::Rejected { .. } => "rejected",
        })
    }
}
