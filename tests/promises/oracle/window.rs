//! The naive window: the times of the issues in a list, and a queue.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    task::Poll,
    time::Duration,
};

use futures::FutureExt;
use proptest::prelude::*;
use tokio_test::task;
use tower::{Layer, Service, service_fn};
use tower_floodgate::{Quota, Rejected, WindowRateLimitLayer, rate_limit::Drained};

use super::{CALLERS, Caller, hold};
use crate::{
    paused_time::pass,
    support::{most_in_any_span, ms},
};

#[derive(Clone, Debug)]
enum Step {
    Poll(usize),
    Call(usize),
    /// Drops the service, in any state.
    Drop(usize),
    Advance(u64),
    Limit(u32),
    Window(u64),
    /// Limit and window in one step.
    Quota(u32, u64),
    /// The bounds of the queue and of the wait, in the place of those of the layer.
    Bounds(Option<u32>, Option<u64>),
    Pause(u64),
    /// Waits until the limit is drained.
    Drain,
    Close,
}

/// The settings at the beginning of a schedule. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Settings {
    /// All times are multiples of it, so that events coincide.
    unit: u64,
    fixed: bool,
    limit: u32,
    window: u64,
    max_queue: u32,
    max_wait: Option<u64>,
}

fn settings() -> impl Strategy<Value = Settings> {
    let unit = proptest::sample::select(vec![1, 10, 97]);
    let max_queue = prop_oneof![Just(u32::MAX), 0..4_u32];
    let max_wait = proptest::option::of(0..30_u64);
    (unit, any::<bool>(), 1..6_u32, 1..15_u64, max_queue, max_wait).prop_map(
        |(unit, fixed, limit, window, max_queue, max_wait)| Settings {
            unit,
            fixed,
            limit,
            window: unit * window,
            max_queue,
            max_wait: max_wait.map(|wait| unit * wait),
        },
    )
}

/// Times are in units.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let caller = 0..CALLERS;
    let bounds = (proptest::option::of(0..4_u32), proptest::option::of(0..30_u64));
    let step = prop_oneof![
        60 => caller.clone().prop_map(Step::Poll),
        40 => caller.clone().prop_map(Step::Call),
        15 => caller.prop_map(Step::Drop),
        30 => (1..8_u64).prop_map(Step::Advance),
        5 => (1..6_u32).prop_map(Step::Limit),
        5 => (1..15_u64).prop_map(Step::Window),
        5 => (1..6_u32, 1..15_u64).prop_map(|(limit, window)| Step::Quota(limit, window)),
        5 => bounds.prop_map(|(max_queue, max_wait)| Step::Bounds(max_queue, max_wait)),
        5 => (1..15_u64).prop_map(Step::Pause),
        10 => Just(Step::Drain),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 1..200)
}

/// Times are in milliseconds since the beginning.
#[derive(Clone)]
struct Naive {
    fixed: bool,
    limit: u32,
    window: u64,
    paused_until: u64,
    /// The times of issues with permits that have not expired.
    issued: Vec<u64>,
    /// Callers with a permit, before their calls.
    held: Vec<usize>,
    queue: VecDeque<Waiter>,
    /// Waiters past their deadlines that have not been polled since.
    expired: Vec<Waiter>,
    /// Callers with a wait that was taken for a new request's, without an outcome since.
    renewed: Vec<usize>,
    closed: bool,
    /// Waiters that the close has ended, and that have not been polled since.
    dismissed: Vec<usize>,
    now: u64,
}

#[derive(Clone, Copy)]
struct Waiter {
    caller: usize,
    /// The deadline.
    until: u64,
}

impl Naive {
    /// The time when the permit of an issue expires.
    fn expires(&self, issued: u64) -> u64 {
        if self.fixed { (issued / self.window + 1) * self.window } else { issued + self.window }
    }

    fn room(&self) -> u32 {
        let taken = u32::try_from(self.held.len() + self.issued.len()).unwrap();
        self.limit.saturating_sub(taken)
    }

    fn queued(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap()
    }

    /// Expires permits and waits, and grants free permits.
    fn settle(&mut self) {
        let expire: Vec<_> = self.issued.iter().map(|&at| self.expires(at)).collect();
        let mut expire = expire.into_iter();
        self.issued.retain(|_| expire.next().is_some_and(|at| at > self.now));
        self.expired.extend(self.queue.iter().filter(|waiter| waiter.until <= self.now));
        self.queue.retain(|waiter| waiter.until > self.now);
        while !self.closed && self.now >= self.paused_until && self.room() > 0 {
            let Some(next) = self.queue.pop_front() else { return };
            self.held.push(next.caller);
        }
    }

