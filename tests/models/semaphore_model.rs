//! The semaphore under the model checker.
//!
//! A thread that is never woken is reported as a deadlock. Two holders of one permit at once, and a
//! holder that does not see the writes of the holder before it, are reported as a data race on the
//! cell of [`Guarded`].

use std::{
    future::poll_fn,
    sync::{Arc as StdArc, Mutex as StdMutex},
    task::{Context, Poll, Waker},
};

use futures::task::noop_waker;
use loom::{cell::UnsafeCell, future::block_on, sync::Arc};

use crate::{
    Model,
    adapter::{Acquired, Polled, TestClock, Untimed},
    join,
    semaphore::{Deadline, Deadlines, Semaphore, Tag, Tags, WaiterKey},
    spawn,
    time::{GRACE, Nanos},
};

const PREEMPTIONS: usize = 3;
/// For models of few steps.
const DEEP: usize = 4;

/// A cell that a permit gives access to.
///
/// A model fails if two threads write to it at once, or if one does not see the writes of another.
struct Guarded<D = Untimed> {
    semaphore: Semaphore<D>,
    cell: UnsafeCell<()>,
}

impl Guarded {
    fn new(limit: u32) -> Arc<Self> {
        Self::with_deadlines(limit, Untimed)
    }

    /// Creates a cell, with all permits held.
    fn held(limit: u32) -> Arc<Self> {
        let guarded = Self::new(limit);
        assert!((0..limit).all(|_| guarded.semaphore.try_acquire()));
        guarded
    }

    /// Waits for a permit. Returns false if the semaphore is closed.
    async fn acquire(&self) -> bool {
        let mut key: Option<WaiterKey> = None;
        poll_fn(|cx: &mut Context<'_>| {
            let polled = match &key {
                None => match self.semaphore.acquire(cx.waker()) {
                    Acquired::Granted => Polled::Granted,
                    Acquired::Closed => Polled::Closed,
                    Acquired::Queued(queued) => {
                        key = Some(queued);
                        Polled::Queued
                    }
                },
                Some(key) => self.semaphore.poll_waiter(key, cx.waker()),
            };
            match polled {
                Polled::Granted => Poll::Ready(true),
                Polled::Closed => Poll::Ready(false),
                Polled::Queued => Poll::Pending,
                Polled::Overdue => unreachable!("the wait has no deadline"),
            }
        })
        .await
    }

    /// Waits for the permit of a waiter that another task has queued.
    async fn wait(&self, key: WaiterKey) {
        poll_fn(|cx| match self.semaphore.poll_waiter(&key, cx.waker()) {
            Polled::Granted => Poll::Ready(()),
            Polled::Queued => Poll::Pending,
            Polled::Closed | Polled::Overdue => unreachable!("the semaphore is not closed"),
        })
        .await;
    }

    /// Waits until no permit is held and no waiter is queued.
    async fn drained(&self) {
        let mut key = None;
        poll_fn(|cx| self.semaphore.poll_idle(&mut key, cx.waker())).await;
    }

    async fn closed(&self) {
        let mut key = None;
        poll_fn(|cx| self.semaphore.poll_closed(&mut key, cx.waker())).await;
    }

    /// Queues a waiter that no task awaits.
    fn queue(&self) -> WaiterKey {
        self.semaphore.queue_until(&noop_waker(), Deadline::NEVER).key()
    }

    fn is_granted(&self, key: &WaiterKey) -> bool {
        self.semaphore.poll_waiter(key, &noop_waker()) == Polled::Granted
    }

    fn write(&self) {
        self.cell.with_mut(|_| ());
    }

    /// Waits for a permit, writes, and releases the permit.
    fn acquire_and_release(&self) {
        assert!(block_on(self.acquire()));
        self.write_and_release();
    }

    fn write_and_release(&self) {
        self.write();
        self.semaphore.release(1);
    }

    /// Reads, which threads may do at the same time, and releases a permit.
    fn read_and_release(&self) {
        self.cell.with(|_| ());
        self.semaphore.release(1);
    }

    /// Acquires a permit and releases it, or queues and cancels.
    fn queue_and_cancel(&self) {
        match self.semaphore.queue_until(&noop_waker(), Deadline::NEVER) {
            Acquired::Granted => {
                self.semaphore.release(1);
            }
            Acquired::Queued(key) => {
                self.semaphore.cancel(key);
            }
            Acquired::Closed => {}
        }
    }
}

