//! Wake-ups in time, under the model checker.
//!
//! The other models assert that permits are never too many and never lost. These assert when they
//! are granted: once all threads have finished, no waiter is queued while a permit is available, a
//! waiter that was granted one has been woken, and a refill task is due no later than the permit of
//! the first waiter.

use std::{sync::Arc as StdArc, time::Duration};

use loom::sync::Arc;

use crate::{
    Model,
    adapter::{Acquired, Polled, TestClock, TestWindow, Untimed, many},
    join,
    semaphore::{Semaphore, WaiterKey},
    spawn,
    time::Nanos,
    wake_counter::WakeCounter,
    window::Shape,
};

const PREEMPTIONS: usize = 3;

type TestSemaphore = Semaphore<Untimed>;

/// Creates a semaphore, with all permits held.
fn held(limit: u32) -> Arc<TestSemaphore> {
    let semaphore = TestSemaphore::new(limit, Untimed, ());
    assert!((0..limit).all(|_| semaphore.try_acquire()));
    Arc::new(semaphore)
}

/// A waiter that has queued, or acquired a permit at once.
struct Waiter {
    key: Option<WaiterKey>,
    wakes: StdArc<WakeCounter>,
}

impl Waiter {
    fn of(semaphore: &TestSemaphore) -> Self {
        let wakes = WakeCounter::new();
        let key = match semaphore.acquire(&wakes.waker()) {
            Acquired::Granted => None,
            Acquired::Queued(key) => Some(key),
            Acquired::Refused => unreachable!("the semaphore is not closed"),
        };
        Self { key, wakes }
    }

    /// Polls with another waker. Returns true if a permit has been granted.
    fn poll_again(&mut self, semaphore: &TestSemaphore) -> bool {
        let Some(key) = &self.key else { return true };
        self.wakes = WakeCounter::new();
        semaphore.poll_waiter(key, &self.wakes.waker()) == Polled::Granted
    }

    /// Asserts that it holds a permit, and if it was queued, has been woken once or twice.
    fn assert_granted(&self, semaphore: &TestSemaphore) {
        let Some(key) = &self.key else { return };
        let woken = self.wakes.count();
        let polled = semaphore.poll_waiter(key, &self.wakes.waker());
        assert_eq!(polled, Polled::Granted, "queued while a permit is available");
        assert!((1..=2).contains(&woken), "granted, and woken {woken} times");
    }
}

/// C5, B2: permits that are released while waiters queue are granted by then, each with a wake.
#[test]
fn c5_b2_released_permits_are_granted_and_their_waiters_woken() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let semaphore = held(2);
        let releasing = spawn(&semaphore, |semaphore| {
            semaphore.release(1);
            semaphore.release(1);
        });
        let queueing = spawn(&semaphore, Waiter::of);
        let mine = Waiter::of(&semaphore);
        let other = queueing.join().expect("its thread ends");
        join([releasing]);
        mine.assert_granted(&semaphore);
        other.assert_granted(&semaphore);
    });
}

/// C5, B4: a grant that reaches a cancelled waiter is passed on to the next by then, with a wake.
#[test]
fn c5_b4_cancelled_waiter_passes_its_grant_on_and_the_next_is_woken() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let semaphore = held(1);
        let first = Waiter::of(&semaphore);
        let second = Waiter::of(&semaphore);
        let releasing = spawn(&semaphore, |semaphore| semaphore.release(1));
        let cancelling = spawn(&semaphore, move |semaphore| {
            semaphore.cancel(first.key.expect("is queued"));
        });
        join([releasing]);
        join([cancelling]);
        second.assert_granted(&semaphore);
    });
}

/// C5: a waiter that is polled again while a permit is granted learns of it there, or by the new
/// waker.
#[test]
fn c5_poll_during_a_grant_sees_it_or_is_woken() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let semaphore = held(1);
        let mut waiter = Waiter::of(&semaphore);
        let releasing = spawn(&semaphore, |semaphore| semaphore.release(1));
        let is_granted = waiter.poll_again(&semaphore);
        join([releasing]);
        if !is_granted {
            waiter.assert_granted(&semaphore);
        }
    });
}

const HERE: u32 = 0;
const THERE: u32 = 1;
const MILLISECOND: Duration = Duration::from_millis(1);

/// C5, W6: however the first waiter comes to be first, its refill task is due by its permit, or
/// woken.
#[test]
fn c5_w6_refill_task_is_due_by_the_first_waiters_permit_or_woken() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let length = MILLISECOND * 10;
        let window = TestWindow::small(Shape::Sliding, 1, length, &TestClock::new());
        let window = Arc::new(window);
        assert!(window.try_acquire());
        window.commit();
        let wakes = [(); 2].map(|()| WakeCounter::new());
        let first = window.acquire_in(THERE, &wakes[0].waker()).0.key();
        let _second = window.acquire_in(HERE, &wakes[1].waker()).0.key();
        let task = WakeCounter::new();
        let waker = task.waker();
        let refilling = spawn(&window, move |window| window.attend(HERE, &waker));
        let cancelling = spawn(&window, move |window| window.cancel(first));
        window.set_length(MILLISECOND * 5);
        join([cancelling]);
        let due = refilling.join().expect("its thread ends").expect("its runtime has a waiter");
        let permit = Nanos::ZERO.after(MILLISECOND * 5);
        let in_time = due <= permit || task.count() > 0;
        assert!(in_time, "due at {due:?}, after the permit at {permit:?}, and not woken");
        assert_eq!(wakes[1].count(), 0, "a waiter is woken before its permit");
    });
}

/// P2, C5: the refill task of a waiter for two permits is due by the later one, and woken if both
/// are there earlier.
#[test]
fn p2_c5_refill_task_is_due_by_the_last_permit_of_the_first_waiter() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let clock = TestClock::new();
        let window = Arc::new(TestWindow::small(Shape::Sliding, 2, MILLISECOND * 10, &clock));
        let issue = || {
            assert!(window.try_acquire());
            window.commit();
        };
        issue();
        let second = clock.advance(MILLISECOND * 2);
        issue();
        let wakes = WakeCounter::new();
        let _first = window.queue_as(HERE, &wakes.waker(), many(2)).0.key();
        let task = WakeCounter::new();
        let waker = task.waker();
        let last = second.after(MILLISECOND * 10);
        assert_eq!(window.attend(HERE, &waker), Some(last), "not by the first permit");
        let refilling = spawn(&window, move |window| window.attend(HERE, &waker));
        window.set_length(MILLISECOND * 5);
        let due = refilling.join().expect("its thread ends").expect("its runtime has a waiter");
        let in_time = due <= second.after(MILLISECOND * 5) || task.count() > 0;
        assert!(in_time, "due at {due:?}, after the permits, and not woken");
        assert_eq!(wakes.count(), 0, "the waiter is woken before its permits");
    });
}
