//! The gate as anybody would write it down.

use std::{collections::VecDeque, future::pending, task::Poll};

use futures::FutureExt;
use proptest::prelude::*;
use tokio_test::task;
use tower::{Layer, Service, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected};

use super::{CUSTOMERS, Customer, hold};
use crate::{paused_time::pass, support::ms};

#[derive(Clone, Debug)]
enum Step {
    Poll(usize),
    /// The service goes to another task, which polls it.
    Move(usize),
    Call(usize),
    /// Ends what is in flight.
    End(usize),
    /// Drops the service, in whatever state it is, and what it has in flight.
    Leave(usize),
    Advance(u64),
    Limit(usize),
    /// Watches for the moment when all is drained.
    Watch,
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    waiting: usize,
    /// In milliseconds.
    wait: Option<u64>,
}

/// Times are tens of milliseconds, so that things meet.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..CUSTOMERS;
    let step = prop_oneof![
        60 => who.clone().prop_map(Step::Poll),
        5 => who.clone().prop_map(Step::Move),
        30 => who.clone().prop_map(Step::Call),
        30 => who.clone().prop_map(Step::End),
        20 => who.prop_map(Step::Leave),
        20 => (1..6_u64).prop_map(|tens| Step::Advance(10 * tens)),
        10 => (1..5_usize).prop_map(Step::Limit),
        10 => Just(Step::Watch),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 1..200)
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let waiting = prop_oneof![Just(usize::MAX), 0..4_usize];
    let wait = proptest::option::of((0..10_u64).prop_map(|tens| 10 * tens));
    (waiting, wait).prop_map(|(waiting, wait)| Bounds { waiting, wait })
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
    /// Until when.
    Waiting(Option<u64>),
    /// It was granted a permit while it waited, until when, and has not polled since.
    Granted(Option<u64>),
    /// It has a place: ready or in flight.
    Holds,
    /// The gate was closed while it waited, which it hears when it polls.
    Dismissed,
    /// Its deadline has passed, when, and it has not polled since.
    Expired(u64),
    /// And when.
    TurnedAway(Reason, u64),
}

/// How late a task may be polled, and for how long it is the same request, in milliseconds.
const GRACE: u64 = 100;

struct Naive {
    limit: usize,
    closed: bool,
    bounds: Bounds,
    states: [State; CUSTOMERS],
    line: VecDeque<usize>,
    turned_away: u64,
}

impl Naive {
    fn holders(&self) -> usize {
        let holds = |state: &&State| matches!(state, State::Holds | State::Granted(_));
        self.states.iter().filter(holds).count()
    }

    fn is_free(&self) -> bool {
        !self.closed && self.holders() < self.limit && self.line.is_empty()
    }

    /// Forgets the waits whose deadlines have passed, and grants what there is.
    fn settle(&mut self, now: u64) {
        for who in 0..CUSTOMERS {
            match self.states[who] {
                State::Waiting(Some(until)) if until <= now => {
                    self.states[who] = State::Expired(until);
                    self.line.retain(|&waiter| waiter != who);
                }
                State::Granted(Some(until)) if until + GRACE <= now => {
                    self.states[who] = State::Expired(until);
                }
                _ => {}
            }
        }
        self.admit();
    }

    fn is_empty(&self) -> bool {
        self.holders() == 0 && self.line.is_empty()
    }

    fn admit(&mut self) {
        while !self.closed && self.holders() < self.limit {
            let Some(next) = self.line.pop_front() else { return };
            let State::Waiting(until) = self.states[next] else { unreachable!("it waits") };
            self.states[next] = State::Granted(until);
        }
    }

    fn poll(&mut self, who: usize, same_task: bool, now: u64) {
        let until = self.bounds.wait.map(|wait| now + wait);
        self.states[who] = match self.states[who] {
            State::TurnedAway(_, at) if now >= at + GRACE => self.arrive(who, now),
            State::Expired(_) | State::TurnedAway(..) if self.is_free() => State::Holds,
            State::Expired(at) if now <= at + GRACE => State::TurnedAway(Reason::WaitTimeout, now),
            State::Idle | State::Expired(_) => self.arrive(who, now),
            State::Dismissed => State::TurnedAway(Reason::Closed, now),
            State::Granted(_) => State::Holds,
            State::Waiting(_) if !same_task => State::Waiting(until),
            state => state,
        };
    }

    fn arrive(&mut self, who: usize, now: u64) -> State {
        if self.closed {
            State::TurnedAway(Reason::Closed, now)
        } else if self.is_free() {
            State::Holds
        } else if self.line.len() >= self.bounds.waiting {
            State::TurnedAway(Reason::QueueFull, now)
        } else if self.bounds.wait == Some(0) {
            State::TurnedAway(Reason::WaitTimeout, now)
        } else {
            self.line.push_back(who);
            State::Waiting(self.bounds.wait.map(|wait| now + wait))
        }
    }

    /// Has, and waits for, nothing any more.
    fn leave(&mut self, who: usize) {
        self.states[who] = State::Idle;
        self.line.retain(|&waiter| waiter != who);
        self.admit();
    }