impl<D: Deadlines> Guarded<D> {
    fn with_deadlines(limit: u32, deadlines: D) -> Arc<Self> {
        let semaphore = Semaphore::new(limit, deadlines, ());
        Arc::new(Self { semaphore, cell: UnsafeCell::new(()) })
    }

    /// Asserts that all permits are available, and no waiter is queued.
    fn assert_idle(&self, limit: i64) {
        let view = self.semaphore.view();
        assert_eq!((view.available, view.ahead), (limit, 0), "a permit or a waiter is lost");
    }
}

/// B1, C5: a permit has one holder at a time, which sees the writes of the last one, and every
/// waiter is served.
#[test]
fn b1_c5_permit_has_one_holder_and_every_waiter_is_served() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::new(1);
        let others = [(); 2].map(|()| spawn(&guarded, Guarded::acquire_and_release));
        guarded.acquire_and_release();
        join(others);
        guarded.assert_idle(1);
    });
}

/// B4, C4: a cancelled waiter loses neither a permit nor the grant of the next waiter.
#[test]
fn b4_c4_cancelled_waiter_loses_neither_permit_nor_grant() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::new(1);
        let others = [
            spawn(&guarded, Guarded::acquire_and_release),
            spawn(&guarded, Guarded::queue_and_cancel),
        ];
        guarded.acquire_and_release();
        join(others);
        guarded.assert_idle(1);
    });
}

/// B2: a newcomer acquires no permit while a waiter is queued, even during a release.
#[test]
fn b2_newcomer_never_overtakes_a_waiter() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let first = guarded.queue();
        let releasing = spawn(&guarded, Guarded::write_and_release);
        // The only permit is the waiter's, granted or not yet.
        assert!(!guarded.semaphore.try_acquire_unobserved());
        assert!(!guarded.semaphore.try_acquire());
        join([releasing]);
        assert!(guarded.is_granted(&first));
    });
}

/// O1: once a semaphore is observed, no request acquires a permit on the path without events. No
/// permit is lost meanwhile.
#[test]
fn o1_observed_semaphore_admits_only_where_it_is_counted() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::new(1);
        let other = spawn(&guarded, |guarded| {
            if guarded.semaphore.try_acquire_unobserved() {
                guarded.write_and_release();
            }
        });
        guarded.semaphore.observe();
        assert!(!guarded.semaphore.try_acquire_unobserved());
        guarded.acquire_and_release();
        join([other]);
        assert!(!guarded.semaphore.try_acquire_unobserved());
        guarded.assert_idle(1);
    });
}

/// B2: two permits that are released at once go to the first two waiters, not to the third.
#[test]
fn b2_waiters_are_served_in_order_of_arrival() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let [first, second, third] = [(); 3].map(|()| guarded.queue());
        let releasing = [(); 2].map(|()| spawn(&guarded, Guarded::read_and_release));
        // Polled from the last to the first: a grant between two polls hides no wrong order.
        assert!(!guarded.is_granted(&third), "there are two permits");
        if guarded.is_granted(&second) {
            assert!(guarded.is_granted(&first), "the second is granted a permit before the first");
            join(releasing);
        } else {
            join(releasing);
            let both = guarded.is_granted(&first) && guarded.is_granted(&second);
            assert!(both, "a waiter is forgotten");
        }
        assert!(!guarded.is_granted(&third), "there are two permits");
    });
}

