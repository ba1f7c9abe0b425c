//! The naive concurrency limit of a handle: a list of holders, and a list of waiters.

use std::{
    any::Any,
    collections::VecDeque,
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use proptest::prelude::*;
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, Rejected,
    backpressure::AcquireManyError, reject::RejectWith,
};

use super::{CALLERS, hold};
use crate::{paused_time::pass, support::ms, wake_counter::WakeCounter};

#[derive(Clone, Debug)]
enum Step {
    /// Begins to acquire permits by the handle, unless the caller has begun before.
    Acquire(usize, u32),
    /// The same by a request of a service.
    Request(usize),
    Poll(usize),
    Try(usize, u32),
    /// Drops the future, or the permits.
    Drop(usize),
    Advance(u64),
    Limit(u32),
    Drain,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let caller = 0..CALLERS;
    let step = prop_oneof![
        50 => (caller.clone(), permits()).prop_map(|(caller, n)| Step::Acquire(caller, n)),
        15 => caller.clone().prop_map(Step::Request),
        30 => caller.clone().prop_map(Step::Poll),
        10 => (caller.clone(), permits()).prop_map(|(caller, n)| Step::Try(caller, n)),
        50 => caller.prop_map(Step::Drop),
        10 => (1..6_u64).prop_map(Step::Advance),
        10 => (1..7_u32).prop_map(Step::Limit),
        5 => Just(Step::Drain),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 1..200)
}

pub(super) fn permits() -> impl Strategy<Value = u32> {
    prop_oneof![5 => Just(1), 5 => 2..5_u32, 1 => 0..8_u32]
}

/// The end of an acquisition without permits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Failure {
    Invalid,
    QueueFull,
    Closed,
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        assert!(!rejected.is_wait_timeout(), "no wait has a bound");
        if rejected.is_closed() { Self::Closed } else { Self::QueueFull }
    }
}

impl From<AcquireManyError> for Failure {
    fn from(error: AcquireManyError) -> Self {
        match error {
            AcquireManyError::Rejected(rejected) => rejected.into(),
            _ => Self::Invalid,
        }
    }
}

type Acquiring<P> = Pin<Box<dyn Future<Output = Result<P, Failure>>>>;

/// A caller, whose task counts its wake-ups.
pub(super) struct Caller<P> {
    pub(super) acquiring: Option<Acquiring<P>>,
    pub(super) permit: Option<P>,
    wakes: Arc<WakeCounter>,
    /// Wake-ups before the last poll.
    seen: usize,
}

impl<P> Caller<P> {
    pub(super) fn new() -> Self {
        Self { acquiring: None, permit: None, wakes: WakeCounter::new(), seen: 0 }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.acquiring.is_none() && self.permit.is_none()
    }

    /// Returns the outcome, or `None` while it waits.
    pub(super) fn poll(&mut self) -> Option<Result<(), Failure>> {
        self.seen = self.wakes.count();
        let waker = self.wakes.waker();
        let acquiring = self.acquiring.as_mut()?;
        let Poll::Ready(outcome) = acquiring.as_mut().poll(&mut Context::from_waker(&waker)) else {
            return None;
        };
        self.acquiring = None;
        Some(outcome.map(|permit| self.permit = Some(permit)))
    }

    /// Wake-ups since the last poll.
    pub(super) fn woken(&self) -> usize {
        self.wakes.count() - self.seen
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) caller: usize,
    pub(super) permits: u32,
    /// The time at which it came, in milliseconds.
    pub(super) since: u64,
}

#[derive(Default)]
struct Naive {
    limit: u32,
    is_closed: bool,
    now: u64,
    /// Callers and their permits, acquired or granted.
    holders: Vec<(usize, u32)>,
    queue: VecDeque<Waiter>,
    /// The outcomes of waits that have not been polled since.
    ended: Vec<(usize, Result<(), Failure>)>,
    rejections: u64,
}

impl Naive {
    fn held(&self) -> u32 {
        self.holders.iter().map(|&(_, permits)| permits).sum()
    }

    /// Whether a newcomer could acquire at once.
    fn fits(&self, permits: u32) -> bool {
        !self.is_closed && self.queue.is_empty() && self.held() + permits <= self.limit
    }

