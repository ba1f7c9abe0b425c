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
//! | waiting, later | as idle: the request that waited is gone | panics |
//! | acquired | polls the inner service | panics |
//! | ready | polls the inner service | passes the request on |
//! | rejected, for less than [`GRACE`] | acquires an available permit, or stays rejected | acquires a permit that is available by now if the inner service is ready, else rejects, as of now |
//! | rejected, for longer | as idle | the same |
//!
//! A task that polls again before the deadline cannot be told from one that still waits for the
//! same request: the deadline stays. A task that is polled late for a second time, without an
//! outcome in between, is overloaded rather than new: see [`Waiter::is_of_gone_request`].

use std::{
    fmt, mem,
    task::{Context, Poll, Waker, ready},
};

use super::{Limiter, Observer, QueueLimits, Waiter};
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
    state: State<L::Permit>,
    /// The wait, in the state *waiting*. Beside the state, so that no other state has anything to
    /// drop: calls that do not wait pay nothing for it.
    waiter: Option<Waiter>,
}

enum State<P> {
    Idle,
    Waiting {
        /// The wait before this one ended late, and this one was begun in its place.
        is_renewed: bool,
    },
    /// The inner service may not be ready yet.
    Acquired(P),
    /// The inner service is ready too.
    Ready(P),
    /// Since `at`. `call` rejects the request.
    Rejected {
        reason: Reason,
        at: Nanos,
        /// The request has waited. Otherwise it was rejected on arrival.
        has_waited: bool,
    },
}

impl<L: Limiter> Readiness<L> {
    pub(crate) const fn new(limiter: CachedArc<L>, limits: QueueLimits) -> Self {
        Self { limiter, limits, state: State::Idle, waiter: None }
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
    /// service fails, it is dead, and the permit is released.
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
        let Some(permit) = ready!(self.poll_permit(cx)) else { return Poll::Ready(Ok(())) };
        let result = ready!(inner(cx));
        match result {
            // Acquired => Ready
            Ok(()) => self.state = State::Ready(permit),
            Err(_) => self.reset(),
        }
        Poll::Ready(result)
    }

    /// Ready with a permit, or with `None` if the request is to be rejected.
    #[inline(always)]
    #[track_caller]
    fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<Option<L::Permit>> {
        // Idle => Acquired
        if let State::Idle = self.state {
            let limiter = &*self.limiter;
            if let Some(permit) = limiter.try_acquire() {
                limiter.observer().acquired();
                self.state = State::Acquired(permit);
                return Poll::Ready(Some(permit));
            }
        }
        if let State::Acquired(permit) | State::Ready(permit) = self.state {
            return Poll::Ready(Some(permit));
        }
        self.poll_wait(cx)
    }

    #[cold]
    #[track_caller]
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<L::Permit>> {
        let limits = self.limits_in_force();
        loop {
            match &mut self.state {
                // Idle => Waiting
                State::Idle => {
                    let waiter = Waiter::new(&limits, self.limiter.clock(), cx.waker());
                    self.waiter = Some(waiter);
                    self.state = State::Waiting { is_renewed: false };
                }
                // Waiting => (Waiting | Acquired | Rejected). The waiter stays in its place until
                // the outcome is known, because wakers and timers may panic.
                State::Waiting { is_renewed } => {
                    let waiter = self.waiter.as_mut().expect("set in this state");
                    let clock = self.limiter.clock();
                    waiter.polled_by(cx.waker(), &limits, clock);
                    let was_queued = waiter.key.is_some();
                    let poll = self.limiter.arc().poll_acquire(waiter, &limits, cx);
                    let observer = self.limiter.observer();
                    match poll {
                        Poll::Pending => {
                            if !was_queued {
                                observer.queued();
                            }
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(permit)) => {
                            if was_queued {
                                observer.acquired_after_wait();
                            } else {
                                observer.acquired();
                            }
                            self.waiter = None;
                            self.state = State::Acquired(permit);
                            return Poll::Ready(Some(permit));
                        }
                        Poll::Ready(Err(reason)) => {
                            if was_queued {
                                observer.cancelled();
                            }
                            let is_gone = reason == Reason::WaitTimeout
                                && waiter.is_of_gone_request(*is_renewed, &limits, clock);
                            if is_gone {
                                *waiter = Waiter::new(&limits, clock, cx.waker());
                                *is_renewed = true;
                            } else {
                                self.waiter = None;
                                let (at, has_waited) = (clock.now(), was_queued);
                                self.state = State::Rejected { reason, at, has_waited };
                                return Poll::Ready(None);
                            }
                        }
                    }
                }
                // Rejected => (Rejected | Acquired | Idle)
                &mut State::Rejected { at, .. } => {
                    if self.is_old(at) {
                        self.state = State::Idle;
                    } else if let Some(permit) = self.acquire_now() {
                        self.limiter.observer().acquired();
                        self.state = State::Acquired(permit);
                        return Poll::Ready(Some(permit));
                    } else {
                        return Poll::Ready(None);
                    }
                }
                State::Acquired(permit) | State::Ready(permit) => {
                    return Poll::Ready(Some(*permit));
                }
            }
        }
    }

