//! Deadlines of many waiters, in any order.

use std::task::Waker;

use proptest::prelude::*;

use crate::{
    TestClock, holds,
    semaphore::{Arrival, Deadline, Semaphore, Tag, WaiterKey},
    time::Nanos,
};

/// Waiters queue until given times, and some are cancelled.
fn waiters() -> impl Strategy<Value = Vec<(u64, bool)>> {
    proptest::collection::vec((1..1000_u64, proptest::bool::weighted(0.3)), 1..200)
}

/// At each time, exactly the waiters whose deadlines have passed have left the queue.
#[test]
fn c12_waiters_leave_the_queue_by_their_deadlines() {
    holds(file!(), waiters(), |waiters| {
        let clock = TestClock::at(Nanos::ZERO);
        let semaphore = Semaphore::new(1, clock.clone(), ());
        assert!(semaphore.try_acquire());
        let queue = |until: u64| -> WaiterKey {
            let arrival = Arrival { deadline: Deadline::new(until), ..Arrival::PLAIN };
            let admit = |_, _: &dyn Fn() -> _, _: &()| Ok::<_, ()>(());
            let queued = semaphore.queue(Waker::noop(), arrival, admit, |(), ()| Tag::NONE);
            queued.unwrap().expect("the permit is held")
        };
        let keys: Vec<_> = waiters.iter().map(|&(until, _)| queue(until)).collect();
        let mut left = Vec::new();
        for (key, &(until, is_cancelled)) in keys.into_iter().zip(&waiters) {
            if is_cancelled {
                semaphore.cancel(key);
            } else {
                left.push(until);
            }
        }
        for time in (0..=1000).step_by(37) {
            clock.set(Nanos::new(time));
            semaphore.remove_overdue();
            left.retain(|&until| until > time);
            prop_assert_eq!(semaphore.read(|view| view.ahead) as usize, left.len());
        }
        Ok(())
    });
}