    /// Serves the first waiter for as long as that is possible.
    fn settle(&mut self) {
        while let Some(&Waiter { caller, permits, .. }) = self.queue.front() {
            let outcome = if self.is_closed {
                Err(Failure::Closed)
            } else if permits > self.limit {
                Err(Failure::Invalid)
            } else if self.held() + permits <= self.limit {
                self.holders.push((caller, permits));
                Ok(())
            } else {
                return;
            };
            self.queue.pop_front();
            self.ended.push((caller, outcome));
        }
    }

    /// Returns the outcome of an arrival; `None` if it waits.
    fn arrive(&mut self, caller: usize, permits: u32) -> Option<Result<(), Failure>> {
        if permits == 0 || permits > self.limit {
            return Some(Err(Failure::Invalid));
        }
        if self.is_closed {
            return Some(Err(Failure::Closed));
        }
        if !self.fits(permits) {
            self.queue.push_back(Waiter { caller, permits, since: self.now });
            return None;
        }
        self.holders.push((caller, permits));
        Some(Ok(()))
    }

    /// Returns the outcome of a wait; `None` if it goes on.
    fn poll(&mut self, caller: usize) -> Option<Result<(), Failure>> {
        let index = self.ended.iter().position(|&(ended, _)| ended == caller)?;
        Some(self.ended.remove(index).1)
    }

    fn release(&mut self, caller: usize) {
        self.holders.retain(|&(holder, _)| holder != caller);
        self.queue.retain(|waiter| waiter.caller != caller);
        self.ended.retain(|&(ended, _)| ended != caller);
    }

    /// Counts the end of a wait, or of an arrival.
    fn count(&mut self, outcome: Option<Result<(), Failure>>) -> Option<Result<(), Failure>> {
        let is_rejected = matches!(outcome, Some(Err(Failure::Closed | Failure::QueueFull)));
        self.rejections += u64::from(is_rejected);
        outcome
    }

    fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    fn queue_age(&self) -> Option<Duration> {
        self.queue.front().map(|first| ms(self.now - first.since))
    }
}

type Permit = Box<dyn Any>;

type Reject = fn(Rejected) -> Option<Rejected>;
const REJECT: Reject = Some;