    /// Returns the bounds of a request that comes now.
    fn limits_in_force(&self) -> QueueLimits {
        self.limiter.bounds().in_force(self.limits)
    }

    /// Returns true if a rejection of this time was that of a request that is gone.
    fn is_old(&self, at: Nanos) -> bool {
        self.limiter.clock().now() >= at.after(GRACE)
    }

    /// Acquires a permit that is available now, after a refill.
    fn acquire_now(&self) -> Option<L::Permit> {
        self.limiter.refill();
        self.limiter.try_acquire()
    }

    /// Ready => Idle, with the permit; Rejected => Idle, with a rejection.
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
    ) -> Result<L::Permit, Rejected> {
        let permit = match self.state {
            State::Ready(permit) => permit,
            _ => self.recheck(inner)?,
        };
        self.state = State::Idle;
        Ok(permit)
    }

    /// Rejected => (Acquired | Idle, with a rejection)
    #[cold]
    #[track_caller]
    fn recheck<E>(
        &mut self,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
    ) -> Result<L::Permit, Rejected> {
        let State::Rejected { reason, at, has_waited } = self.state else {
            panic!(
                "called without readiness: `poll_ready` must return `Ready(Ok(()))` before each `call`; use `oneshot`, \
                 or `ready` on this clone (a service of {})",
                L::LAYER
            )
        };
        self.state = State::Idle;
        if let Some(permit) = self.acquire_now() {
            self.limiter.observer().acquired();
            self.state = State::Acquired(permit); // released if the inner service panics
            // The call cannot wait, so there is no task to wake. An error is left to the next
            // `poll_ready`.
            let poll = inner(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Ok(())) = poll {
                return Ok(permit);
            }
            self.reset();
        }
        // A request that has waited is rejected for that. Any other one comes now.
        let comes_now = !has_waited || self.is_old(at);
        let limits = comes_now.then(|| self.limits_in_force());
        let rejected = self.limiter.rejection(reason, limits.as_ref());
        self.limiter.observer().rejected(rejected.reason());
        Err(rejected)
    }

    /// Leads to *idle*: cancels a wait, or releases a permit.
    fn reset(&mut self) {
        match mem::replace(&mut self.state, State::Idle) {
            State::Waiting { .. } => {
                let Some(waiter) = self.waiter.take() else { return };
                if waiter.key.is_some() {
                    self.limiter.observer().cancelled();
                }
                self.limiter.cancel(waiter);
            }
            State::Acquired(permit) | State::Ready(permit) => {
                self.limiter.observer().released();
                self.limiter.release(permit);
            }
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
            State::Acquired(_) => "acquired",
            State::Ready(_) => "ready",
            State::Rejected { .. } => "rejected",
        })
    }
}
