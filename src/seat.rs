//! What one clone of a limited service has at its limiter: nothing, a ticket in the line, a place, or a
//! rejection to hand on.
//!
//! Both layers' services hold a [`Seat`]; it is what makes `poll_ready` and `drop` right for them. [`Limiter`]
//! says what a limiter is to a seat.
//!
//! # Readiness that grows old
//!
//! Any time may pass between two polls, and between the last poll and the call; the task that polls may
//! be another one each time. A wait must not outlive its request, nor a rejection its reason.
//!
//! | state | `poll_ready` | `call` |
//! | --- | --- | --- |
//! | idle | acquires a permit, or joins the queue, or is rejected | panics |
//! | waiting, before the deadline | waits on; in another task than before, with a deadline of its own | panics |
//! | waiting, up to [`GRACE`] past the deadline | acquires a free permit, or is rejected | panics |
//! | waiting, later | as idle: the request that waited is gone | panics |
//! | holding a permit | polls the inner service | passes the request on if that was ready |
//! | rejected, for less than [`GRACE`] | acquires a free permit, or stays rejected | acquires a permit that is free by now if the inner service is ready, else rejects, as of now |
//! | rejected, for longer | as idle | the same |
//!
//! A task that polls again before the deadline can't be told from one that still waits for the same
//! request: the deadline stays. A task that is polled late for a second time, without an outcome in
//! between, is overloaded rather than new, up to its `max_wait`: otherwise no wait would end under a
//! load that delays each poll.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use crate::{
    clock::{Alarm, Clock, Nanos, TimerUse, nanos},
    gate::{GRACE, Ticket},
    rejected::{Limit, Reason, Rejected},
    spare::{Shared, Spare},
};

/// Whatever clones of a service share: places, a line, a clock, and the count of those turned away.
pub(crate) trait Limiter: Spare {
    /// Takes a place if that needs no waiting.
    fn try_enter(&self) -> bool;

    /// Takes a place, or joins the line, or is turned away.
    fn arrive(&self, bounds: &Bounds, waker: &Waker) -> Arrival;

    /// Looks how the waiting goes. The ticket has served if it has come to an end.
    fn look(&self, waiting: &mut Waiting, waker: &Waker) -> Step;

    /// What waits, for the message of the panic where there is no timer.
    const WAITING: TimerUse;

    /// Sees to it that the owner of `ticket`, who waits, is told when its time has come.
    ///
    /// # Panics
    ///
    /// If that takes a runtime, or its timer, and there is none.
    #[track_caller]
    fn mind(self: &Arc<Self>, ticket: &Ticket);

    /// Acquires a permit that is free now, without waiting for one.
    fn acquire(&self) -> bool;

    /// Makes a rejection of this moment, and counts it. `reason` is that of the readiness, which may be
    /// older.
    fn reject(&self, reason: Reason) -> Rejected;

    /// Leaves the line. True if it was granted a place meanwhile, which is the caller's then.
    fn leave(&self, ticket: Ticket) -> bool;

    /// Puts back a place that was not used.
    fn give_back(&self);

    /// The clock that waiting is measured by.
    fn clock(&self) -> &Clock;
}

/// What came of asking for a place.
#[derive(Debug)]
pub(crate) enum Arrival {
    Entered,
    Waiting(Waiting),
    TurnedAway(Reason),
}

/// How the waiting goes.
#[derive(Debug)]
pub(crate) enum Step {
    Entered,
    Waiting,
    /// Past its deadline, or certain to be. The ticket is still to be given back.
    TooLate,
    TurnedAway(Reason),
}

/// Somebody in the line.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    /// When it is to be turned away.
    pub(crate) deadline: Nanos,
    /// When to look again, if not woken before.
    pub(crate) again: Nanos,
    task: TaskId,
}

impl Waiting {
    pub(crate) fn new(ticket: Ticket, deadline: Nanos, again: Nanos, waker: &Waker) -> Self {
        Self { ticket, deadline, again, task: TaskId::of(waker) }
    }

