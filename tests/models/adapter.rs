//! The calls that models and scenes make on the cores, in one place.
//!
//! `tests/models` and `tests/shuttle` both compile this file, each with its own `sync`. It adds to
//! [`Semaphore`] and [`Window`] the calls of a limiter that admits every waiter while it is open.

use std::{
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use crate::{
    semaphore::{Arrival, Deadline, Deadlines, Ended, Semaphore, Tag, Tags, View, WaiterKey},
    sync::{ClockWord, Ordering},
    time::{Nanos, Time, nanos},
    window::{Shape, Window},
};

/// Deadlines that never pass.
pub(crate) struct Untimed;

impl Deadlines for Untimed {
    fn has_passed(&self, _: Deadline) -> bool {
        false
    }

    fn of_grant(&self, deadline: Deadline) -> Deadline {
        deadline
    }
}

/// A clock that the threads of a test advance. It starts at zero.
#[derive(Clone)]
pub(crate) struct TestClock {
    word: Arc<ClockWord>,
    is_causal: bool,
}

impl TestClock {
    /// Creates a clock without orderings: a thread may read an old time, unless it has synchronised
    /// with a thread that has read a newer one. It promises less than a real clock.
    pub(crate) fn new() -> Self {
        Self { word: Arc::new(ClockWord::new(0)), is_causal: false }
    }

    /// Creates a clock with ordered readings, as a real clock has. Each reading is the newest time,
    /// and a step before it happens before all steps after a later reading.
    pub(crate) fn causal() -> Self {
        Self { is_causal: true, ..Self::new() }
    }

    pub(crate) fn set(&self, time: Nanos) {
        self.word.store(time.get(), Ordering::Relaxed);
    }

    /// Advances the clock. Returns the time after.
    pub(crate) fn advance(&self, by: Duration) -> Nanos {
        let order = if self.is_causal { Ordering::AcqRel } else { Ordering::Relaxed };
        Nanos::new(self.word.fetch_add(nanos(by), order)).after(by)
    }
}

impl Time for TestClock {
    fn now(&self) -> Nanos {
        if self.is_causal {
            return self.advance(Duration::ZERO);
        }
        Nanos::new(self.word.load(Ordering::Relaxed))
    }
}

/// The outcome of a request for a permit.
#[derive(Debug)]
pub(crate) enum Acquired {
    Granted,
    Queued(WaiterKey),
    /// The semaphore is closed, or has fewer permits.
    Refused,
}

impl Acquired {
    fn of(queued: Result<Option<WaiterKey>, Ended>) -> Self {
        match queued {
            Ok(None) => Self::Granted,
            Ok(Some(key)) => Self::Queued(key),
            Err(_) => Self::Refused,
        }
    }

    /// Returns the key of a waiter that is known to queue.
    pub(crate) fn key(self) -> WaiterKey {
        match self {
            Self::Queued(key) => key,
            other => unreachable!("no permit is available, but: {other:?}"),
        }
    }
}

/// The outcome of a waiter's poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    Granted,
    Queued,
    Overdue,
    TooLate,
    TooMany,
    Closed,
}

impl From<Poll<Result<(), Ended>>> for Polled {
    fn from(poll: Poll<Result<(), Ended>>) -> Self {
        match poll {
            Poll::Ready(Ok(())) => Self::Granted,
            Poll::Ready(Err(Ended::Overdue)) => Self::Overdue,
            Poll::Ready(Err(Ended::TooLate)) => Self::TooLate,
            Poll::Ready(Err(Ended::TooMany { .. })) => Self::TooMany,
            Poll::Ready(Err(Ended::Closed)) => Self::Closed,
            Poll::Pending => Self::Queued,
        }
    }
}

/// Admits a waiter for `permits` to the queue of an open semaphore.
fn admit(view: View, permits: u32) -> Result<(), Ended> {
    let limit = view.limit;
    match () {
        () if view.is_closed => Err(Ended::Closed),
        () if permits > limit => Err(Ended::TooMany { limit }),
        () => Ok(()),
    }
}

/// A request for one permit until `deadline`.
fn until(deadline: Deadline) -> Arrival {
    Arrival { deadline, ..Arrival::PLAIN }
}