/// C5: a waiter that is polled by another task is woken by that task's waker.
#[test]
fn c5_replaced_waker_is_the_one_woken() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let key = guarded.queue();
        let releasing = spawn(&guarded, Guarded::write_and_release);
        block_on(guarded.wait(key));
        guarded.write_and_release();
        join([releasing]);
        guarded.assert_idle(1);
    });
}

/// B2, C5: a waiter that is polled late, while another waiter reuses its entry, leaves that entry
/// alone.
#[test]
fn b2_c5_reused_queue_entry_belongs_to_its_new_waiter() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let key = guarded.queue();
        let other = spawn(&guarded, |guarded| {
            guarded.write_and_release();
            guarded.acquire_and_release();
        });
        block_on(guarded.wait(key));
        guarded.write_and_release();
        join([other]);
        guarded.assert_idle(1);
    });
}

/// B6: a raised limit grants as many permits as it adds, beside a release.
#[test]
fn b6_raised_limit_grants_to_every_waiter_with_room() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let keys = [(); 3].map(|()| guarded.queue());
        let releasing = spawn(&guarded, Guarded::read_and_release);
        guarded.semaphore.set_limit(3, || {});
        join([releasing]);
        assert_eq!(keys.map(|key| guarded.is_granted(&key)), [true, true, true]);
    });
}

/// B6: a raised limit serves waiters, and a newcomer never exceeds a lowered one.
#[test]
fn b6_changed_limit_holds_at_once() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let waiting = spawn(&guarded, |guarded| {
            assert!(block_on(guarded.acquire()));
            guarded.semaphore.release(1);
        });
        guarded.semaphore.set_limit(2, || {});
        join([waiting]); // it acquires while the first permit is held

        let releasing = spawn(&guarded, |guarded| guarded.semaphore.release(1));
        guarded.semaphore.set_limit(1, || {});
        let is_acquired = guarded.semaphore.try_acquire();
        join([releasing]);
        assert_eq!(guarded.semaphore.view().held(), u32::from(is_acquired));
        let is_exceeded = is_acquired && guarded.semaphore.try_acquire();
        assert!(!is_exceeded, "two permits are held of a limit of 1");
    });
}

/// B6: after a limit is lowered, the next waiter is served once the permits above it are released,
/// and not before.
#[test]
fn b6_lowered_limit_drains_before_the_next_grant() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        guarded.semaphore.set_limit(1, || {});
        let releasing = [(); 2].map(|()| spawn(&guarded, Guarded::read_and_release));
        assert!(block_on(guarded.acquire()));
        guarded.write(); // after both releases, whose reads are seen
        join(releasing);
        let view = guarded.semaphore.view();
        assert_eq!((view.held(), view.available), (1, 0));
    });
}

/// B6: a close ends every wait: one that is queued, one that comes, and one that is being granted a
/// permit.
#[test]
fn b6_close_ends_queued_and_later_waits() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let others = [
            spawn(&guarded, |guarded: &Guarded| {
                if block_on(guarded.acquire()) {
                    guarded.write_and_release();
                }
            }),
            spawn(&guarded, Guarded::write_and_release),
        ];
        guarded.semaphore.close();
        join(others);
        guarded.assert_idle(1);
        assert!(!block_on(guarded.acquire()));
    });
}

/// B6, C4: a close beside a cancel leaves the number of waiters right, and releases a permit that
/// was granted just before.
#[test]
fn b6_c4_close_beside_cancel_loses_nothing() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let others = [
            spawn(&guarded, Guarded::write_and_release),
            spawn(&guarded, Guarded::queue_and_cancel),
        ];
        guarded.semaphore.close();
        join(others);
        guarded.assert_idle(1);
    });
}