/// After each step, permits, waiters, and the age of the queue are those of the naive limit, and
/// each waiter that was served, refused or dismissed has been woken once, and no other. In the end
/// no permit is held.
#[test]
fn p1_p2_p3_p4_p5_b1_b2_b4_b6_c4_c5_permits_of_a_handle_agree_with_the_naive_ones() {
    hold(file!(), (1..7_u32, steps()), |(limit, steps)| async move {
        let layer = ConcurrencyBackpressureLayer::new(limit).reject_with(REJECT);
        let handle = layer.handle();
        let mut naive = Naive { limit, ..Naive::default() };
        let mut callers: Vec<Caller<Permit>> = (0..CALLERS).map(|_| Caller::new()).collect();
        let mut drain: Option<task::Spawn<_>> = None;
        let taken = steps.len();

        for step in steps {
            let before: Vec<_> = naive.ended.iter().map(|&(caller, _)| caller).collect();
            let woken: Vec<_> = callers.iter().map(Caller::woken).collect();
            let mut touched = None;
            match step {
                Step::Acquire(caller, permits) if callers[caller].is_idle() => {
                    touched = Some(caller);
                    callers[caller].acquiring = Some(acquire(&handle, permits));
                    let expected = naive.arrive(caller, permits);
                    prop_assert_eq!(callers[caller].poll(), naive.count(expected));
                }
                Step::Request(caller) if callers[caller].is_idle() => {
                    touched = Some(caller);
                    callers[caller].acquiring = Some(request(&layer));
                    let expected = naive.arrive(caller, 1);
                    prop_assert_eq!(callers[caller].poll(), naive.count(expected));
                }
                Step::Poll(caller) if callers[caller].acquiring.is_some() => {
                    touched = Some(caller);
                    let expected = naive.poll(caller);
                    prop_assert_eq!(callers[caller].poll(), naive.count(expected));
                }
                Step::Try(caller, permits) if callers[caller].is_idle() => {
                    let expected = match () {
                        () if permits == 0 || permits > naive.limit => Err(Failure::Invalid),
                        () if naive.is_closed => Err(Failure::Closed),
                        () if !naive.fits(permits) => Err(Failure::QueueFull),
                        () => {
                            naive.holders.push((caller, permits));
                            Ok(())
                        }
                    };
                    let tried = if permits == 1 {
                        handle.try_acquire().map_err(Failure::from)
                    } else {
                        handle.try_acquire_many(permits).map_err(Failure::from)
                    };
                    let outcome = tried.map(|permit| {
                        assert_eq!(permit.num_permits(), permits);
                        callers[caller].permit = Some(Box::new(permit));
                    });
                    prop_assert_eq!(Some(outcome), naive.count(Some(expected)));
                }
                Step::Drop(caller) => {
                    touched = Some(caller);
                    callers[caller] = Caller::new();
                    naive.release(caller);
                }
                Step::Advance(millis) => {
                    pass(ms(millis)).await;
                    naive.now += millis;
                }
                Step::Limit(limit) => {
                    handle.set_limit(limit).unwrap();
                    naive.limit = limit;
                }
                Step::Drain => {
                    let mut drained = task::spawn(handle.drained());
                    match drained.poll() {
                        Poll::Ready(()) => prop_assert!(naive.is_idle()),
                        Poll::Pending => drain = Some(drained),
                    }
                }
                Step::Close => {
                    handle.close().unwrap();
                    naive.is_closed = true;
                }
                _ => {}
            }
            naive.settle();

            prop_assert_eq!(handle.in_flight(), naive.held());
            prop_assert_eq!(handle.queue_age(), naive.queue_age());
            let snapshot = handle.snapshot();
            let read = (snapshot.in_flight, snapshot.queued as usize, snapshot.queue_age);
            prop_assert_eq!(read, (naive.held(), naive.queue.len(), naive.queue_age()));
            for caller in (0..CALLERS).filter(|&caller| touched != Some(caller)) {
                let has_ended = naive.ended.iter().any(|&(ended, _)| ended == caller);
                let ends_now = has_ended && !before.contains(&caller);
                let wakes = callers[caller].woken() - woken[caller];
                prop_assert_eq!(wakes, usize::from(ends_now), "{} of {:?}", caller, naive.queue);
            }
            if !naive.is_idle() {
                let woken = drain.as_ref().is_some_and(|drained| drained.is_woken());
                prop_assert!(!woken, "woken before it is drained");
            } else if let Some(mut drained) = drain.take() {
                prop_assert!(drained.is_woken() && drained.poll().is_ready());
            }
        }

        drop(callers);
        prop_assert_eq!((handle.in_flight(), handle.queued()), (0, 0), "a permit is lost");
        prop_assert_eq!(handle.rejected().total(), naive.rejections);
        prop_assert!(handle.drained().now_or_never().is_some());
        Ok(taken)
    });
}

fn acquire(handle: &ConcurrencyBackpressureHandle, permits: u32) -> Acquiring<Permit> {
    let boxed = |permit| Box::new(permit) as Permit;
    if permits == 1 {
        Box::pin(handle.acquire().map(move |ended| ended.map(boxed).map_err(Failure::from)))
    } else {
        let many = handle.acquire_many(permits);
        Box::pin(many.map(move |ended| ended.map(boxed).map_err(Failure::from)))
    }
}

/// A request of a service, which holds its permit until its response is dropped.
fn request(layer: &ConcurrencyBackpressureLayer<RejectWith<Reject>>) -> Acquiring<Permit> {
    let inner = service_fn(|(): ()| pending::<Result<Option<Rejected>, ()>>());
    let mut service = layer.layer(inner);
    Box::pin(async move {
        let mut response = Box::pin(service.ready().await.unwrap().call(()));
        match response.as_mut().now_or_never() {
            Some(rejected) => Err(rejected.unwrap().expect("a rejection").into()),
            None => Ok(Box::new(response) as Permit),
        }
    })
}
