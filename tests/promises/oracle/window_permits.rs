//! The naive rate limit of a handle: the times of the commits, a list of holders, and a list of
//! waiters.

use std::{collections::VecDeque, task::Poll, time::Duration};

use futures::FutureExt;
use proptest::prelude::*;
use tokio_test::task;
use tower_floodgate::{
    Rejected, WindowRateLimitHandle, WindowRateLimitLayer,
    rate_limit::{AcquireManyError, WindowPermit},
};

use super::{
    CALLERS, hold,
    permits::{Caller, Failure, Waiter, permits},
};
use crate::{
    paused_time::pass,
    support::{most_in_any_span, ms},
};

#[derive(Clone, Debug)]
enum Step {
    /// Begins to acquire permits by the handle, unless the caller has begun before.
    Acquire(usize, u32),
    Try(usize, u32),
    Commit(usize),
    /// Drops the future, or the permits.
    Drop(usize),
    Advance(u64),
    Limit(u32),
    Window(u64),
    Pause(u64),
    Drain,
    Close,
}

/// Times are in units.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let caller = 0..CALLERS;
    let step = prop_oneof![
        60 => (caller.clone(), permits()).prop_map(|(caller, n)| Step::Acquire(caller, n)),
        20 => (caller.clone(), permits()).prop_map(|(caller, n)| Step::Try(caller, n)),
        50 => caller.clone().prop_map(Step::Commit),
        15 => caller.prop_map(Step::Drop),
        30 => (1..8_u64).prop_map(Step::Advance),
        5 => (1..7_u32).prop_map(Step::Limit),
        5 => (1..15_u64).prop_map(Step::Window),
        5 => (1..15_u64).prop_map(Step::Pause),
        5 => Just(Step::Drain),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 1..200)
}

/// The unit of all times in milliseconds, whether the window is fixed, its limit, its length.
fn settings() -> impl Strategy<Value = (u64, bool, u32, u64)> {
    let unit = proptest::sample::select(vec![1, 10, 97]);
    (unit, any::<bool>(), 1..7_u32, 1..15_u64)
        .prop_map(|(unit, fixed, limit, window)| (unit, fixed, limit, unit * window))
}

/// Times are in milliseconds.
struct Naive {
    fixed: bool,
    limit: u32,
    window: u64,
    paused_until: u64,
    is_closed: bool,
    now: u64,
    /// The times of the commits, once for each permit that has not expired.
    issued: Vec<u64>,
    /// Callers and their permits, acquired or granted.
    holders: Vec<(usize, u32)>,
    queue: VecDeque<Waiter>,
    /// The outcomes of waits that have not been polled since.
    ended: Vec<(usize, Result<(), Failure>)>,
}

impl Naive {
    /// The time when the permit of an issue expires.
    fn expires(&self, issued: u64) -> u64 {
        if self.fixed { (issued / self.window + 1) * self.window } else { issued + self.window }
    }

    fn held(&self) -> u32 {
        self.holders.iter().map(|&(_, permits)| permits).sum()
    }

    fn room(&self) -> u32 {
        self.limit.saturating_sub(self.held() + u32::try_from(self.issued.len()).unwrap())
    }

    fn is_paused(&self) -> bool {
        self.now < self.paused_until
    }

    /// Whether a newcomer could acquire at once.
    fn fits(&self, permits: u32) -> bool {
        !self.is_closed && !self.is_paused() && self.queue.is_empty() && permits <= self.room()
    }

    /// Expires permits, and serves the first waiter for as long as that is possible.
    fn settle(&mut self) {
        let expire: Vec<_> = self.issued.iter().map(|&at| self.expires(at)).collect();
        let mut expire = expire.into_iter();
        self.issued.retain(|_| expire.next().is_some_and(|at| at > self.now));
        while let Some(&Waiter { caller, permits, .. }) = self.queue.front() {
            let outcome = if self.is_closed {
                Err(Failure::Closed)
            } else if permits > self.limit {
                Err(Failure::Invalid)
            } else if !self.is_paused() && permits <= self.room() {
                self.holders.push((caller, permits));
                Ok(())
            } else {
                return;
            };
            self.queue.pop_front();
            self.ended.push((caller, outcome));
        }
    }