    /// Notes the task that polls. If it is another one than before, the deadline becomes that of a
    /// request that comes now, unless it has passed.
    fn polled_by(&mut self, waker: &Waker, bounds: &Bounds, now: impl Fn() -> Nanos) {
        let before = mem::replace(&mut self.task, TaskId::of(waker));
        if before == self.task || self.deadline == Nanos::NEVER {
            return;
        }
        let now = now();
        if now < self.deadline {
            self.deadline = bounds.deadline(|| now);
        }
    }
}

/// Tells tasks apart by their wakers, without keeping any.
///
/// A task that ended may be taken for a later one at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TaskId(usize, usize);

impl TaskId {
    fn of(waker: &Waker) -> Self {
        Self(waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
    }
}

/// What those who come by one layer put up with. Not shared: two layers on one limit may differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many may be waiting already.
    pub(crate) max_queue: u32,
    /// How long to wait at most, in nanoseconds: every clone has it. [`u64::MAX`] for ever.
    max_wait: u64,
}

impl Bounds {
    pub(crate) const NONE: Self = Self { max_queue: u32::MAX, max_wait: u64::MAX };

    pub(crate) fn max_wait(self, max_wait: Duration) -> Self {
        Self { max_wait: nanos(max_wait), ..self }
    }

    /// When to turn away who comes now; reads the time only if there is a bound on the wait.
    pub(crate) fn deadline(&self, now: impl FnOnce() -> Nanos) -> Nanos {
        match self.max_wait {
            u64::MAX => Nanos::NEVER,
            wait => now().after(Duration::from_nanos(wait)),
        }
    }

    /// How long a wait may take; [`u64::MAX`] nanoseconds if for ever.
    const fn longest_wait(&self) -> Duration {
        Duration::from_nanos(self.max_wait)
    }

    /// May nobody wait at all?
    pub(crate) const fn allow_no_wait(&self) -> bool {
        self.max_wait == 0
    }
}

/// How many requests a limit has turned away since it was made, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedCounts {
    /// As many were waiting as may wait.
    pub queue_full: u64,
    /// The wait was longer than allowed, or it was known that it would be.
    pub wait_timeout: u64,
    /// The layer had been closed.
    pub closed: u64,
}

impl RejectedCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.queue_full + self.wait_timeout + self.closed
    }
}

/// Makes rejections, and counts them. The only place that does either.
#[derive(Debug)]
pub(crate) struct Rejections {
    limit: Limit,
    // Relaxed everywhere: they count, and order nothing.
    queue_full: AtomicU64,
    wait_timeout: AtomicU64,
    closed: AtomicU64,
}

impl Rejections {
    pub(crate) const fn of(limit: Limit) -> Self {
        Self {
            limit,
            queue_full: AtomicU64::new(0),
            wait_timeout: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }

    pub(crate) fn turn_away(&self, reason: Reason, retry_after: Option<Duration>) -> Rejected {
        let count = match reason {
            Reason::QueueFull => &self.queue_full,
            Reason::WaitTimeout => &self.wait_timeout,
            Reason::Closed => &self.closed,
        };
        count.fetch_add(1, Relaxed);
        Rejected::new(self.limit, reason, retry_after)
    }

    pub(crate) fn counts(&self) -> RejectedCounts {
        RejectedCounts {
            queue_full: self.queue_full.load(Relaxed),
            wait_timeout: self.wait_timeout.load(Relaxed),
            closed: self.closed.load(Relaxed),
        }
    }
}

/// One clone's place at a limiter.
///
/// `poll_ready` leads it from *idle* to *ready*, by way of the line if need be; `take` takes what it then has
/// and leaves it *idle*. Dropped, it gives back whatever it has.
pub(crate) struct Seat<L: Limiter> {
    limiter: Shared<L>,
    bounds: Bounds,
    state: State,
    /// A wait was taken for a new request's, because it was polled late, and has had no outcome since.
    is_renewed: bool,
    /// For the time to look again, if there is one: only who waits has it. Beside the state, so that the states
    /// of those who don't wait have nothing that could have to be dropped.
    alarm: Option<Alarm>,
}

#[derive(Debug)]
enum State {
    /// Has nothing.
    Idle,
    /// Stands in the line.
    Waiting(Waiting),
    /// Has a place. The inner service may still be getting ready.
    Held,
    /// Has a place, and the inner service is ready: may be called.
    Ready,
    /// Was turned away, at this time: may be called, to be told so.
    TurnedAway(Reason, Nanos),
}

/// What a seat has to give when its service is called.
pub(crate) enum Taken {
    Place,
    Rejection(Rejected),
}

impl<L: Limiter> Seat<L> {
    pub(crate) const fn new(limiter: Shared<L>, bounds: Bounds) -> Self {
        Self { limiter, bounds, state: State::Idle, is_renewed: false, alarm: None }
    }

