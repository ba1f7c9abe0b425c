//! The refill tasks of two runtimes at one window, and the changes that wake them.

use std::{sync::Arc, task::Waker, time::Duration};

use crate::{
    clock::Nanos,
    gate::{Entry, Look, Ticket},
    wake_counter::WakeCounter,
    window::{Shape, Window},
};

/// The length of the window, in nanoseconds.
const LENGTH: u64 = 10_000_000_000;

/// Two runtimes.
const HERE: u32 = 1;
const THERE: u32 = 2;

/// A window with waiters and refill tasks, at a time that the test sets.
struct Scene {
    window: Window<u32>,
    now: Nanos,
    /// The wake-ups of the refill tasks.
    wakes: [Arc<WakeCounter>; 2],
    /// The times of their timers.
    at: [Option<Nanos>; 2],
}

impl Scene {
    /// A scene with `held` permits that are acquired, and not issued.
    fn new(limit: u32, held: u32) -> Self {
        let window = Window::new(Shape::Sliding, limit, Duration::from_nanos(LENGTH));
        assert!((0..held).all(|_| window.try_enter()));
        Self {
            window,
            now: Nanos::ZERO,
            wakes: [(); 2].map(|()| WakeCounter::new()),
            at: [None; 2],
        }
    }

    fn now(&self) -> impl Fn() -> Nanos + use<> {
        let now = self.now;
        move || now
    }

    fn queue(&self, key: u32, deadline: Nanos) -> Ticket {
        self.queue_with(Waker::noop(), key, deadline)
    }

    fn queue_with(&self, waker: &Waker, key: u32, deadline: Nanos) -> Ticket {
        let admit = |_, _: &dyn Fn() -> Nanos| Ok::<_, ()>(deadline);
        let now = self.now();
        match self.window.arrive(waker, deadline, &now, admit) {
            Entry::Waiting(ticket, _) => {
                self.window.mind(&ticket, key, &now);
                ticket
            }
            other => panic!("{other:?}"),
        }
    }

    /// Polls the refill task of `key`. Returns the time of its timer.
    fn attend(&mut self, key: u32) -> Option<u64> {
        let slot = key as usize - 1;
        let waker = self.wakes[slot].waker();
        self.at[slot] = self.window.attend(key, &waker, &self.now());
        self.at[slot].map(Nanos::get)
    }

    /// The wake-ups of the refill task of `key`.
    fn woken(&self, key: u32) -> usize {
        self.wakes[key as usize - 1].count()
    }

    fn is_granted(&self, ticket: &Ticket) -> bool {
        let look =
            self.window.look(ticket, Waker::noop(), Nanos::NEVER, &self.now(), |_, _| Nanos::NEVER);
        matches!(look, Look::Entered)
    }
}

/// A waiter in one runtime, and behind it one in the other. Both refill tasks have set their
/// timers.
fn two(deadline: Nanos) -> (Scene, Ticket, Ticket) {
    let mut scene = Scene::new(1, 1);
    let (first, second) = (scene.queue(HERE, deadline), scene.queue(THERE, Nanos::NEVER));
    assert_eq!((scene.attend(HERE), scene.attend(THERE)), (Some(LENGTH), Some(2 * LENGTH)));
    (scene, first, second)
}

#[test]
fn c5_refund_wakes_the_refill_tasks_of_the_last_and_of_the_next_head() {
    let (scene, first, second) = two(Nanos::NEVER);
    scene.window.give_back(&scene.now());
    assert!(scene.is_granted(&first) && !scene.is_granted(&second));
    assert_eq!((scene.woken(HERE), scene.woken(THERE)), (1, 1));
}

#[test]
fn c5_cancelled_head_wakes_the_refill_tasks_of_itself_and_of_the_next_head() {
    let (scene, first, _second) = two(Nanos::NEVER);
    assert!(!scene.window.give_up(first, &scene.now()));
    assert_eq!((scene.woken(HERE), scene.woken(THERE)), (1, 1));
}