    fn close(&mut self) {
        self.closed = true;
        for who in std::mem::take(&mut self.line) {
            self.states[who] = State::Dismissed;
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

/// B1 to B4, B6, C4, C5, C11, C12: after each step, who holds a place, who waits and who is turned away is what the
/// naive gate says; whoever was called, told or timed out has been woken exactly as often; and in the end
/// nothing is left.
#[test]
fn c4_c5_c11_c12_b1_b2_b3_b4_b6_concurrency_limit_agrees_with_the_naive_one() {
    hold(file!(), (1..5_usize, bounds(), steps()), |(limit, bounds, steps)| async move {
        let mut layer =
            ConcurrencyBackpressureLayer::new(limit).max_waiting(bounds.waiting).respond(Some);
        if let Some(wait) = bounds.wait {
            layer = layer.max_wait(ms(wait));
        }
        let handle = layer.handle();
        let inner = service_fn(|(): ()| pending::<Result<Option<Rejected>, ()>>());
        let mut naive = Naive {
            limit,
            closed: false,
            bounds,
            states: [State::Idle; CUSTOMERS],
            line: VecDeque::new(),
            turned_away: 0,
        };
        let mut customers: Vec<_> =
            (0..CUSTOMERS).map(|_| Customer::new(layer.layer(inner))).collect();
        let mut ready = [false; CUSTOMERS];
        // When each will look again by itself.
        let mut timers = [None; CUSTOMERS];
        let mut watch = None;
        let mut now = 0;
        let taken = steps.len();

        for step in steps {
            let before = naive.states;
            let woken: Vec<_> = customers.iter().map(Customer::woken).collect();
            let mut polled = None;
            if let Step::Move(who) = step {
                if customers[who].flight.is_none() {
                    customers[who].move_on();
                }
            }
            match step {
                Step::Poll(who) | Step::Move(who) if customers[who].flight.is_none() => {
                    polled = Some(who);
                    naive.poll(who, matches!(step, Step::Poll(_)), now);
                    let waits = matches!(naive.states[who], State::Waiting(_));
                    ready[who] = customers[who].poll();
                    prop_assert_eq!(ready[who], !waits, "{:?}", naive.states[who]);
                    timers[who] = match naive.states[who] {
                        State::Waiting(until) => until,
                        _ => None,
                    };
                }
                Step::Call(who) if ready[who] => {
                    ready[who] = false;
                    let mut flight = Box::pin(customers[who].service.call(()));
                    let is_rejected = matches!(naive.states[who], State::TurnedAway(..));
                    if is_rejected && naive.is_free() {
                        naive.states[who] = State::Holds;
                    }
                    if let State::TurnedAway(expected, _) = naive.states[who] {
                        let expected = if naive.closed { Reason::Closed } else { expected };
                        naive.turned_away += 1;
                        let answer = flight.as_mut().now_or_never().and_then(Result::ok).flatten();
                        let rejected = answer.expect("answered at once");
                        prop_assert_eq!(reason(&rejected), expected);
                        prop_assert_eq!(rejected.retry_after(), None);
                        naive.leave(who);
                    } else {
                        customers[who].flight = Some(flight);
                    }
                }
                Step::End(who) if customers[who].flight.is_some() => {
                    customers[who].flight = None;
                    naive.leave(who);
                }
                Step::Leave(who) => {
                    customers[who] = Customer::new(layer.layer(inner));
                    (timers[who], ready[who]) = (None, false);
                    naive.leave(who);
                    polled = Some(who);
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
                Step::Watch => {
                    let mut drained = task::spawn(handle.drained());
                    match drained.poll() {
                        Poll::Ready(()) => prop_assert!(naive.is_empty()),
                        Poll::Pending => watch = Some(drained),
                    }
                }
                Step::Close => {
                    handle.close();
                    naive.close();
                }
                _ => {}
            }

            prop_assert_eq!(handle.in_flight(), naive.holders());
            prop_assert_eq!(handle.waiting(), naive.line.len());
            for who in (0..CUSTOMERS).filter(|who| polled != Some(*who)) {
                let waited = matches!(before[who], State::Waiting(_));
                let told = matches!(naive.states[who], State::Granted(_) | State::Dismissed);
                let called = usize::from(waited && told);
                let rang = timers[who].is_some_and(|at| at <= now);
                if rang {
                    timers[who] = None;
                }
                let wakes = customers[who].woken() - woken[who];
                prop_assert_eq!(wakes, called + usize::from(rang), "{} was {:?}", who, before[who]);
            }
            if !naive.is_empty() {
                let told = watch.as_ref().is_some_and(|drained| drained.is_woken());
                prop_assert!(!told, "told that it is drained before it was");
            } else if watch.is_some() {
                let mut drained = watch.take().expect("watches");
                prop_assert!(drained.is_woken() && drained.poll().is_ready());
            }
        }

        drop(customers);
        prop_assert_eq!((handle.in_flight(), handle.waiting()), (0, 0), "something was lost");
        prop_assert_eq!(handle.rejected().total(), naive.turned_away);
        prop_assert!(handle.drained().now_or_never().is_some());
        Ok(taken)
    });
}