    /// The time when a request with `ahead` waiters before it can be issued, if each of them is
    /// issued as soon as it can.
    fn expected(&self, ahead: usize) -> u64 {
        let mut at = self.now;
        let held = self.held.iter().map(|_| &at);
        let mut taken: Vec<_> =
            self.issued.iter().chain(held).map(|&at| self.expires(at)).collect();
        at = at.max(self.paused_until);
        for _ in 0..=ahead {
            taken.retain(|&expires| expires > at);
            while taken.len() >= self.limit as usize {
                at = *taken.iter().min().expect("as many as the limit");
                taken.retain(|&expires| expires > at);
            }
            taken.push(self.expires(at));
        }
        at
    }

    fn waits(&self, caller: usize) -> Option<Waiter> {
        self.queue.iter().chain(&self.expired).find(|waiter| waiter.caller == caller).copied()
    }

    fn release(&mut self, caller: usize) {
        self.renewed.retain(|&renewed| renewed != caller);
        self.expired.retain(|waiter| waiter.caller != caller);
        self.held.retain(|&holder| holder != caller);
        self.queue.retain(|waiter| waiter.caller != caller);
        self.dismissed.retain(|&waiter| waiter != caller);
        self.settle();
    }

    fn close(&mut self) {
        self.closed = true;
        self.dismissed.extend(self.queue.drain(..).map(|waiter| waiter.caller));
    }

    /// Whether no caller waits, and none is between readiness and its call.
    fn is_drained(&self) -> bool {
        self.held.is_empty() && self.queue.is_empty()
    }
}

