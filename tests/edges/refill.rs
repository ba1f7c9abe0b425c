//! The refill tasks of two runtimes at one window, and the changes that wake them.

use std::{
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use crate::{
    TestClock,
    semaphore::{Arrival, Deadline, WaiterKey},
    time::Nanos,
    wake_counter::WakeCounter,
    window::{Shape, Window},
};

/// The length of the window, in nanoseconds.
const LENGTH: u64 = 10_000_000_000;

/// Two runtimes.
const HERE: u32 = 1;
const THERE: u32 = 2;

/// A window with waiters and refill tasks.
struct Scene {
    window: Window<TestClock, u32>,
    clock: TestClock,
    /// The wake-ups of the refill tasks.
    wakes: [Arc<WakeCounter>; 2],
}

impl Scene {
    /// A scene with `held` permits that are acquired, and not committed.
    fn new(limit: u32, held: u32) -> Self {
        let clock = TestClock::at(Nanos::ZERO);
        let length = Duration::from_nanos(LENGTH);
        let window = Window::new(Shape::Sliding, limit, length, clock.clone());
        assert!((0..held).all(|_| window.try_acquire()));
        Self { window, clock, wakes: [(); 2].map(|()| WakeCounter::new()) }
    }

    fn queue(&self, runtime: u32, deadline: Deadline) -> WaiterKey {
        self.queue_with(Waker::noop(), runtime, deadline)
    }

    fn queue_with(&self, waker: &Waker, runtime: u32, deadline: Deadline) -> WaiterKey {
        let arrival = Arrival { deadline, ..Arrival::PLAIN };
        let queued = self.window.queue(waker, arrival, |_, _| Ok::<_, ()>(runtime));
        let (key, _) = queued.unwrap().expect("no permit is available");
        key
    }

    /// Polls the refill task of `runtime`. Returns the time of its timer.
    fn attend(&self, runtime: u32) -> Option<u64> {
        let waker = self.wakes[runtime as usize - 1].waker();
        self.window.attend(runtime, &waker).map(Nanos::get)
    }

    /// The wake-ups of the refill task of `runtime`.
    fn woken(&self, runtime: u32) -> usize {
        self.wakes[runtime as usize - 1].count()
    }

    /// The wake-ups of the refill tasks of both runtimes.
    fn woken_both(&self) -> (usize, usize) {
        (self.woken(HERE), self.woken(THERE))
    }

    fn is_granted(&self, key: &WaiterKey) -> bool {
        let polled = self.window.poll(key, Waker::noop(), Deadline::NEVER, |_| {});
        polled == Poll::Ready(Ok(()))
    }

    /// Asserts that no permit is available: a cancelled waiter had not been granted the one permit.
    fn assert_held(&self) {
        assert_eq!(self.window.read().remaining, 0);
    }
}

/// A waiter in one runtime, and behind it one in the other. Both refill tasks have set their
/// timers.
fn two(deadline: Deadline) -> (Scene, WaiterKey, WaiterKey) {
    let scene = Scene::new(1, 1);
    let (first, second) = (scene.queue(HERE, deadline), scene.queue(THERE, Deadline::NEVER));
    assert_eq!((scene.attend(HERE), scene.attend(THERE)), (Some(LENGTH), Some(2 * LENGTH)));
    (scene, first, second)
}

#[test]
fn c5_refund_wakes_the_refill_tasks_of_the_last_and_of_the_next_head() {
    let (scene, first, second) = two(Deadline::NEVER);
    scene.window.refund();
    assert!(scene.is_granted(&first) && !scene.is_granted(&second));
    assert_eq!(scene.woken_both(), (1, 1));
}

#[test]
fn c5_cancelled_head_wakes_the_refill_tasks_of_itself_and_of_the_next_head() {
    let (scene, first, second) = two(Deadline::NEVER);
    scene.window.cancel(first);
    assert_eq!(scene.woken_both(), (1, 1));
    assert!(!scene.is_granted(&second));
    scene.assert_held();
}

#[test]
fn c5_c12_expired_head_wakes_the_refill_tasks_of_itself_and_of_the_next_head() {
    let (scene, _first, _second) = two(Deadline::new(LENGTH / 2));
    scene.clock.set(Nanos::new(LENGTH / 2));
    scene.window.refill();
    assert_eq!(scene.woken_both(), (1, 1));
    assert_eq!((scene.attend(HERE), scene.attend(THERE)), (None, Some(LENGTH + LENGTH / 2)));
}

#[test]
fn c5_settings_that_make_the_head_earlier_wake_its_refill_task() {
    for change in ["limit", "window", "neither"] {
        let scene = Scene::new(1, 1);
        let _first = scene.queue(HERE, Deadline::NEVER);
        let _second = scene.queue(HERE, Deadline::NEVER);
        assert_eq!(scene.attend(HERE), Some(LENGTH));
        match change {
            // The first is granted a permit, the second is due when the held permit expires.
            "limit" => scene.window.set_limit(2),
            "window" => scene.window.set_length(Duration::from_nanos(LENGTH / 2)),
            _ => scene.window.set_limit(1),
        };
        assert_eq!(scene.woken(HERE), usize::from(change == "window"), "{change}");
    }
}

/// The runtime of the first waiter has shut down, and its service is kept.
#[test]
fn c2_c5_first_waiter_without_a_refill_task_holds_up_no_other() {
    let (scene, _first, second) = two(Deadline::NEVER);
    scene.window.abandon(HERE);
    scene.window.set_length(Duration::from_nanos(LENGTH / 2));
    assert_eq!(scene.woken(THERE), 1, "its permit is due earlier");
    assert_eq!(scene.attend(THERE), Some(LENGTH));
    assert!(!scene.is_granted(&second));
}

#[test]
fn c5_w7_end_of_a_pause_wakes_the_refill_task_of_the_granted_head() {
    let scene = Scene::new(2, 1);
    scene.window.pause(Nanos::new(LENGTH));
    let first = scene.queue(HERE, Deadline::NEVER);
    let _second = scene.queue(THERE, Deadline::NEVER);
    // At the end of the pause a permit is available for the first, and the held one counts as
    // committed then.
    assert_eq!(scene.attend(HERE), Some(LENGTH));
    let before = scene.attend(THERE).expect("a waiter");
    scene.clock.set(Nanos::new(LENGTH));
    scene.window.refill();
    assert!(scene.is_granted(&first));
    assert_eq!(scene.woken(HERE), 1, "its last waiter was granted a permit");
    let after = scene.attend(THERE).expect("a waiter");
    assert!(after >= before, "{after} is not later than {before}");
}

#[test]
fn w7_pause_that_is_over_when_it_is_set_delays_no_waiter() {
    let scene = Scene::new(1, 1);
    scene.clock.set(Nanos::new(LENGTH / 2));
    let wakes = WakeCounter::new();
    let _first = scene.queue_with(&wakes.waker(), HERE, Deadline::NEVER);
    scene.window.pause(Nanos::new(LENGTH / 2));
    scene.window.refund();
    assert_eq!(wakes.count(), 1, "the waiter is granted the permit");
}

#[test]
fn c2_c5_waiter_that_moves_wakes_the_refill_task_that_would_be_late() {
    let (scene, first, second) = two(Deadline::NEVER);
    assert!(!scene.window.assign(&second, THERE));
    assert_eq!(scene.woken(THERE), 0, "it is due in time for the second");
    assert!(!scene.window.assign(&first, THERE), "the runtime has a refill task");
    assert_eq!(scene.woken_both(), (1, 1));
}

#[test]
fn c5_refill_task_that_ends_early_wakes_its_own_waiters() {
    let scene = Scene::new(1, 1);
    let wakes = [(); 2].map(|()| WakeCounter::new());
    let _keys = [HERE, THERE, HERE].map(|runtime| {
        let waker = wakes[runtime as usize - 1].waker();
        scene.queue_with(&waker, runtime, Deadline::NEVER)
    });
    scene.window.abandon(HERE);
    assert_eq!(wakes.map(|wakes| wakes.count()), [2, 0]);
}

#[test]
fn c5_cancelled_waiters_in_between_delay_no_refill_task() {
    let scene = Scene::new(1, 1);
    let _first = scene.queue(HERE, Deadline::NEVER);
    let between = [(); 3].map(|()| scene.queue(HERE, Deadline::NEVER));
    let _last = scene.queue(THERE, Deadline::NEVER);
    assert_eq!(scene.attend(THERE), Some(5 * LENGTH));
    for key in between {
        scene.window.cancel(key);
    }
    scene.assert_held();
    assert_eq!(scene.attend(THERE), Some(2 * LENGTH), "one waiter is before it");
}