    /// The time when a newcomer could acquire `permits`, if each waiter before it commits as soon
    /// as it can.
    fn expected(&self, permits: u32) -> u64 {
        let held = self.holders.iter().flat_map(|&(_, permits)| (0..permits).map(|_| self.now));
        let mut taken: Vec<_> =
            self.issued.iter().copied().chain(held).map(|at| self.expires(at)).collect();
        let mut at = self.now.max(self.paused_until);
        let ahead = self.queue.iter().map(|waiter| waiter.permits);
        for permits in ahead.chain([permits]).filter(|&permits| permits <= self.limit) {
            taken.retain(|&expires| expires > at);
            while taken.len() + permits as usize > self.limit as usize {
                at = *taken.iter().min().expect("more than the limit");
                taken.retain(|&expires| expires > at);
            }
            taken.extend((0..permits).map(|_| self.expires(at)));
        }
        at
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

    /// Returns the permits that `caller` held, and its wait is over.
    fn release(&mut self, caller: usize) -> u32 {
        let holds = |&&(holder, _): &&(usize, u32)| holder == caller;
        let permits = self.holders.iter().find(holds).map_or(0, |&(_, permits)| permits);
        self.holders.retain(|&(holder, _)| holder != caller);
        self.queue.retain(|waiter| waiter.caller != caller);
        self.ended.retain(|&(ended, _)| ended != caller);
        permits
    }

    fn is_drained(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    fn queue_age(&self) -> Option<Duration> {
        self.queue.front().map(|first| ms(self.now - first.since))
    }
}

fn begin(handle: &WindowRateLimitHandle, caller: &mut Caller<WindowPermit>, permits: u32) {
    caller.acquiring = Some(if permits == 1 {
        Box::pin(handle.acquire().map(|ended| ended.map_err(Failure::from)))
    } else {
        Box::pin(handle.acquire_many(permits).map(|ended| ended.map_err(Failure::from)))
    });
}

fn try_acquire(
    handle: &WindowRateLimitHandle,
    permits: u32,
) -> Result<WindowPermit, AcquireManyError> {
    if permits == 1 {
        handle.try_acquire().map_err(AcquireManyError::Rejected)
    } else {
        handle.try_acquire_many(permits)
    }
}

/// After each step, permits, waiters, the age of the queue, the wait of a newcomer and the time of
/// a rejection are those of the naive window. Each waiter that was served, refused or dismissed was
/// woken. No span has more issues than the limit.
#[test]
fn p1_p2_p3_p4_p5_w1_w2_w4_w5_w6_w7_w9_c4_c5_permits_of_a_handle_agree_with_the_naive_window() {
    hold(file!(), (settings(), steps()), |(settings, steps)| async move {
        let (unit, fixed, limit, window) = settings;
        let of = if fixed { WindowRateLimitLayer::fixed } else { WindowRateLimitLayer::new };
        let handle = of(limit, ms(window)).handle();
        let mut naive = Naive {
            fixed,
            limit,
            window,
            paused_until: 0,
            is_closed: false,
            now: 0,
            issued: Vec::new(),
            holders: Vec::new(),
            queue: VecDeque::new(),
            ended: Vec::new(),
        };
        let mut callers: Vec<Caller<WindowPermit>> = (0..CALLERS).map(|_| Caller::new()).collect();
        let mut drain: Option<task::Spawn<_>> = None;
        let mut times: Vec<Duration> = Vec::new();
        let (mut most, mut shortest) = (limit, window);
        let mut rejections = 0;
        let taken = steps.len();

        for step in steps {
            match step {
                Step::Acquire(caller, permits) if callers[caller].is_idle() => {
                    let expected = naive.arrive(caller, permits);
                    rejections += u64::from(expected == Some(Err(Failure::Closed)));
                    begin(&handle, &mut callers[caller], permits);
                    prop_assert_eq!(callers[caller].poll(), expected);
                }
                Step::Try(caller, permits) if callers[caller].is_idle() => {
                    let tried = try_acquire(&handle, permits);
                    let rejected = match &tried {
                        Err(AcquireManyError::Rejected(rejected)) => Some(rejected.clone()),
                        _ => None,
                    };
                    rejections += u64::from(rejected.is_some());
                    let outcome = tried.map_err(Failure::from).map(|permit| {
                        assert_eq!(permit.num_permits(), permits);
                        callers[caller].permit = Some(permit);
                    });
                    let expected = match () {
                        () if permits == 0 || permits > naive.limit => Err(Failure::Invalid),
                        () if naive.is_closed => Err(Failure::Closed),
                        () if !naive.fits(permits) => {
                            let wait = ms(naive.expected(permits) - naive.now);
                            let told = rejected.as_ref().and_then(Rejected::retry_after);
                            prop_assert_eq!(told, Some(wait));
                            Err(Failure::QueueFull)
                        }
                        () => {
                            naive.holders.push((caller, permits));
                            Ok(())
                        }
                    };
                    prop_assert_eq!(outcome, expected);
                }
                Step::Commit(caller) => {
                    if let Some(permit) = callers[caller].permit.take() {
                        permit.commit();
                        let permits = naive.release(caller);
                        naive.issued.extend((0..permits).map(|_| naive.now));
                        times.extend((0..permits).map(|_| ms(naive.now)));
                    }
                }
                Step::Drop(caller) => {
                    callers[caller] = Caller::new();
                    naive.release(caller);
                }
                Step::Advance(units) => {
                    pass(ms(unit * units)).await;
                    naive.now += unit * units;
                }
                Step::Limit(limit) => {
                    handle.set_limit(limit).unwrap();
                    (naive.limit, most) = (limit, most.max(limit));
                }
                Step::Window(units) => {
                    let length = unit * units;
                    handle.set_window(ms(length)).unwrap();
                    (naive.window, shortest) = (length, shortest.min(length));
                }
                Step::Pause(units) => {
                    handle.pause_for(ms(unit * units));
                    naive.paused_until = naive.paused_until.max(naive.now + unit * units);
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
                    naive.is_closed = true;
                }
                _ => {}
            }
            naive.settle();
            // Lets the refill task run, if it was woken.
            tokio::task::yield_now().await;
            for (caller, outcome) in std::mem::take(&mut naive.ended) {
                prop_assert_eq!(callers[caller].woken(), 1, "{} has {:?}", caller, outcome);
                rejections += u64::from(outcome == Err(Failure::Closed));
                prop_assert_eq!(callers[caller].poll(), Some(outcome));
            }
            for waiter in &naive.queue {
                prop_assert_eq!(callers[waiter.caller].woken(), 0, "{:?}", waiter);
            }

            let free = !naive.is_closed && naive.queue.is_empty() && !naive.is_paused();
            let snapshot = handle.snapshot();
            prop_assert_eq!(snapshot.remaining, if free { naive.room() } else { 0 });
            prop_assert_eq!(snapshot.queued as usize, naive.queue.len());
            prop_assert_eq!(snapshot.queue_age, naive.queue_age());
            prop_assert_eq!(handle.queue_age(), naive.queue_age());
            let wait = (!naive.is_closed).then(|| ms(naive.expected(1) - naive.now));
            prop_assert_eq!(snapshot.estimated_wait, wait);
            if !naive.is_drained() {
                let woken = drain.as_ref().is_some_and(|drained| drained.is_woken());
                prop_assert!(!woken, "woken before it is drained");
            } else if let Some(mut drained) = drain.take() {
                prop_assert!(drained.is_woken() && drained.poll().is_ready());
            }
        }

        prop_assert_eq!(handle.rejected().total(), rejections);
        if !fixed {
            prop_assert!(most_in_any_span(&times, ms(shortest)) <= most as usize);
        }
        drop(callers);
        prop_assert!(handle.drained().now_or_never().is_some());
        if !naive.is_closed {
            pass(ms(2 * naive.window + naive.paused_until)).await;
            prop_assert_eq!(handle.remaining(), naive.limit, "a permit is lost");
        }
        Ok(taken)
    });
}
