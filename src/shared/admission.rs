//! The admission of a request to a shared quota.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    driver::TIMER,
    limiter::{Detour, Permit, SharedLimiter},
    pool::{Arrival, Arrived, Deadline, Outcome, Ticket},
};
#[cfg(feature = "shared-keys")]
use crate::rejected::RuleReason;
use crate::{
    current_deadline,
    limiter::{Event, Limiter, QueueLimits, Refusal, Waiter},
    middleware::{Admit, AdmitFor},
    rate_limit::RateLimiter,
    rejected::{Limit, Reason, Rejected},
    time::{Nanos, Time, Timer},
};

/// The admission of a request in its turn. A drop leaves the queue, and releases its permit.
///
/// ```text
///            a permit at hand
///  arrive ----------------------------------------> admitted ----------> issued
///    |  ^                     granted                ^  |
///    |  |        +-----------------------------------+  | its permit has lapsed
///    v  | again  |                                   |  v
///   queued ------+                                 local arrive, in front
///    |                                               ^
///    | detour: the store is away, Share              |
///    +-----------------------------------------------+
/// ```
pub(super) struct Turn {
    limiter: Arc<SharedLimiter>,
    limits: QueueLimits,
    step: Step,
    /// It had a permit that has lapsed.
    is_first: bool,
    /// The permit was at hand, and does not lapse within [`AT_ONCE`] of its acquisition.
    is_far: bool,
    /// Of a request that has waited. In a box, so that the future of one that does not is small.
    wait: Option<Box<Wait>>,
}

enum Step {
    Arrive,
    /// Of a request that is rejected because it has no key.
    #[cfg(feature = "shared-keys")]
    WithoutKey,
    /// Of a request that is not limited.
    #[cfg(feature = "shared-keys")]
    Exempt,
    Queued(Ticket),
    /// Waits at the limit of this process alone.
    Local(Box<(Arc<RateLimiter>, Waiter)>),
    Admitted(Permit),
    /// Holds nothing any more.
    Issued,
}

/// The wait of a request.
struct Wait {
    since: Nanos,
    deadline: Nanos,
    /// The number of a request that has queued. It keeps its position by it.
    ticket: Option<Ticket>,
    /// It has waited, which is observed once.
    has_queued: bool,
    /// It waits now, which is counted.
    is_waiting: bool,
    timer: Option<Timer>,
}

/// The time in which a service that is ready at once says so, unless its thread is preempted.
///
/// A request whose permit is valid for longer is called without another look at the clock. The look
/// after the call finds those that were late.
const AT_ONCE: Duration = Duration::from_millis(1);

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.step, Step::Issued) {
            self.leave();
        }
    }
}

impl Turn {
    #[inline]
    pub(super) const fn new(limiter: Arc<SharedLimiter>, limits: QueueLimits) -> Self {
        Self { limiter, limits, step: Step::Arrive, is_first: false, is_far: false, wait: None }
    }

    /// Leaves the queue, or releases the permit.
    #[cold]
    fn leave(&mut self) {
        let limiter = &self.limiter;
        match mem::replace(&mut self.step, Step::Issued) {
            Step::Arrive | Step::Issued => {}
            #[cfg(feature = "shared-keys")]
            Step::WithoutKey | Step::Exempt => {}
            Step::Queued(ticket) => limiter.cancel(ticket),
            Step::Local(at) => {
                let (local, waiter) = *at;
                local.cancel(waiter);
            }
            Step::Admitted(permit) => {
                limiter.release(permit);
                return limiter.observed.observer.notify(|| Event::Unused { permits: 1 });
            }
        }
        if self.has_queued() {
            limiter.observed.observer.notify(|| Event::Cancelled);
        }
        self.end_wait();
    }

    fn ticket(&self) -> Option<Ticket> {
        self.wait.as_ref().and_then(|wait| wait.ticket)
    }

    fn has_queued(&self) -> bool {
        self.wait.as_ref().is_some_and(|wait| wait.has_queued)
    }

    /// Begins a wait, or goes on with it.
    fn wait(&mut self, since: Nanos, deadline: Nanos) -> &mut Wait {
        let begin = || {
            let (ticket, timer) = (None, None);
            Box::new(Wait { since, deadline, ticket, has_queued: false, is_waiting: false, timer })
        };
        let wait = self.wait.get_or_insert_with(begin);
        if !mem::replace(&mut wait.is_waiting, true) {
            self.limiter.begin_wait();
        }
        wait
    }