/// B6: a drain is woken once the semaphore is drained, and sees the writes of all holders.
#[test]
fn b6_drained_sees_writes_made_before_release() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let releasing = [(); 2].map(|()| spawn(&guarded, Guarded::read_and_release));
        block_on(guarded.drained());
        guarded.write();
        join(releasing);
    });
}

/// B6: a reader that finds no permit held sees the writes of all holders.
#[test]
fn b6_reading_sees_writes_made_before_release() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let releasing = [(); 2].map(|()| spawn(&guarded, Guarded::read_and_release));
        if guarded.semaphore.view().held() == 0 {
            guarded.write();
        }
        join(releasing);
    });
}

/// B6: the semaphore is not drained while a waiter is queued, even when no permit is held.
#[test]
fn b6_waiter_keeps_the_limit_from_being_drained() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let waiting = guarded.queue();
        let releasing = spawn(&guarded, Guarded::write_and_release);
        let mut drain = None;
        let mut is_drained = || guarded.semaphore.poll_idle(&mut drain, &noop_waker()).is_ready();
        assert!(!is_drained(), "a waiter is queued, or holds a permit");
        join([releasing]);
        assert!(!is_drained(), "the waiter holds a permit");
        let view = guarded.semaphore.view();
        assert_eq!((view.available, view.ahead), (0, 0), "the permit is granted");
        guarded.semaphore.cancel(waiting);
        assert!(is_drained(), "the waiter's permit is released");
    });
}

/// B6: a drain completes when the last waiter is cancelled, with a permit or without.
#[test]
fn b6_drained_completes_when_the_last_waiter_is_cancelled() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let others = [
            spawn(&guarded, Guarded::write_and_release),
            spawn(&guarded, Guarded::queue_and_cancel),
        ];
        block_on(guarded.drained());
        join(others);
        guarded.assert_idle(1);
    });
}

/// B6: of two drains, one is cancelled, and the other one is still woken.
#[test]
fn b6_cancelled_drain_takes_no_wake_along() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(1);
        let releasing = spawn(&guarded, Guarded::write_and_release);
        let cancelling = spawn(&guarded, |guarded| {
            let mut drain = None;
            let polled = guarded.semaphore.poll_idle(&mut drain, &noop_waker());
            assert_eq!(polled.is_pending(), drain.is_some());
            drain.into_iter().for_each(|key| guarded.semaphore.cancel_drained(key));
        });
        block_on(guarded.drained());
        join([releasing, cancelling]);
        guarded.assert_idle(1);
    });
}

/// B6: a task that waits for the close is woken by it, and sees what came before it. Another one
/// that goes away takes no wake-up along.
#[test]
fn b6_close_wakes_all_that_wait_for_it() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::new(1);
        let closing = spawn(&guarded, |guarded: &Guarded| {
            guarded.write();
            guarded.semaphore.close();
        });
        let cancelling = spawn(&guarded, |guarded| {
            let mut watcher = None;
            let polled = guarded.semaphore.poll_closed(&mut watcher, &noop_waker());
            assert_eq!(polled.is_pending(), watcher.is_some());
            watcher.into_iter().for_each(|key| guarded.semaphore.cancel_closed(key));
        });
        block_on(guarded.closed());
        guarded.cell.with(|_| ());
        join([closing, cancelling]);
    });
}

/// B6: a task that has registered for the close and is polled beside it learns of the close.
#[test]
fn b6_close_is_seen_by_a_poll_beside_it() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let guarded = Guarded::new(1);
        let mut key = None;
        assert!(guarded.semaphore.poll_closed(&mut key, &noop_waker()).is_pending());
        let closing = spawn(&guarded, |guarded: &Guarded| guarded.semaphore.close());
        block_on(poll_fn(|cx| guarded.semaphore.poll_closed(&mut key, cx.waker())));
        assert!(key.is_none());
        join([closing]);
        assert!(guarded.semaphore.view().is_closed);
    });
}