/// The outcome of the polls of a caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    Nothing,
    Permit,
    /// For its call: the reason and the time of the poll, and whether it waited.
    Rejection {
        reason: Reason,
        at: u64,
        has_waited: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reason {
    QueueFull,
    WaitTimeout,
    Closed,
}

/// The time by which a poll may be late for its deadline and still be the same request's, in
/// milliseconds.
const GRACE: u64 = 100;

impl Naive {
    /// Returns the outcome of a poll of `caller`, after the outcome `had`.
    fn poll(&mut self, caller: usize, had: Has, settings: &Settings) -> Has {
        self.settle();
        match had {
            Has::Rejection { at, .. } if self.now < at + GRACE && !self.is_free() => return had,
            _ => {}
        }
        if self.held.contains(&caller) {
            self.renewed.retain(|&renewed| renewed != caller);
            return Has::Permit;
        }
        if let Some(Waiter { until, .. }) = self.waits(caller) {
            // Before the deadline, and the head could be issued before it.
            if self.now < until && self.expected(0) <= until {
                return Has::Nothing;
            }
            self.queue.retain(|waiter| waiter.caller != caller);
            self.expired.retain(|waiter| waiter.caller != caller);
            if self.is_free() {
                self.held.push(caller);
                return Has::Permit;
            }
            // Later than that, for the first time: the poll is a new request's.
            let again = self.renewed.contains(&caller);
            let patience = if again { GRACE.max(settings.max_wait.unwrap_or(0)) } else { GRACE };
            if self.now <= until + patience {
                self.renewed.retain(|&renewed| renewed != caller);
                let reason = if self.closed { Reason::Closed } else { Reason::WaitTimeout };
                return Has::Rejection { reason, at: self.now, has_waited: true };
            }
            self.renewed.push(caller);
        }
        let until = settings.max_wait.map_or(u64::MAX, |wait| self.now + wait);
        if self.dismissed.contains(&caller) {
            self.dismissed.retain(|&waiter| waiter != caller);
            return Has::Rejection { reason: Reason::Closed, at: self.now, has_waited: true };
        }
        let has = if self.is_free() {
            self.held.push(caller);
            Has::Permit
        } else if let Some(reason) = self.rejects(settings) {
            Has::Rejection { reason, at: self.now, has_waited: false }
        } else {
            self.queue.push_back(Waiter { caller, until });
            return Has::Nothing;
        };
        self.renewed.retain(|&renewed| renewed != caller);
        has
    }

    /// Whether a newcomer could be issued at once.
    fn is_free(&self) -> bool {
        !self.closed && self.queue.is_empty() && self.expected(0) == self.now
    }

    /// The reason for which a request is rejected that comes now, without a free permit.
    fn rejects(&self, settings: &Settings) -> Option<Reason> {
        let wait = self.expected(self.queue.len()) - self.now;
        if self.closed {
            Some(Reason::Closed)
        } else if self.queued() >= settings.max_queue {
            Some(Reason::QueueFull)
        } else {
            settings.max_wait.is_some_and(|most| wait > most).then_some(Reason::WaitTimeout)
        }
    }

    /// Returns the result of a call of `caller`, after the outcome `had`.
    fn call(&mut self, caller: usize, had: Has, settings: &Settings) -> Called {
        self.settle();
        match had {
            Has::Rejection { reason, at, has_waited } if !self.is_free() => {
                let millis = self.expected(self.queue.len()) - self.now;
                let has_waited = has_waited && self.now < at + GRACE && !self.closed;
                let kept = has_waited.then_some(reason);
                let reason = kept.or_else(|| self.rejects(settings)).unwrap_or(reason);
                Called::Rejected { reason, millis: (!self.closed).then_some(millis) }
            }
            _ => {
                self.held.retain(|&holder| holder != caller);
                self.issued.push(self.now);
                Called::Issued
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Called {
    Issued,
    /// With the time until a permit is free, if that is known.
    Rejected {
        reason: Reason,
        millis: Option<u64>,
    },
}

fn reason(rejected: &Rejected) -> Reason {
    match rejected {
        rejected if rejected.is_queue_full() => Reason::QueueFull,
        rejected if rejected.is_wait_timeout() => Reason::WaitTimeout,
        _ => Reason::Closed,
    }
}

/// A drain is woken once the window is drained, and not before.
fn check_drain(
    drain: &mut Option<task::Spawn<Drained>>,
    naive: &Naive,
) -> Result<(), TestCaseError> {
    if !naive.is_drained() {
        let woken = drain.as_ref().is_some_and(|drained| drained.is_woken());
        prop_assert!(!woken, "woken before it is drained");
    } else if let Some(mut drained) = drain.take() {
        prop_assert!(drained.is_woken() && drained.poll().is_ready());
    }
    Ok(())
}

type Response = Ready<Result<Option<Rejected>, ()>>;

/// The rejection that a call returned.
fn rejection(response: impl Future<Output = Result<Option<Rejected>, ()>>) -> Option<Rejected> {
    response.now_or_never().expect("responds at once").expect("never fails")
}

/// After each step, permits, waiters, and rejections with their times are those of the naive
/// window. Every waiter with a permit was woken. No span has more issues than the limit.
#[test]
fn s2_c4_c5_c11_c12_w1_w2_w3_w4_w5_w6_w7_w9_window_agrees_with_the_naive_one() {
    hold(file!(), (settings(), steps()), |(mut settings, steps)| async move {
        let Settings { unit, fixed, limit, window, max_queue, max_wait } = settings;
        let of = if fixed { WindowRateLimitLayer::fixed } else { WindowRateLimitLayer::new };
        let layer = of(limit, ms(window));
        let handle = layer.handle();
        let rejecting = layer.clone().max_queue(0).reject_with(Some);
        let mut layer = layer.max_queue(max_queue).reject_with(Some);
        if let Some(wait) = max_wait {
            layer = layer.max_wait(ms(wait));
        }
        let inner = service_fn(|(): ()| -> Response { ready(Ok(None)) });
        let mut naive = Naive {
            fixed,
            limit,
            window,
            paused_until: 0,
            issued: Vec::new(),
            held: Vec::new(),
            queue: VecDeque::new(),
            expired: Vec::new(),
            renewed: Vec::new(),
            closed: false,
            dismissed: Vec::new(),
            now: 0,
        };
        let mut callers: Vec<_> = (0..CALLERS).map(|_| Caller::new(layer.layer(inner))).collect();
        let mut has = [Has::Nothing; CALLERS];
        let mut times: Vec<Duration> = Vec::new();
        let mut rejections = 0;
        let mut drain = None;
        let (mut most, mut shortest) = (limit, window);
        let taken = steps.len();

        for step in steps {
            match step {
                Step::Poll(caller) if has[caller] != Has::Permit => {
                    has[caller] = naive.poll(caller, has[caller], &settings);
                    prop_assert_eq!(
                        callers[caller].poll(),
                        has[caller] != Has::Nothing,
                        "{:?}",
                        has
                    );
                }
                Step::Call(caller) if has[caller] != Has::Nothing => {
                    let rejected = rejection(callers[caller].service.call(()));
                    let called = match rejected {
                        None => Called::Issued,
                        Some(rejected) => Called::Rejected {
                            reason: reason(&rejected),
                            millis: rejected.retry_after().map(whole_millis).transpose()?,
                        },
                    };
                    prop_assert_eq!(called, naive.call(caller, has[caller], &settings));
                    if called == Called::Issued {
                        times.push(ms(naive.now));
                    } else {
                        rejections += 1;
                    }
                    has[caller] = Has::Nothing;
                }
                Step::Drop(caller) => {
                    callers[caller] = Caller::new(layer.layer(inner));
                    has[caller] = Has::Nothing;
                    naive.release(caller);
                }
                Step::Advance(units) => {
                    let millis = unit * units;
                    pass(ms(millis)).await;
                    naive.now += millis;
                    naive.settle();
                }
                Step::Limit(limit) => {
                    handle.set_limit(limit).unwrap();
                    (naive.limit, most) = (limit, most.max(limit));
                    naive.settle();
                }
                Step::Window(units) => {
                    let window = unit * units;
                    let _ = handle.remaining(); // expires permits, as the naive window has
                    handle.set_window(ms(window)).unwrap();
                    (naive.window, shortest) = (window, shortest.min(window));
                    naive.settle();
                }
                Step::Quota(limit, units) => {
                    let window = unit * units;
                    let _ = handle.remaining(); // as above
                    handle.set_quota(Quota::new(limit, ms(window)));
                    prop_assert_eq!(handle.quota(), Quota::new(limit, ms(window)));
                    (naive.limit, most) = (limit, most.max(limit));
                    (naive.window, shortest) = (window, shortest.min(window));
                    naive.settle();
                }
                Step::Bounds(max_queue, units) => {
                    let max_wait = units.map(|units| unit * units);
                    handle.set_max_queue(max_queue).unwrap();
                    handle.set_max_wait(max_wait.map(ms)).unwrap();
                    settings.max_queue = max_queue.unwrap_or(u32::MAX);
                    settings.max_wait = max_wait;
                }
                Step::Pause(units) => {
                    let millis = unit * units;
                    handle.pause_for(ms(millis));
                    naive.paused_until = naive.paused_until.max(naive.now + millis);
                }
                Step::Drain => {
                    let mut drained = task::spawn(handle.drained());
                    match drained.poll() {
                        Poll::Ready(()) => prop_assert!(naive.is_drained()),
                        Poll::Pending => drain = Some(drained),
                    }
                }
                Step::Close => {
                    handle.close().unwrap();
                    naive.close();
                    for caller in &naive.dismissed {
                        prop_assert!(callers[*caller].woken() > 0, "{} is not told", caller);
                    }
                }
                _ => {}
            }
            let _ = handle.queued(); // removes waits that have expired, as the naive window has
            check_drain(&mut drain, &naive)?;
            // Lets the refill task run, if it was woken.
            tokio::task::yield_now().await;

            // Waiters that were woken poll.
            while let Some(caller) = (0..CALLERS)
                .find(|&caller| has[caller] == Has::Nothing && callers[caller].woken() > 0)
            {
                has[caller] = naive.poll(caller, has[caller], &settings);
                prop_assert_eq!(callers[caller].poll(), has[caller] != Has::Nothing, "{:?}", has);
                check_drain(&mut drain, &naive)?;
            }
            for &caller in &naive.held {
                prop_assert_eq!(
                    has[caller],
                    Has::Permit,
                    "{} was granted a permit and not woken",
                    caller
                );
            }
            for Waiter { caller, until } in &naive.queue {
                prop_assert!(naive.now < *until, "{} waits past its deadline", caller);
            }
        }

        let free = !naive.closed && naive.queue.is_empty() && naive.now >= naive.paused_until;
        prop_assert_eq!(handle.remaining(), if free { naive.room() } else { 0 });
        prop_assert_eq!(handle.queued(), naive.queued());
        prop_assert_eq!(handle.rejected().total(), rejections, "counted at the calls");
        if !fixed {
            prop_assert!(most_in_any_span(&times, ms(shortest)) <= most as usize);
        }

        // The next request is rejected until the promised time, and admitted then.
        drop(callers);
        prop_assert!(handle.drained().now_or_never().is_some());
        if naive.closed {
            return Ok(taken);
        }
        (naive.held, naive.queue) = (Vec::new(), VecDeque::new());
        naive.settle();
        let promised = naive.expected(0) - naive.now;
        handle.set_max_queue(Some(0)).unwrap(); // in the place of a bound that was set
        let mut next = Caller::new(rejecting.layer(inner));
        // At once, and a millisecond before.
        for (left, then) in [(promised, promised.saturating_sub(1)), (1, 1)] {
            if promised >= left && left > 0 {
                prop_assert!(next.poll());
                let rejected = rejection(next.service.call(())).expect("a rejection");
                prop_assert_eq!(rejected.retry_after(), Some(ms(left)));
                pass(ms(then)).await;
            }
        }
        prop_assert!(next.poll());
        prop_assert!(rejection(next.service.call(())).is_none(), "not admitted when promised");

        drop(next);
        pass(ms(2 * naive.window)).await;
        prop_assert_eq!(handle.remaining(), naive.limit, "a permit is lost");
        Ok(taken)
    });
}

fn whole_millis(duration: Duration) -> Result<u64, TestCaseError> {
    let millis = u64::try_from(duration.as_millis()).expect("a wait");
    prop_assert_eq!(ms(millis), duration, "all happens at whole milliseconds");
    Ok(millis)
}