    /// Records that the request waits no longer.
    fn end_wait(&mut self) {
        if self.wait.as_mut().is_some_and(|wait| mem::take(&mut wait.is_waiting)) {
            self.limiter.end_wait();
        }
    }

    /// Creates the admission of a request that is not limited. It acquires no permit, and is not
    /// counted.
    #[cfg(feature = "shared-keys")]
    pub(super) fn exempt(limiter: Arc<SharedLimiter>) -> Self {
        let mut this = Self::new(limiter, QueueLimits::NONE);
        this.step = Step::Exempt;
        this
    }

    /// Creates the admission of a request that is rejected because it has no key.
    #[cfg(feature = "shared-keys")]
    pub(super) fn without_key(limiter: Arc<SharedLimiter>) -> Self {
        let mut this = Self::new(limiter, QueueLimits::NONE);
        this.step = Step::WithoutKey;
        this
    }

    /// Acquires a permit that is at hand, for a request that has not arrived yet.
    #[inline]
    fn at_hand(&mut self) -> Option<Permit> {
        if !matches!(self.step, Step::Arrive) || self.wait.is_some() || self.is_first {
            return None;
        }
        let now = self.limiter.clock().now();
        let deadline = self.limiter.try_acquire(now)?;
        self.is_far = !deadline.has_passed(now.after(AT_ONCE));
        Some(Permit::Leased(deadline))
    }

