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
    adapter::{Acquired, Looked, Semaphore},
    gate::Ticket,
    join, spawn,
    steps::Steps,
};

/// A semaphore, and counts beside it.
struct Crowd {
    semaphore: Semaphore,
    steps: Steps,
    /// Permits that threads hold and know of.
    inside: AtomicU32,
    /// The highest limit so far.
    most: AtomicU32,
    closed: AtomicBool,
    /// Times at which the limit was about to change.
    changes: AtomicU32,
    /// The last reading at rest: changes by then, permits taken.
    last: Mutex<(u32, i64)>,
}

impl Crowd {
    fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            semaphore: Semaphore::new(limit),
            steps: Steps::default(),
            inside: AtomicU32::new(0),
            most: AtomicU32::new(limit),
            closed: AtomicBool::new(false),
            changes: AtomicU32::new(0),
            last: Mutex::new((0, 0)),
        })
    }

    /// Runs one step, and asks the oracles if the scene is at rest after it.
    fn step<T>(&self, run: impl FnOnce(&Semaphore) -> T) -> T {
        let result = self.steps.step(|| run(&self.semaphore));
        let changes = self.changes.load(Relaxed);
        let Some(permits) = self.steps.at_rest(|| self.semaphore.read()) else { return result };
        let grants = permits.free > 0 && !permits.blocked;
        let late = permits.waiters > 0 && (grants || self.closed.load(Relaxed));
        assert!(!late, "a waiter is queued while a permit is free, or closed: {permits:?}");

        let taken = i64::from(permits.limit) - permits.free;
        let mut last = self.last.lock().expect("a panic ends the scene");
        let drains = changes == last.0 && taken > i64::from(permits.limit);
        assert!(!drains || taken <= last.1, "a permit is granted over the limit: {permits:?}");
        *last = (changes, taken);
        result
    }

    fn set_limit(&self, limit: u32) {
        self.most.fetch_max(limit, Relaxed);
        self.changes.fetch_add(1, Relaxed);
        self.step(|semaphore| semaphore.set_limit(limit));
    }

    /// A permit was granted to the calling thread, which releases it after a while.
    fn pass(&self, rng: &mut Rng) {
        let inside = self.inside.fetch_add(1, Relaxed) + 1;
        let most = self.most.load(Relaxed);
        assert!(inside <= most, "{inside} permits are held of {most}");
        for _ in 0..rng.u8(..3) {
            yield_now();
        }
        self.inside.fetch_sub(1, Relaxed);
        self.step(Semaphore::release);
    }

    /// Waits with `ticket`, and polls now and then without having been woken. False if closed.
    async fn wait(&self, ticket: Ticket, rng: &mut Rng) -> bool {
        let mut spurious = rng.u8(..3);
        poll_fn(|cx| match self.step(|semaphore| semaphore.look(&ticket, cx.waker())) {
            Looked::Granted => Poll::Ready(true),
            Looked::Closed => Poll::Ready(false),
            Looked::Waiting => {
                if spurious > 0 {
                    spurious -= 1;
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        })
        .await
    }

    /// One turn of a thread: acquires, perhaps waits or cancels, releases. False if closed.
    fn turn(&self, rng: &mut Rng) -> bool {
        if rng.u8(..4) == 0 {
            if self.step(Semaphore::try_acquire) {
                self.pass(rng);
            }
            return true;
        }
        // Queued by one waker, perhaps polled by others, awaited by the last.
        let ticket = match self.step(|semaphore| semaphore.acquire(&noop_waker())) {
            Acquired::Granted => {
                self.pass(rng);
                return true;
            }
            Acquired::Queued(ticket) => ticket,
            Acquired::Closed => return false,
        };
        if rng.u8(..3) == 0 {
            yield_now();
            if self.step(|semaphore| semaphore.cancel(ticket)) {
                self.pass(rng);
            }
            return true;
        }
        let granted = block_on(self.wait(ticket, rng));
        if granted {
            self.pass(rng);
        }
        granted
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
        if rng.bool() {
            if let Some(ticket) = self.step(|semaphore| semaphore.watch(None, &noop_waker())) {
                yield_now();
                self.step(|semaphore| semaphore.unwatch(ticket));
            }
        }
        let mut ticket = None;
        block_on(poll_fn(|cx| {
            ticket = self.step(|semaphore| semaphore.watch(ticket.take(), cx.waker()));
            if ticket.is_some() { Poll::Pending } else { Poll::Ready(()) }
        }));
    }

    fn assert_whole(&self, limit: u32) {
        let permits = self.semaphore.read();
        let whole = (permits.free, permits.waiters) == (i64::from(limit), 0);
        assert!(whole, "a permit or a waiter is lost: {permits:?}");
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
                0 => crowd.step(Semaphore::block),
                1 => crowd.step(Semaphore::unblock),
                _ => crowd.set_limit(rng.u32(1..=3)),
            }
            yield_now();
        }
        crowd.step(Semaphore::unblock);
        join(turns);
        join([draining]);
        crowd.set_limit(2);
        crowd.assert_whole(2);
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
            crowd.closed.store(true, Relaxed);
        });
        crowd.drain(&mut rng);
        assert_eq!(crowd.inside.load(Relaxed), 0, "drained while permits are held");
        join(turns);
        join([draining]);
        assert!(matches!(crowd.semaphore.acquire(&noop_waker()), Acquired::Closed));
        assert_eq!(crowd.semaphore.read().waiters, 0, "a waiter is lost");
    });
}