/// A semaphore with a clock. Its only permit is held.
struct Timed {
    guarded: Arc<Guarded<TestClock>>,
    clock: TestClock,
}

const DEADLINE: Nanos = Nanos::new(1);

impl Timed {
    fn new() -> Arc<Self> {
        let clock = TestClock::new();
        let guarded = Guarded::with_deadlines(1, clock.clone());
        assert!(guarded.semaphore.try_acquire());
        Arc::new(Self { guarded, clock })
    }

    fn semaphore(&self) -> &Semaphore<TestClock> {
        &self.guarded.semaphore
    }

    /// Sets the clock, and lets a step find the deadlines that have passed.
    fn expire_at(&self, time: Nanos) {
        self.clock.set(time);
        self.semaphore().remove_overdue();
    }

    fn queue(&self, deadline: Deadline) -> WaiterKey {
        self.semaphore().queue_until(&noop_waker(), deadline).key()
    }

    /// Polls once, and cancels without a permit. Returns true if the waiter has a permit.
    fn poll_or_cancel(&self, key: WaiterKey) -> bool {
        match self.semaphore().poll_until(&key, &noop_waker(), DEADLINE.into()) {
            Polled::Granted => true,
            Polled::Queued | Polled::Overdue => {
                self.semaphore().cancel(key);
                false
            }
            Polled::Closed => unreachable!("the semaphore is not closed"),
        }
    }
}

/// C12, C4: of a grant and a deadline at once, one comes first: the permit is the waiter's or
/// available.
#[test]
fn c12_c4_permit_granted_as_the_deadline_passes_is_not_lost() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let timed = Timed::new();
        let key = timed.queue(DEADLINE.into());
        let releasing = spawn(&timed, |timed| timed.semaphore().release(1));
        let expiring = spawn(&timed, |timed| timed.expire_at(DEADLINE));
        if timed.poll_or_cancel(key) {
            timed.semaphore().release(1);
        }
        join([releasing]);
        join([expiring]);
        timed.guarded.assert_idle(1);
    });
}

/// C12, B5: a permit that its waiter does not acquire goes to the next waiter, unless the first was
/// polled in time.
#[test]
fn c12_b5_permit_taken_back_from_a_waiter_goes_to_the_next() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let timed = Timed::new();
        let (first, second) = (timed.queue(DEADLINE.into()), timed.queue(Deadline::NEVER));
        timed.semaphore().release(1);
        let expiring = spawn(&timed, |timed| timed.expire_at(DEADLINE.after(GRACE)));
        let has_first = timed.poll_or_cancel(first);
        join([expiring]);
        let polled = timed.semaphore().poll_waiter(&second, &noop_waker());
        let has_second = polled == Polled::Granted;
        assert_ne!(has_first, has_second, "one of the two has the permit");
        if has_first {
            assert!(timed.semaphore().cancel(second), "the second is first in the queue now");
        }
        timed.semaphore().release(1);
        timed.guarded.assert_idle(1);
    });
}

/// The tags of the waiters that have left the queue.
#[derive(Clone, Default)]
struct LeftTags(StdArc<StdMutex<Vec<u16>>>);

impl Tags for LeftTags {
    fn waiter_left(&mut self, tag: Tag) -> Option<Waker> {
        self.0.lock().expect("a panic ends the model").push(tag.0);
        None
    }
}