    /// Polls for a permit.
    #[track_caller]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Rejected>> {
        loop {
            match &mut self.step {
                #[cfg(feature = "shared-keys")]
                Step::WithoutKey => {
                    let reason = Reason::Rule(RuleReason::NoKey);
                    let rejected = Rejected::new(Limit::Rate, reason, None);
                    self.limiter.observed.rejected_without_key(&rejected);
                    return Poll::Ready(Err(rejected));
                }
                // Arrive => (Queued | Local), or the end.
                Step::Arrive => {
                    if let Some(result) = self.arrive(cx) {
                        return Poll::Ready(result);
                    }
                }
                // Queued => Arrive, or the end.
                Step::Queued(ticket) => {
                    let ticket = *ticket;
                    let mut waker = Some(cx.waker().clone()); // foreign code, before the lock
                    let polled = self.limiter.pool.poll(ticket, &mut waker);
                    drop(waker); // the previous one, after the lock
                    match polled {
                        Poll::Pending => {
                            ready!(self.poll_timer(cx));
                            self.limiter.cancel(ticket);
                            self.step = Step::Arrive;
                            return Poll::Ready(Err(self.reject(Reason::WaitTimeout, None)));
                        }
                        Poll::Ready(outcome) => {
                            self.step = Step::Arrive;
                            match outcome {
                                Outcome::Granted(deadline) => {
                                    if let Some(permit) = self.granted(deadline) {
                                        return Poll::Ready(Ok(permit));
                                    }
                                }
                                Outcome::Again => {}
                                Outcome::Closed => {
                                    return Poll::Ready(Err(self.reject(Reason::Closed, None)));
                                }
                                Outcome::Late(expected) => {
                                    let reason = Reason::WaitTimeout;
                                    return Poll::Ready(Err(self.reject(reason, Some(expected))));
                                }
                            }
                        }
                    }
                }
                // Local => Arrive, or the end.
                Step::Local(at) => {
                    let (local, waiter) = &mut **at;
                    let limits = self.limiter.bounds.in_force(self.limits);
                    let Poll::Ready(polled) = local.poll_acquire(waiter, 1, &limits, &(), cx)
                    else {
                        self.notify_queued();
                        return Poll::Pending;
                    };
                    let local = Arc::clone(local);
                    self.step = Step::Arrive;
                    if let Some(result) = self.passed(local, polled, &limits) {
                        return Poll::Ready(result);
                    }
                }
                #[cfg(feature = "shared-keys")]
                Step::Exempt => unreachable!("it does not wait"),
                Step::Admitted(_) | Step::Issued => unreachable!("it waits"),
            }
        }
    }

    /// Takes a permit that was granted, unless it has lapsed: then the request arrives again, with
    /// its number.
    fn granted(&self, deadline: Deadline) -> Option<Permit> {
        if !deadline.has_passed(self.limiter.clock().now()) {
            return Some(Permit::Leased(deadline));
        }
        self.limiter.agent().served(0, 1);
        self.limiter.release(Permit::Leased(deadline));
        None
    }

    /// Takes the outcome of the limit of this process alone. `None` if the request looks again.
    fn passed(
        &self,
        local: Arc<RateLimiter>,
        outcome: Result<impl Sized, Refusal>,
        limits: &QueueLimits,
    ) -> Option<Result<Permit, Rejected>> {
        match outcome {
            Ok(_) => Some(Ok(Permit::Local(local))),
            // The store is back, or the limit is closed.
            Err(Refusal::Rejected(Reason::Closed)) => None,
            Err(Refusal::Rejected(reason)) => {
                let rejected = local.rejection(reason, Some(limits), 1, &());
                if rejected.is_closed() {
                    return None; // the store has come back since the wait ended
                }
                self.limiter.rejected(&rejected);
                Some(Err(rejected))
            }
            Err(Refusal::TooMany { .. }) => unreachable!("it asks for one permit"),
        }
    }

    /// Queues the request, or decides its fate. `None` if it waits, or is to look again.
    #[track_caller]
    fn arrive(&mut self, cx: &Context<'_>) -> Option<Result<Permit, Rejected>> {
        let limiter = &self.limiter;
        let now = limiter.clock().now();
        let is_paused = limiter.paused_until(now).is_some();
        let limits = limiter.bounds.in_force(self.limits);
        let (since, deadline) = match &self.wait {
            Some(wait) => (wait.since, wait.deadline),
            None => {
                let request_end = current_deadline::current().map(|at| limiter.clock().read(at));
                // Without a queue, a request waits for the reply of the store, and no longer.
                let end = if limits.max_queue() == Some(0) { now } else { limits.deadline(now) };
                (now, end.min(request_end.unwrap_or(Nanos::NEVER)))
            }
        };
        let detour = if is_paused { None } else { limiter.detour() };
        if detour.is_some() {
            limiter.replace_driver();
        }
        match detour {
            None => {}
            Some(_) if limiter.pool.is_closed() => {
                return Some(Err(self.reject(Reason::Closed, None)));
            }
            Some(Detour::Unlimited) => return Some(Ok(Permit::Unlimited)),
            Some(Detour::Local(local)) => {
                let mut waiter = Waiter::new(&limits, Nanos::NEVER, local.clock(), cx.waker());
                // By the clock of the other limiter, and no later than the wait began by this one.
                let end = waiter.deadline.min(waiter.since.after(deadline.since(now)));
                (waiter.deadline, waiter.poll_at) = (end, end);
                self.step = Step::Local(Box::new((local, waiter)));
                self.wait(since, deadline);
                return None;
            }
        }
        let mut waker = Some(cx.waker().clone()); // foreign code, before the lock
        let arrival = Arrival {
            ticket: self.ticket(),
            is_first: self.is_first,
            now,
            since,
            deadline,
            max_queue: limits.max_queue().filter(|max| *max > 0).unwrap_or(u32::MAX),
            waker: &mut waker,
        };
        let arrived = limiter.pool.arrive(arrival);
        drop(waker); // after the lock
        match arrived {
            Arrived::Acquired(acquired) => Some(Ok(Permit::Leased(limiter.acquired(acquired)))),
            Arrived::Queued(ticket) => {
                self.step = Step::Queued(ticket);
                self.wait(since, deadline).ticket = Some(ticket);
                self.limiter.drive();
                self.notify_queued();
                None
            }
            Arrived::Away => None, // an outage has begun since
            Arrived::QueueFull => Some(Err(self.reject(Reason::QueueFull, None))),
            Arrived::Late(expected) => Some(Err(self.reject(Reason::WaitTimeout, Some(expected)))),
            Arrived::Closed => Some(Err(self.reject(Reason::Closed, None))),
        }
    }

    /// Waits for the end of the wait: that of the request, and the timeout of a request to the
    /// store, which may be in flight by then.
    #[track_caller]
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wait) = &mut self.wait else { return Poll::Pending };
        if wait.deadline == Nanos::NEVER {
            return Poll::Pending;
        }
        let end = wait.deadline.after(self.limiter.store_timeout);
        // A new one each time, because the task may have moved to another runtime.
        wait.timer.insert(self.limiter.clock().timer(end, &TIMER)).poll(cx)
    }

    /// Makes a rejection of this moment, and counts it. `expected` is the time of the next permit.
    fn reject(&self, reason: Reason, expected: Option<Nanos>) -> Rejected {
        let limiter = &self.limiter;
        let now = limiter.clock().now();
        let reason = match reason {
            Reason::WaitTimeout | Reason::QueueFull if limiter.is_away() => Reason::Unavailable,
            reason => reason,
        };
        let expected = expected.unwrap_or_else(|| limiter.pool.view(now).expected);
        let wait = (reason != Reason::Closed).then(|| expected.since(now));
        let rejected = Rejected::new(Limit::Rate, reason, wait.filter(|wait| !wait.is_zero()));
        limiter.rejected(&rejected);
        rejected
    }

    /// Counts a request that waits.
    fn notify_queued(&mut self) {
        let Some(wait) = &mut self.wait else { return };
        if !mem::replace(&mut wait.has_queued, true) {
            self.limiter.observed.observer.notify(|| Event::Queued);
        }
    }

    /// Counts an admission.
    fn notify_admitted(&self) {
        let limiter = &self.limiter;
        limiter.observed.observer.notify(|| match &self.wait {
            Some(wait) if wait.has_queued => {
                let queued_for = limiter.clock().now().since(wait.since);
                Event::AcquiredAfterWait { permits: 1, queued_for }
            }
            _ => Event::Acquired { permits: 1 },
        });
    }
}