/// A request for `permits` without a deadline.
pub(crate) fn many(permits: u32) -> Arrival {
    Arrival { permits, ..Arrival::PLAIN }
}

impl<D: Deadlines, T: Tags> Semaphore<D, T> {
    /// Acquires a permit, or queues without a deadline.
    pub(crate) fn acquire(&self, waker: &Waker) -> Acquired {
        if self.try_acquire_unobserved() {
            return Acquired::Granted;
        }
        self.queue_until(waker, Deadline::NEVER)
    }

    /// Queues until `deadline`. Acquires a permit that becomes available before.
    pub(crate) fn queue_until(&self, waker: &Waker, deadline: Deadline) -> Acquired {
        self.queue_as(waker, until(deadline))
    }

    /// Queues, or acquires permits that become available before.
    pub(crate) fn queue_as(&self, waker: &Waker, arrival: Arrival) -> Acquired {
        let admit = |view, _: &dyn Fn() -> _, _: &T| admit(view, arrival.permits);
        Acquired::of(self.queue(waker, arrival, admit, |_, ()| Tag::NONE))
    }

    pub(crate) fn poll_until(&self, key: &WaiterKey, waker: &Waker, deadline: Deadline) -> Polled {
        self.poll(key, waker, deadline, |_, _| {}).into()
    }

    /// Polls a waiter without a deadline.
    pub(crate) fn poll_waiter(&self, key: &WaiterKey, waker: &Waker) -> Polled {
        self.poll_until(key, waker, Deadline::NEVER)
    }

    pub(crate) fn view(&self) -> View {
        self.read(|view| view)
    }

    pub(crate) fn try_view(&self) -> Option<View> {
        self.try_read_with(|| ()).map(|(view, ())| view)
    }

    /// Waits until no permit is held and no waiter is queued.
    pub(crate) fn poll_idle(&self, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()> {
        self.poll_drained(key, waker, &|view| view().is_idle())
    }
}

/// A window of a test. Runtimes have numbers.
pub(crate) type TestWindow = Window<TestClock, u32>;

impl TestWindow {
    /// Creates a window with a small log of 4 checkpoints per window, in 8 slots.
    pub(crate) fn small(shape: Shape, limit: u32, length: Duration, clock: &TestClock) -> Self {
        Self::with_sizes(shape, limit, length, clock.clone(), 4, 8)
    }

    /// Acquires a permit, or queues in `runtime`. The second value is true if the caller spawns a
    /// refill task there.
    pub(crate) fn acquire_in(&self, runtime: u32, waker: &Waker) -> (Acquired, bool) {
        if self.try_acquire_unobserved() {
            return (Acquired::Granted, false);
        }
        self.queue_in(runtime, waker, Deadline::NEVER)
    }

    /// As [`acquire_in`](Self::acquire_in), after a refill, and until `deadline`.
    pub(crate) fn queue_in(
        &self,
        runtime: u32,
        waker: &Waker,
        deadline: Deadline,
    ) -> (Acquired, bool) {
        self.queue_as(runtime, waker, until(deadline))
    }

    /// As [`acquire_in`](Self::acquire_in), after a refill.
    pub(crate) fn queue_as(
        &self,
        runtime: u32,
        waker: &Waker,
        arrival: Arrival,
    ) -> (Acquired, bool) {
        let mut is_task_missing = false;
        let admit = |view, _: &dyn Fn() -> _| admit(view, arrival.permits).map(|()| runtime);
        let queued = self.queue(waker, arrival, admit).map(|queued| {
            let (key, is_missing) = queued?;
            is_task_missing = is_missing;
            Some(key)
        });
        (Acquired::of(queued), is_task_missing)
    }

    /// Polls a waiter without a deadline.
    pub(crate) fn poll_waiter(&self, key: &WaiterKey, waker: &Waker) -> Polled {
        self.poll(key, waker, Deadline::NEVER, |_| {}).into()
    }

    /// Polls a waiter in `runtime`. The second value is that of [`acquire_in`](Self::acquire_in).
    pub(crate) fn poll_in(&self, runtime: u32, key: &WaiterKey, waker: &Waker) -> (Polled, bool) {
        let polled = self.poll_waiter(key, waker);
        (polled, polled == Polled::Queued && self.assign(key, runtime))
    }
}