    pub(crate) const fn limiter(&self) -> &Shared<L> {
        &self.limiter
    }

    /// The whole of a limited service's `poll_ready`: a place first, then the inner service.
    ///
    /// Ready without asking the inner service if there is a rejection to hand on. If the inner service
    /// fails, it is dead and needs no place.
    ///
    /// Always inlined, as is what calls it: a dozen instructions whose result (a `Poll` of a `Result`) would be
    /// written to memory and read again. Left to itself, the compiler does without where it is used twice.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn poll_ready<E>(
        &mut self,
        cx: &mut Context<'_>,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
    ) -> Poll<Result<(), E>> {
        if !ready!(self.poll(cx)) {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(inner(cx));
        match result {
            Ok(()) => self.state = State::Ready,
            Err(_) => self.vacate(),
        }
        Poll::Ready(result)
    }

    /// Takes a place, waits for one, or is turned away. Ready once either is settled, and from then on
    /// until [`take`](Self::take). True if it has a place.
    #[inline(always)]
    #[track_caller]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if matches!(self.state, State::Idle) && self.limiter.try_enter() {
            self.state = State::Held;
            return Poll::Ready(true);
        }
        match self.state {
            State::Held | State::Ready => Poll::Ready(true),
            State::Idle | State::Waiting(_) | State::TurnedAway(..) => self.poll_wait(cx),
        }
    }

    #[cold]
    #[track_caller]
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            // The state keeps its ticket until the outcome is known: wakers, and timers made outside a
            // runtime, can panic in here.
            let step = match &mut self.state {
                State::TurnedAway(_, at) => {
                    if self.limiter.clock().now() >= at.after(GRACE) {
                        self.state = State::Idle;
                        continue;
                    }
                    if !self.limiter.acquire() {
                        return Poll::Ready(false);
                    }
                    Step::Entered
                }
                State::Waiting(waiting) => {
                    let now = || self.limiter.clock().now();
                    waiting.polled_by(cx.waker(), &self.bounds, now);
                    self.limiter.look(waiting, cx.waker())
                }
                _ => match self.limiter.arrive(&self.bounds, cx.waker()) {
                    Arrival::Entered => Step::Entered,
                    Arrival::TurnedAway(reason) => Step::TurnedAway(reason),
                    Arrival::Waiting(waiting) => {
                        self.state = State::Waiting(waiting);
                        Step::Waiting
                    }
                },
            };
            match step {
                Step::Entered => return self.settle(None),
                Step::TurnedAway(reason) => return self.settle(Some(reason)),
                Step::TooLate => match self.end_wait() {
                    Poll::Ready(held) => return Poll::Ready(held),
                    Poll::Pending => continue,
                },
                Step::Waiting => {}
            }
            let State::Waiting(waiting) = &self.state else { unreachable!("it waits") };
            self.limiter.arc().mind(&waiting.ticket);
            if waiting.again == Nanos::NEVER {
                return Poll::Pending;
            }
            // A new one each time: the task may have moved to another runtime.
            let mut alarm = self.limiter.clock().alarm(waiting.again, &L::WAITING);
            if alarm.poll(cx).is_pending() {
                self.alarm = Some(alarm);
                return Poll::Pending;
            }
        }
    }

    /// Ends a wait that is too late for its deadline. Pending if the request that waited is gone: then
    /// the poll is one of a new request.
    fn end_wait(&mut self) -> Poll<bool> {
        self.alarm = None;
        let State::Waiting(waiting) = mem::replace(&mut self.state, State::Idle) else {
            unreachable!("only a waiter is too late")
        };
        if self.limiter.leave(waiting.ticket) || self.limiter.acquire() {
            return self.settle(None);
        }
        let late = self.limiter.clock().now().since(waiting.deadline);
        let patience = if self.is_renewed { self.bounds.longest_wait() } else { Duration::ZERO };
        if late <= patience.max(GRACE) {
            return self.settle(Some(Reason::WaitTimeout));
        }
        self.is_renewed = true;
        Poll::Pending
    }

    /// The waiting has come to an end: with a place, or with a rejection.
    fn settle(&mut self, rejected: Option<Reason>) -> Poll<bool> {
        self.alarm = None;
        self.is_renewed = false;
        let held = rejected.is_none();
        self.state = match rejected {
            None => State::Held,
            Some(reason) => State::TurnedAway(reason, self.limiter.clock().now()),
        };
        Poll::Ready(held)
    }

    /// Takes what the seat has, and leaves it idle. `inner` polls the inner service, which is asked only
    /// if a permit has become free since the rejection.
    ///
    /// # Panics
    ///
    /// If the service is not ready.
    #[inline]
    #[track_caller]
    pub(crate) fn take<E>(
        &mut self,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
    ) -> Taken {
        if matches!(self.state, State::Ready) {
            self.state = State::Idle;
            return Taken::Place;
        }
        self.take_rejection(inner)
    }

    #[cold]
    #[track_caller]
    fn take_rejection<E>(
        &mut self,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
    ) -> Taken {
        let State::TurnedAway(reason, _) = self.state else {
            panic!(
                "called without readiness: `poll_ready` must return `Ready(Ok(()))` before each `call`"
            )
        };
        self.state = State::Idle;
        if self.limiter.acquire() {
            self.state = State::Held; // given back if the inner service panics
            // The call can't wait, so there is no task to wake. An error is told again by `poll_ready`.
            if let Poll::Ready(Ok(())) = inner(&mut Context::from_waker(Waker::noop())) {
                self.state = State::Idle;
                return Taken::Place;
            }
            self.vacate();
        }
        Taken::Rejection(self.limiter.reject(reason))
    }

    /// Gives back whatever the seat has.
    fn vacate(&mut self) {
        match mem::replace(&mut self.state, State::Idle) {
            State::Waiting(waiting) => {
                self.alarm = None;
                if self.limiter.leave(waiting.ticket) {
                    self.limiter.give_back();
                }
            }
            State::Held | State::Ready => self.limiter.give_back(),
            State::Idle | State::TurnedAway(..) => {}
        }
    }
}

/// A clone is another customer: it has nothing yet.
impl<L: Limiter> Clone for Seat<L> {
    fn clone(&self) -> Self {
        Self::new(self.limiter.clone(), self.bounds)
    }
}

impl<L: Limiter> Drop for Seat<L> {
    fn drop(&mut self) {
        self.vacate();
    }
}

impl<L: Limiter> fmt::Debug for Seat<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Idle => "idle",
            State::Waiting(_) => "waiting",
            State::Held => "held",
            State::Ready => "ready",
            State::TurnedAway(..) => "turned away",
        })
    }
}