impl Admit for Turn {
    type InFlight = ();

    /// A permit of a lease that has lapsed is refunded, and the request queues again, in front. One
    /// whose permit is of an outage that is over arrives anew.
    #[inline]
    fn is_current(&mut self, is_at_once: bool) -> bool {
        let Step::Admitted(permit) = &self.step else { return true };
        let is_current = match permit {
            Permit::Leased(_) if is_at_once && self.is_far => true,
            Permit::Leased(deadline) => !self.limiter.clock().has_come(deadline.lapse()),
            Permit::Local(_) | Permit::Unlimited => self.limiter.is_of_outage(permit),
        };
        if !is_current {
            self.lapse();
        }
        is_current
    }

    #[inline]
    fn issue<F>(mut self, call: impl FnOnce() -> F) -> (F, ()) {
        // The request may have gone out, even if the call panics.
        if let Step::Admitted(Permit::Leased(deadline)) = self.step {
            struct Issued<'a>(&'a SharedLimiter, Deadline);
            impl Drop for Issued<'_> {
                #[inline]
                fn drop(&mut self) {
                    self.0.issued(self.1);
                }
            }
            self.step = Step::Issued;
            let _issued = Issued(&self.limiter, deadline);
            return (call(), ());
        }
        struct Issued<'a>(&'a SharedLimiter, Permit);
        impl Drop for Issued<'_> {
            fn drop(&mut self) {
                self.0.issued_alone(&self.1);
            }
        }
        let permit = match mem::replace(&mut self.step, Step::Issued) {
            Step::Admitted(permit) => permit,
            #[cfg(feature = "shared-keys")]
            Step::Exempt => return (call(), ()),
            _ => unreachable!("it is admitted"),
        };
        let _issued = Issued(&self.limiter, permit);
        (call(), ())
    }
}

impl Turn {
    #[cold]
    fn lapse(&mut self) {
        let mut is_leased = false;
        if let Step::Admitted(permit) = mem::replace(&mut self.step, Step::Arrive) {
            is_leased = matches!(permit, Permit::Leased(_));
            self.limiter.release(permit);
            self.limiter.observed.observer.notify(|| Event::Unused { permits: 1 });
        }
        self.is_far = false;
        // One of an outage was never in the order of the leases: it arrives as any other one.
        self.is_first = is_leased && self.ticket().is_none();
    }
}

impl<Request, Response, Error> AdmitFor<Request, Response, Error> for Turn {
    #[inline]
    fn poll_acquire(&mut self, _: &Request, cx: &mut Context<'_>) -> Poll<Result<(), Rejected>> {
        let polled = match self.at_hand() {
            Some(permit) => Ok(permit),
            #[cfg(feature = "shared-keys")]
            None if matches!(self.step, Step::Exempt) => return Poll::Ready(Ok(())),
            None => {
                let polled = ready!(self.poll(cx));
                self.end_wait();
                polled
            }
        };
        match polled {
            Ok(permit) => {
                self.step = Step::Admitted(permit);
                self.notify_admitted();
                Poll::Ready(Ok(()))
            }
            Err(rejected) => {
                // Rejected is not cancelled.
                self.step = Step::Issued;
                Poll::Ready(Err(rejected))
            }
        }
    }

    #[inline]
    fn settle((): &mut (), _: &Result<Response, Error>) {}
}