/// C4: a waiter that leaves the queue tells its tag once, by a grant, a cancel, its deadline or a
/// close.
#[test]
fn c4_waiter_that_leaves_tells_its_tag_once() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let (clock, left) = (TestClock::new(), LeftTags::default());
        let semaphore = Arc::new(Semaphore::new(1, clock.clone(), left.clone()));
        assert!(semaphore.try_acquire());
        let deadlines = [Deadline::NEVER, DEADLINE.into(), Deadline::NEVER];
        let keys = deadlines.map(|deadline| semaphore.queue_until(&noop_waker(), deadline).key());
        for (key, tag) in keys.iter().zip(0..) {
            let before = semaphore.with_waiters(|waiters| waiters.set_tag(key, Tag(tag)));
            assert_eq!(before, Tag::NONE);
        }
        let releasing = spawn(&semaphore, |semaphore| semaphore.release(1));
        let expiring = spawn(&semaphore, move |semaphore| {
            clock.set(DEADLINE);
            semaphore.remove_overdue()
        });
        let [first, ..] = keys;
        semaphore.cancel(first);
        semaphore.close();
        join([releasing, expiring]);
        let mut left = left.0.lock().expect("a panic ends the model").clone();
        left.sort_unstable();
        assert_eq!(left, [0, 1, 2]);
    });
}

/// B6, W9: a reading without the lock has the limit and the permits of one moment, though the limit
/// changes and changes back.
#[test]
fn b6_w9_reading_without_the_lock_is_of_one_moment() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let semaphore = Arc::new(Semaphore::new(4, Untimed, ()));
        assert!(semaphore.try_acquire());
        let changing = spawn(&semaphore, |semaphore: &Semaphore<Untimed>| {
            semaphore.set_limit(3, || {});
            semaphore.set_limit(4, || {});
        });
        for view in (0..2).filter_map(|_| semaphore.try_read()) {
            assert_eq!((view.held(), view.ahead), (1, 0), "{view:?}");
        }
        join([changing]);
        assert_eq!(semaphore.try_read().expect("a permit is available").limit, 4);
    });
}

/// B6, W9: the same beside a request that acquires and releases.
#[test]
fn b6_w9_reading_without_the_lock_counts_each_permit_once() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let semaphore = Arc::new(Semaphore::new(3, Untimed, ()));
        assert!(semaphore.try_acquire());
        let changing = spawn(&semaphore, |semaphore: &Semaphore<Untimed>| {
            semaphore.set_limit(4, || {});
            semaphore.set_limit(3, || {});
        });
        let passing = spawn(&semaphore, |semaphore: &Semaphore<Untimed>| {
            assert!(semaphore.try_acquire());
            semaphore.release(1);
        });
        if let Some(view) = semaphore.try_read() {
            assert!((1..=2).contains(&view.held()), "{view:?}");
        }
        join([changing, passing]);
        assert_eq!(semaphore.try_read().expect("permits are available").held(), 1);
    });
}

/// B6: a limit that was read as closed is never read as open.
#[test]
fn b6_close_is_final_for_readings() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let semaphore = Arc::new(Semaphore::new(2, Untimed, ()));
        let closing = spawn(&semaphore, Semaphore::close);
        let read = || semaphore.try_read().unwrap_or_else(|| semaphore.view()).is_closed;
        let (first, second) = (read(), read());
        assert!(second || !first);
        join([closing]);
        assert!(read());
    });
}

/// C12: a grant that is taken back goes to the next waiter, though its own deadline passes
/// meanwhile.
#[test]
fn c12_grant_taken_back_goes_to_the_next_waiter() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let clock = TestClock::new();
        let semaphore = Arc::new(Semaphore::new(1, clock.clone(), ()));
        assert!(semaphore.try_acquire());
        let abandoned = semaphore.queue_until(&noop_waker(), DEADLINE.into()).key();
        let later = DEADLINE.after(GRACE);
        let waiter = semaphore.queue_until(&noop_waker(), later.into()).key();
        semaphore.release(1);
        clock.set(later);
        let looking = spawn(&semaphore, |semaphore| {
            semaphore.remove_overdue();
        });
        semaphore.remove_overdue();
        join([looking]);
        let polled = semaphore.poll_until(&waiter, &noop_waker(), later.into());
        assert_eq!(polled, Polled::Granted);
        semaphore.cancel(abandoned);
        semaphore.release(1);
        assert_eq!(semaphore.view().held(), 0);
    });
}