#[test]
fn c5_c12_expired_head_wakes_the_refill_tasks_of_itself_and_of_the_next_head() {
    let (mut scene, _first, _second) = two(Nanos::new(LENGTH / 2));
    scene.now = Nanos::new(LENGTH / 2);
    scene.window.refill(&scene.now());
    assert_eq!((scene.woken(HERE), scene.woken(THERE)), (1, 1));
    assert_eq!((scene.attend(HERE), scene.attend(THERE)), (None, Some(LENGTH + LENGTH / 2)));
}

#[test]
fn c5_settings_that_make_the_head_earlier_wake_its_refill_task() {
    for change in ["limit", "window", "neither"] {
        let mut scene = Scene::new(1, 1);
        let _first = scene.queue(HERE, Nanos::NEVER);
        let _second = scene.queue(HERE, Nanos::NEVER);
        assert_eq!(scene.attend(HERE), Some(LENGTH));
        let now = scene.now();
        match change {
            // The first is granted a permit, the second is due when the held permit expires.
            "limit" => scene.window.set_limit(2, &now),
            "window" => scene.window.set_length(Duration::from_nanos(LENGTH / 2), &now),
            _ => scene.window.set_limit(1, &now),
        }
        assert_eq!(scene.woken(HERE), usize::from(change == "window"), "{change}");
    }
}

#[test]
fn c5_w7_end_of_a_pause_wakes_the_refill_task_of_the_granted_head() {
    let mut scene = Scene::new(2, 1);
    scene.window.pause(Nanos::new(LENGTH), &scene.now());
    let (first, _second) = (scene.queue(HERE, Nanos::NEVER), scene.queue(THERE, Nanos::NEVER));
    // At the end of the pause a permit is free for the first, and the held one counts as issued
    // then.
    assert_eq!(scene.attend(HERE), Some(LENGTH));
    let before = scene.attend(THERE).expect("a waiter");
    scene.now = Nanos::new(LENGTH);
    scene.window.refill(&scene.now());
    assert!(scene.is_granted(&first));
    assert_eq!(scene.woken(HERE), 1, "its last waiter was granted a permit");
    let after = scene.attend(THERE).expect("a waiter");
    assert!(after >= before, "{after} is not later than {before}");
}

#[test]
fn w7_pause_that_is_over_when_it_is_set_delays_no_waiter() {
    let mut scene = Scene::new(1, 1);
    scene.now = Nanos::new(LENGTH / 2);
    let wakes = WakeCounter::new();
    let _first = scene.queue_with(&wakes.waker(), HERE, Nanos::NEVER);
    scene.window.pause(Nanos::new(LENGTH / 2), &scene.now());
    scene.window.give_back(&scene.now());
    assert_eq!(wakes.count(), 1, "the waiter is granted the permit");
}

#[test]
fn c2_c5_waiter_that_moves_wakes_the_refill_task_that_would_be_late() {
    let (scene, first, second) = two(Nanos::NEVER);
    assert!(!scene.window.mind(&second, THERE, &scene.now()));
    assert_eq!(scene.woken(THERE), 0, "it is due in time for the second");
    assert!(!scene.window.mind(&first, THERE, &scene.now()), "the runtime has a refill task");
    assert_eq!((scene.woken(HERE), scene.woken(THERE)), (1, 1));
}

#[test]
fn c5_refill_task_that_ends_early_wakes_its_own_waiters() {
    let scene = Scene::new(1, 1);
    let wakes = [(); 2].map(|()| WakeCounter::new());
    let _tickets = [HERE, THERE, HERE]
        .map(|key| scene.queue_with(&wakes[key as usize - 1].waker(), key, Nanos::NEVER));
    scene.window.abandon(HERE);
    let woken = [0, 1].map(|key| wakes[key].count());
    assert_eq!(woken, [2, 0]);
}

#[test]
fn c5_cancelled_waiters_in_between_delay_no_refill_task() {
    let mut scene = Scene::new(1, 1);
    let _first = scene.queue(HERE, Nanos::NEVER);
    let between = [(); 3].map(|()| scene.queue(HERE, Nanos::NEVER));
    let _last = scene.queue(THERE, Nanos::NEVER);
    assert_eq!(scene.attend(THERE), Some(5 * LENGTH));
    for ticket in between {
        assert!(!scene.window.give_up(ticket, &scene.now()));
    }
    assert_eq!(scene.attend(THERE), Some(2 * LENGTH), "one waiter is before it");
}
