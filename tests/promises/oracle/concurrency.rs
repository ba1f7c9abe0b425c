//! The naive concurrency limit: the states of the callers, and a queue.

use std::{collections::VecDeque, future::pending, task::Poll};

use futures::FutureExt;
use proptest::prelude::*;
use tokio_test::task;
use tower::{Layer, Service, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected};

use super::{CALLERS, Caller, hold};
use crate::{paused_time::pass, support::ms};

#[derive(Clone, Debug)]
enum Step {
    Poll(usize),
    /// The service moves to another task, which polls it.
    Move(usize),
    Call(usize),
    /// Drops the response in flight.
    Complete(usize),
    /// Drops the service, in any state, and its response.
    Drop(usize),
    Advance(u64),
    Limit(u32),
    /// Bounds in the place of those of the layer.
    Bounds(Bounds),
    /// Waits until the limit is idle.
    Drain,
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    max_queue: u32,
    /// In milliseconds.
    max_wait: Option<u64>,
}

/// Times are tens of milliseconds, so that events coincide.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let caller = 0..CALLERS;
    let step = prop_oneof![
        60 => caller.clone().prop_map(Step::Poll),
        5 => caller.clone().prop_map(Step::Move),
        30 => caller.clone().prop_map(Step::Call),
        30 => caller.clone().prop_map(Step::Complete),
        20 => caller.prop_map(Step::Drop),
        20 => (1..6_u64).prop_map(|tens| Step::Advance(10 * tens)),
        10 => (1..5_u32).prop_map(Step::Limit),
        5 => bounds().prop_map(Step::Bounds),
        10 => Just(Step::Drain),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 1..200)
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let max_queue = prop_oneof![Just(u32::MAX), 0..4_u32];
    let max_wait = proptest::option::of((0..10_u64).prop_map(|tens| 10 * tens));
    (max_queue, max_wait).prop_map(|(max_queue, max_wait)| Bounds { max_queue, max_wait })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reason {
    QueueFull,
    WaitTimeout,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    /// Until the given time.
    Waiting(Option<u64>),
    /// Granted a permit while it waited until the given time, and not polled since.
    Granted(Option<u64>),
    /// Ready, or in flight.
    Holds,
    /// The limit was closed while it waited, and it has not been polled since.
    Closed,
    /// Its deadline passed at the given time, and it has not been polled since.
    Expired(u64),
    /// Rejected at the given time, after a wait or on arrival.
    Rejected(Reason, u64, Came),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Came {
    Waited,
    Now,
}

/// The time by which a poll may be late for its deadline and still be the same request's, in
/// milliseconds.
const GRACE: u64 = 100;

struct Naive {
    limit: u32,
    closed: bool,
    bounds: Bounds,
    states: [State; CALLERS],
    queue: VecDeque<usize>,
    rejections: u64,
}

impl Naive {
    fn holders(&self) -> u32 {
        let holds = |state: &State| u32::from(matches!(state, State::Holds | State::Granted(_)));
        self.states.iter().map(holds).sum()
    }

    fn queued(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap()
    }

    fn is_free(&self) -> bool {
        !self.closed && self.holders() < self.limit && self.queue.is_empty()
    }

    /// Ends waits and takes grants back in the order of their deadlines. A permit that is taken
    /// back goes to the first waiter of that time, a wait that ends at the same time included.
    fn settle(&mut self, now: u64) {
        loop {
            let deadline = |caller: usize| match self.states[caller] {
                State::Granted(Some(until)) => Some((until + GRACE, 0, caller)),
                State::Waiting(Some(until)) => Some((until, 1, caller)),
                _ => None,
            };
            let earliest = (0..CALLERS).filter_map(deadline).min();
            let Some((_, _, caller)) = earliest.filter(|&(time, ..)| time <= now) else { break };
            if let State::Granted(Some(until)) | State::Waiting(Some(until)) = self.states[caller] {
                self.states[caller] = State::Expired(until);
            }
            self.queue.retain(|&waiter| waiter != caller);
            self.admit();
        }
        self.admit();
    }

    fn is_empty(&self) -> bool {
        self.holders() == 0 && self.queue.is_empty()
    }

    fn admit(&mut self) {
        while !self.closed && self.holders() < self.limit {
            let Some(next) = self.queue.pop_front() else { return };
            let State::Waiting(until) = self.states[next] else { unreachable!("a waiter") };
            self.states[next] = State::Granted(until);
        }
    }

    fn poll(&mut self, caller: usize, same_task: bool, now: u64) {
        let until = self.bounds.max_wait.map(|wait| now + wait);
        self.states[caller] = match self.states[caller] {
            State::Rejected(_, at, _) if now >= at + GRACE => self.arrive(caller, now),
            State::Expired(_) | State::Rejected(..) if self.is_free() => State::Holds,
            State::Expired(at) if now <= at + GRACE => {
                State::Rejected(Reason::WaitTimeout, now, Came::Waited)
            }
            State::Idle | State::Expired(_) => self.arrive(caller, now),
            State::Closed => State::Rejected(Reason::Closed, now, Came::Waited),
            State::Granted(_) => State::Holds,
            // No time is left under the bound of now.
            State::Waiting(Some(_)) if !same_task && until == Some(now) => {
                self.queue.retain(|&waiter| waiter != caller);
                State::Rejected(Reason::WaitTimeout, now, Came::Waited)
            }
            // A wait without a deadline keeps that.
            State::Waiting(Some(_)) if !same_task => State::Waiting(until),
            state => state,
        };
    }

    fn arrive(&mut self, caller: usize, now: u64) -> State {
        if self.is_free() {
            State::Holds
        } else if let Some(reason) = self.rejects() {
            State::Rejected(reason, now, Came::Now)
        } else {
            self.queue.push_back(caller);
            State::Waiting(self.bounds.max_wait.map(|wait| now + wait))
        }
    }

    /// The reason for which a request is rejected that comes now, without a free permit.
    fn rejects(&self) -> Option<Reason> {
        if self.closed {
            Some(Reason::Closed)
        } else if self.queued() >= self.bounds.max_queue {
            Some(Reason::QueueFull)
        } else {
            (self.bounds.max_wait == Some(0)).then_some(Reason::WaitTimeout)
        }
    }

    /// Releases its permit, or cancels its wait.
    fn release(&mut self, caller: usize) {
        self.states[caller] = State::Idle;
        self.queue.retain(|&waiter| waiter != caller);
        self.admit();
    }

    fn close(&mut self) {
        self.closed = true;
        for caller in std::mem::take(&mut self.queue) {
            self.states[caller] = State::Closed;
        }
    }
}

fn reason(rejected: &Rejected) -> Reason {
    match rejected {
        rejected if rejected.is_queue_full() => Reason::QueueFull,
        rejected if rejected.is_wait_timeout() => Reason::WaitTimeout,
        _ => Reason::Closed,
    }
}

/// After each step, permits, waiters and rejections are those of the naive limit. A waiter that was
/// granted a permit, was rejected or has timed out was woken exactly once for each. In the end no
/// permit is held and no waiter is queued.
#[test]
fn s2_c4_c5_c11_c12_b1_b2_b3_b4_b6_concurrency_limit_agrees_with_the_naive_one() {
    hold(file!(), (1..5_u32, bounds(), steps()), |(limit, bounds, steps)| async move {
        let mut layer =
            ConcurrencyBackpressureLayer::new(limit).max_queue(bounds.max_queue).reject_with(Some);
        if let Some(wait) = bounds.max_wait {
            layer = layer.max_wait(ms(wait));
        }
        let handle = layer.handle();
        let inner = service_fn(|(): ()| pending::<Result<Option<Rejected>, ()>>());
        let mut naive = Naive {
            limit,
            closed: false,
            bounds,
            states: [State::Idle; CALLERS],
            queue: VecDeque::new(),
            rejections: 0,
        };
        let mut callers: Vec<_> = (0..CALLERS).map(|_| Caller::new(layer.layer(inner))).collect();
        let mut ready = [false; CALLERS];
        // The deadlines of the last polls.
        let mut timers = [None; CALLERS];
        let mut drain = None;
        let mut now = 0;
        let taken = steps.len();

        for step in steps {
            let before = naive.states;
            let woken: Vec<_> = callers.iter().map(Caller::woken).collect();
            let mut polled = None;
            if let Step::Move(caller) = step {
                if callers[caller].response.is_none() {
                    callers[caller].move_to_another_task();
                }
            }
            match step {
                Step::Poll(caller) | Step::Move(caller) if callers[caller].response.is_none() => {
                    polled = Some(caller);
                    naive.poll(caller, matches!(step, Step::Poll(_)), now);
                    let waits = matches!(naive.states[caller], State::Waiting(_));
                    ready[caller] = callers[caller].poll();
                    prop_assert_eq!(ready[caller], !waits, "{:?}", naive.states[caller]);
                    timers[caller] = match naive.states[caller] {
                        State::Waiting(until) => until,
                        _ => None,
                    };
                }
                Step::Call(caller) if ready[caller] => {
                    ready[caller] = false;
                    let mut response = Box::pin(callers[caller].service.call(()));
                    let is_rejected = matches!(naive.states[caller], State::Rejected(..));
                    if is_rejected && naive.is_free() {
                        naive.states[caller] = State::Holds;
                    }
                    if let State::Rejected(before, at, came) = naive.states[caller] {
                        let has_waited = came == Came::Waited && now < at + GRACE;
                        let kept = (has_waited && !naive.closed).then_some(before);
                        let expected = kept.or_else(|| naive.rejects()).unwrap_or(before);
                        naive.rejections += 1;
                        let outcome =
                            response.as_mut().now_or_never().and_then(Result::ok).flatten();
                        let rejected = outcome.expect("rejected at once");
                        prop_assert_eq!(reason(&rejected), expected);
                        prop_assert_eq!(rejected.retry_after(), None);
                        naive.release(caller);
                    } else {
                        callers[caller].response = Some(response);
                    }
                }
                Step::Complete(caller) if callers[caller].response.is_some() => {
                    callers[caller].response = None;
                    naive.release(caller);
                }
                Step::Drop(caller) => {
                    callers[caller] = Caller::new(layer.layer(inner));
                    (timers[caller], ready[caller]) = (None, false);
                    naive.release(caller);
                    polled = Some(caller);
                }
                Step::Advance(millis) => {
                    pass(ms(millis)).await;
                    now += millis;
                    naive.settle(now);
                }
                Step::Limit(limit) => {
                    handle.set_limit(limit).unwrap();
                    naive.limit = limit;
                    naive.admit();
                }
                Step::Bounds(bounds) => {
                    let max_queue = (bounds.max_queue != u32::MAX).then_some(bounds.max_queue);
                    handle.set_max_queue(max_queue).unwrap();
                    handle.set_max_wait(bounds.max_wait.map(ms)).unwrap();
                    naive.bounds = bounds;
                }
                Step::Drain => {
                    let mut drained = task::spawn(handle.drained());
                    match drained.poll() {
                        Poll::Ready(()) => prop_assert!(naive.is_empty()),
                        Poll::Pending => drain = Some(drained),
                    }
                }
                Step::Close => {
                    handle.close().unwrap();
                    naive.close();
                }
                _ => {}
            }

            prop_assert_eq!(handle.in_flight(), naive.holders());
            prop_assert_eq!(handle.queued(), naive.queued());
            for caller in (0..CALLERS).filter(|caller| polled != Some(*caller)) {
                let waited = matches!(before[caller], State::Waiting(_));
                let ended = matches!(naive.states[caller], State::Granted(_) | State::Closed);
                let ended = usize::from(waited && ended);
                let fired = timers[caller].is_some_and(|at| at <= now);
                if fired {
                    timers[caller] = None;
                }
                let wakes = callers[caller].woken() - woken[caller];
                prop_assert_eq!(
                    wakes,
                    ended + usize::from(fired),
                    "{} was {:?}",
                    caller,
                    before[caller]
                );
            }
            if !naive.is_empty() {
                let woken = drain.as_ref().is_some_and(|drained| drained.is_woken());
                prop_assert!(!woken, "woken before it is drained");
            } else if drain.is_some() {
                let mut drained = drain.take().expect("a drain");
                prop_assert!(drained.is_woken() && drained.poll().is_ready());
            }
        }

        drop(callers);
        prop_assert_eq!(
            (handle.in_flight(), handle.queued()),
            (0, 0),
            "a permit or a waiter is lost"
        );
        prop_assert_eq!(handle.rejected().total(), naive.rejections);
        prop_assert!(handle.drained().now_or_never().is_some());
        Ok(taken)
    });
}
