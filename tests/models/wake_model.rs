//! Wake-ups in time, under the model checker.
//!
//! The other models ask that permits are never too many and never lost. These ask *when*: once all
//! threads have finished, no waiter is queued while a permit is free, a waiter that was granted one
//! has been woken, and a refill task is due no later than the permit of the first waiter.

use std::{
    sync::{
        Arc as StdArc,
        atomic::{AtomicUsize, Ordering::Relaxed as Counting},
    },
    task::{Wake, Waker},
    time::Duration,
};

use loom::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    Model,
    adapter::{Acquired, Looked, Quota, Semaphore},
    clock::Nanos,
    gate::Ticket,
    spawn,
    window::Shape,
};

const PREEMPTIONS: usize = 3;

/// A waker that counts its wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Counting);
    }
}

/// A waiter that has queued, or acquired a permit at once.
struct Waiter {
    ticket: Option<Ticket>,
    wakes: StdArc<Wakes>,
}

impl Waiter {
    fn of(gate: &Semaphore) -> Self {
        let wakes = StdArc::<Wakes>::default();
        let ticket = match gate.acquire(&Waker::from(StdArc::clone(&wakes))) {
            Acquired::Granted => None,
            Acquired::Queued(ticket) => Some(ticket),
            Acquired::Closed => unreachable!("is not closed"),
        };
        Self { ticket, wakes }
    }

    fn woken(&self) -> usize {
        self.wakes.0.load(Counting)
    }

    /// Polls with another waker. Returns true if a permit has been granted.
    fn poll_again(&mut self, gate: &Semaphore) -> bool {
        let Some(ticket) = &self.ticket else { return true };
        self.wakes = StdArc::default();
        gate.look(ticket, &Waker::from(StdArc::clone(&self.wakes))) == Looked::Granted
    }

    /// Holds a permit, and has been woken once or twice if it was queued.
    fn assert_granted(&self, gate: &Semaphore) {
        let Some(ticket) = &self.ticket else { return };
        let woken = self.woken();
        let looked = gate.look(ticket, &Waker::from(StdArc::clone(&self.wakes)));
        assert_eq!(looked, Looked::Granted, "queued while a permit is free");
        assert!((1..=2).contains(&woken), "granted, and woken {woken} times");
    }
}

/// C5, B2: permits that are released while waiters queue are granted by then, each with a wake.
#[test]
fn c5_b2_released_permits_are_granted_and_their_waiters_woken() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let gate = Arc::new(Semaphore::new(2));
        assert!(gate.try_acquire() && gate.try_acquire());
        let releasing = spawn(&gate, |gate: &Semaphore| {
            gate.release();
            gate.release();
        });
        let queueing = spawn(&gate, Waiter::of);
        let mine = Waiter::of(&gate);
        let other = queueing.join().expect("queued");
        releasing.join().expect("released");
        mine.assert_granted(&gate);
        other.assert_granted(&gate);
    });
}

/// C5, B4: a grant that reaches a cancelled waiter is passed on to the next by then, with a wake.
#[test]
fn c5_b4_cancelled_waiter_passes_its_grant_on_and_the_next_is_woken() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let gate = Arc::new(Semaphore::new(1));
        assert!(gate.try_acquire());
        let first = Waiter::of(&gate);
        let second = Waiter::of(&gate);
        let releasing = spawn(&gate, Semaphore::release);
        let cancelling = spawn(&gate, move |gate: &Semaphore| {
            if gate.cancel(first.ticket.expect("is queued")) {
                gate.release();
            }
        });
        releasing.join().expect("released");
        cancelling.join().expect("cancelled");
        second.assert_granted(&gate);
    });
}

/// C5: a waiter that is polled again while a permit is granted learns of it there, or by the new
/// waker.
#[test]
fn c5_poll_during_a_grant_sees_it_or_is_woken() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let gate = Arc::new(Semaphore::new(1));
        assert!(gate.try_acquire());
        let mut waiter = Waiter::of(&gate);
        let releasing = spawn(&gate, Semaphore::release);
        let seen = waiter.poll_again(&gate);
        releasing.join().expect("released");
        if !seen {
            waiter.assert_granted(&gate);
        }
    });
}

const HERE: u32 = 0;
const THERE: u32 = 1;
const MILLISECOND: Duration = Duration::from_millis(1);

struct Limited {
    quota: Quota,
    clock: AtomicU64,
}

impl Limited {
    fn now(&self) -> Nanos {
        Nanos::new(self.clock.load(Relaxed))
    }

    fn queue(&self, runtime: u32, waiter: &StdArc<Wakes>) -> Ticket {
        let waker = Waker::from(StdArc::clone(waiter));
        match self.quota.acquire(&waker, runtime, || self.now()) {
            (Acquired::Queued(ticket), _) => ticket,
            (other, _) => unreachable!("no permit is free, but: {other:?}"),
        }
    }
}

/// C5, W6: however the first waiter comes to be first, its refill task is due by its permit, or
/// woken.
#[test]
fn c5_w6_refill_task_is_due_by_the_first_waiters_permit_or_woken() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let quota = Quota::new(Shape::Sliding, 1, MILLISECOND * 10);
        let limited = Arc::new(Limited { quota, clock: AtomicU64::new(0) });
        assert!(limited.quota.try_acquire());
        limited.quota.issue(|| limited.now());
        let waiters = [(); 2].map(|()| StdArc::<Wakes>::default());
        let first = limited.queue(THERE, &waiters[0]);
        let _second = limited.queue(HERE, &waiters[1]);
        let task = StdArc::<Wakes>::default();
        let waker = Waker::from(StdArc::clone(&task));
        let refilling = spawn(&limited, move |limited: &Limited| {
            limited.quota.attend(HERE, &waker, || limited.now())
        });
        let cancelling = spawn(&limited, move |limited: &Limited| {
            limited.quota.cancel(first, || limited.now());
        });
        limited.quota.set_length(MILLISECOND * 5, || limited.now());
        cancelling.join().expect("cancelled");
        let due = refilling.join().expect("looked").expect("a waiter is queued in its runtime");
        let permit = Nanos::ZERO.after(MILLISECOND * 5);
        let in_time = due <= permit || task.0.load(Counting) > 0;
        assert!(in_time, "due at {due:?}, after the permit at {permit:?}, and not woken");
        assert_eq!(waiters[1].0.load(Counting), 0, "a waiter is woken before its permit");
    });
}
