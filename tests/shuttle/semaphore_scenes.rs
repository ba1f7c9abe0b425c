//! Scenes at a semaphore.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
};

use fastrand::Rng;
use futures::task::noop_waker;
use shuttle::{future::block_on, thread::yield_now};

use crate::{
    Scene,
    adapter::{Acquired, Polled, Untimed, many},
    join,
    semaphore::{Semaphore, WaiterKey},
    spawn,
    steps::Steps,
};

type TestSemaphore = Semaphore<Untimed>;

/// A semaphore, and counts beside it.
struct Crowd {
    semaphore: TestSemaphore,
    /// The largest number of permits that a request asks for.
    heaviest: u32,
    steps: Steps,
    /// Permits that threads hold and know of.
    held: AtomicU32,
    /// The highest limit so far.
    highest: AtomicU32,
    /// Times at which the limit was about to change.
    changes: AtomicU32,
    /// The last reading at rest: changes by then, permits held.
    last: Mutex<(u32, i64)>,
    is_closed: AtomicBool,
}

impl Crowd {
    fn new(limit: u32) -> Arc<Self> {
        Self::of_weights(limit, 1)
    }

    fn of_weights(limit: u32, heaviest: u32) -> Arc<Self> {
        Arc::new(Self {
            semaphore: TestSemaphore::new(limit, Untimed, ()),
            heaviest,
            steps: Steps::default(),
            held: AtomicU32::new(0),
            highest: AtomicU32::new(limit),
            changes: AtomicU32::new(0),
            last: Mutex::new((0, 0)),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Runs one step, and asks the oracles if the scene is at rest after it.
    fn step<T>(&self, run: impl FnOnce(&TestSemaphore) -> T) -> T {
        let result = self.steps.step(|| run(&self.semaphore));
        let changes = self.changes.load(Relaxed);
        let read = || (self.semaphore.is_blocked(), self.semaphore.view());
        let Some((is_blocked, view)) = self.steps.at_rest(read) else { return result };
        let grants = view.available >= i64::from(self.heaviest) && !is_blocked;
        let is_late = view.ahead > 0 && (grants || self.is_closed.load(Relaxed));
        assert!(!is_late, "a waiter is queued while a permit is available, or closed: {view:?}");

        let held = i64::from(view.limit) - view.available;
        let mut last = self.last.lock().expect("a panic ends the scene");
        let drains = changes == last.0 && held > i64::from(view.limit);
        assert!(!drains || held <= last.1, "a permit is granted over the limit: {view:?}");
        *last = (changes, held);
        result
    }

    fn set_limit(&self, limit: u32) {
        self.highest.fetch_max(limit, Relaxed);
        self.changes.fetch_add(1, Relaxed);
        self.step(|semaphore| semaphore.set_limit(limit, || {}));
    }

    fn unblock(&self) {
        self.step(|semaphore| semaphore.unblock(|| true));
    }

    /// Holds permits, which were granted to the calling thread, for a while.
    fn hold(&self, permits: u32, rng: &mut Rng) {
        let held = self.held.fetch_add(permits, Relaxed) + permits;
        let highest = self.highest.load(Relaxed);
        assert!(held <= highest, "{held} permits are held of {highest}");
        for _ in 0..rng.u8(..3) {
            yield_now();
        }
        self.held.fetch_sub(permits, Relaxed);
        self.step(|semaphore| semaphore.release(permits));
    }

    /// Polls `key` until its wait ends, now and then without a wake-up. Returns the outcome.
    async fn wait(&self, key: WaiterKey, rng: &mut Rng) -> Polled {
        let mut spurious = rng.u8(..3);
        poll_fn(|cx| match self.step(|semaphore| semaphore.poll_waiter(&key, cx.waker())) {
            Polled::Queued => {
                if spurious > 0 {
                    spurious -= 1;
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            ended => Poll::Ready(ended),
        })
        .await
    }

    /// Cancels a waiter, perhaps after a last poll, which may find a permit.
    fn cancel(&self, key: WaiterKey, permits: u32, rng: &mut Rng) {
        let poll = |semaphore: &TestSemaphore| semaphore.poll_waiter(&key, &noop_waker());
        if rng.bool() && self.step(poll) == Polled::Granted {
            self.hold(permits, rng);
        } else {
            self.step(|semaphore| semaphore.cancel(key));
        }
    }

    /// One turn of a thread: acquires, perhaps waits or cancels, releases. Returns false if closed.
    fn turn(&self, rng: &mut Rng) -> bool {
        let permits = rng.u32(1..=self.heaviest);
        if rng.u8(..4) == 0 {
            let is_acquired = self.step(|semaphore| match permits {
                1 => semaphore.try_acquire(),
                _ => semaphore.try_acquire_many(permits),
            });
            if is_acquired {
                self.hold(permits, rng);
            }
            return true;
        }
        // Queued by one waker, perhaps polled by others, awaited by the last.
        let key = match self.step(|semaphore| semaphore.queue_as(&noop_waker(), many(permits))) {
            Acquired::Granted => {
                self.hold(permits, rng);
                return true;
            }
            Acquired::Queued(key) => key,
            Acquired::Refused => return permits > 1,
        };
        if rng.u8(..3) == 0 {
            yield_now();
            self.cancel(key, permits, rng);
            return true;
        }
        match block_on(self.wait(key, rng)) {
            Polled::Granted => self.hold(permits, rng),
            Polled::TooMany => assert!(permits > 1, "a limit has at least one permit"),
            Polled::Closed => return false,
            other => unreachable!("a wait without a deadline ends by {other:?}"),
        }
        true
    }

    fn turns(&self, mut rng: Rng) {
        for _ in 0..3 {
            if !self.turn(&mut rng) {
                return;
            }
        }
    }

    /// Waits until no permit is held and no waiter is queued; before that, perhaps cancels once.
    fn drain(&self, rng: &mut Rng) {
        let mut key = None;
        if rng.bool() {
            let _ = self.step(|semaphore| semaphore.poll_idle(&mut key, &noop_waker()));
            if let Some(key) = key.take() {
                yield_now();
                self.step(|semaphore| semaphore.cancel_drained(key));
            }
        }
        block_on(poll_fn(|cx| self.step(|semaphore| semaphore.poll_idle(&mut key, cx.waker()))));
    }

    fn assert_whole(&self, limit: u32) {
        let view = self.semaphore.view();
        let is_whole = (view.available, view.ahead) == (i64::from(limit), 0);
        assert!(is_whole, "a permit or a waiter is lost: {view:?}");
    }
}

/// Permits pass among waiters that are polled by several wakers, cancel, or stay.
#[test]
fn c4_c5_b1_b4_permits_pass_among_waiters_that_cancel_and_are_polled_again() {
    Scene { threads: 5 }.explore(|mut rng| {
        let limit = rng.u32(1..=2);
        let crowd = Crowd::new(limit);
        join([(); 5].map(|()| {
            let rng = rng.fork();
            spawn(&crowd, |crowd| crowd.turns(rng))
        }));
        crowd.assert_whole(limit);
    });
}

/// A limit goes up and down, and admission is blocked for a while. The last settings count.
#[test]
fn c4_c5_b6_changed_limits_grant_all_permits_and_none_over_them() {
    Scene { threads: 6 }.explore(|mut rng| {
        let crowd = Crowd::new(2);
        let turns = [(); 4].map(|()| {
            let rng = rng.fork();
            spawn(&crowd, |crowd| crowd.turns(rng))
        });
        let mut drainer = rng.fork();
        let draining = spawn(&crowd, move |crowd| crowd.drain(&mut drainer));
        for _ in 0..4 {
            match rng.u8(..4) {
                0 => crowd.step(|semaphore| semaphore.block(|| {})),
                1 => crowd.unblock(),
                _ => crowd.set_limit(rng.u32(1..=3)),
            }
            yield_now();
        }
        crowd.unblock();
        join(turns);
        join([draining]);
        crowd.set_limit(2);
        crowd.assert_whole(2);
    });
}

/// Requests for one permit and for several are served, or refused by a limit that goes up and down.
#[test]
fn p2_p3_p4_c4_c5_requests_of_any_weight_are_served_or_refused() {
    Scene { threads: 6 }.explore(|mut rng| {
        let crowd = Crowd::of_weights(3, 3);
        let turns = [(); 4].map(|()| {
            let rng = rng.fork();
            spawn(&crowd, |crowd| crowd.turns(rng))
        });
        let mut drainer = rng.fork();
        let draining = spawn(&crowd, move |crowd| crowd.drain(&mut drainer));
        for _ in 0..4 {
            crowd.set_limit(rng.u32(1..=4));
            yield_now();
        }
        join(turns);
        join([draining]);
        crowd.set_limit(3);
        crowd.assert_whole(3);
    });
}

/// Closing rejects every waiter, and draining ends after the last permit.
#[test]
fn c4_b6_close_rejects_all_waiters_and_drains() {
    Scene { threads: 6 }.explore(|mut rng| {
        let crowd = Crowd::new(1);
        let turns = [(); 4].map(|()| {
            let rng = rng.fork();
            spawn(&crowd, |crowd| crowd.turns(rng))
        });
        let mut drainer = rng.fork();
        let draining = spawn(&crowd, move |crowd| crowd.drain(&mut drainer));
        for _ in 0..rng.u8(..8) {
            yield_now();
        }
        if rng.bool() {
            crowd.set_limit(rng.u32(1..=2));
        }
        crowd.step(|semaphore| {
            semaphore.close();
            crowd.is_closed.store(true, Relaxed);
        });
        crowd.drain(&mut rng);
        assert_eq!(crowd.held.load(Relaxed), 0, "drained while permits are held");
        join(turns);
        join([draining]);
        assert!(matches!(crowd.semaphore.acquire(&noop_waker()), Acquired::Refused));
        assert_eq!(crowd.semaphore.view().ahead, 0, "a waiter is lost");
    });
}
