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
    adapter::{Acquired, Polled, TestClock, Untimed, many},
    join,
    semaphore::{Arrival, Deadline, Deadlines, Semaphore, Tag, Tags, WaiterKey},
    spawn,
    time::{GRACE, Nanos, Time},
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
                    Acquired::Refused => Polled::Closed,
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
                Polled::Overdue | Polled::TooLate | Polled::TooMany => {
                    unreachable!("one permit, without a deadline")
                }
            }
        })
        .await
    }

    /// Waits for the permit of a waiter that another task has queued.
    async fn wait(&self, key: WaiterKey) {
        poll_fn(|cx| match self.semaphore.poll_waiter(&key, cx.waker()) {
            Polled::Granted => Poll::Ready(()),
            Polled::Queued => Poll::Pending,
            other => unreachable!("the wait ends with a permit: {other:?}"),
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
        self.queue_many(1)
    }

    /// Queues a waiter for `permits` that no task awaits.
    fn queue_many(&self, permits: u32) -> WaiterKey {
        self.semaphore.queue_as(&noop_waker(), many(permits)).key()
    }

    fn poll(&self, key: &WaiterKey) -> Polled {
        self.semaphore.poll_waiter(key, &noop_waker())
    }

    /// Waits for the outcome of a waiter that another task has queued.
    async fn outcome(&self, key: &WaiterKey) -> Polled {
        poll_fn(|cx| match self.semaphore.poll_waiter(key, cx.waker()) {
            Polled::Queued => Poll::Pending,
            ended => Poll::Ready(ended),
        })
        .await
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
            Acquired::Refused => {}
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
        let is_unseen = guarded.semaphore.try_acquire_unobserved();
        if is_unseen {
            guarded.write_and_release();
        } else {
            guarded.acquire_and_release();
        }
        join([other]);
        assert!(!is_unseen, "a permit is acquired on the path without events");
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
            other => unreachable!("the semaphore is not closed: {other:?}"),
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
        for view in (0..2).filter_map(|_| semaphore.try_view()) {
            assert_eq!((view.held(), view.ahead), (1, 0), "{view:?}");
        }
        join([changing]);
        assert_eq!(semaphore.try_view().expect("a permit is available").limit, 4);
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
        if let Some(view) = semaphore.try_view() {
            assert!((1..=2).contains(&view.held()), "{view:?}");
        }
        join([changing, passing]);
        assert_eq!(semaphore.try_view().expect("permits are available").held(), 1);
    });
}

/// B6: a limit that was read as closed is never read as open.
#[test]
fn b6_close_is_final_for_readings() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let semaphore = Arc::new(Semaphore::new(2, Untimed, ()));
        let closing = spawn(&semaphore, Semaphore::close);
        let read = || semaphore.try_view().unwrap_or_else(|| semaphore.view()).is_closed;
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

/// P2: two permits that are released one by one are granted together, and the waiter sees the
/// writes of both holders.
#[test]
fn p2_b1_permits_are_granted_all_at_once_after_the_last_release() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let both = guarded.queue_many(2);
        let releasing = [(); 2].map(|()| spawn(&guarded, Guarded::read_and_release));
        assert_eq!(block_on(guarded.outcome(&both)), Polled::Granted);
        guarded.write();
        join(releasing);
        let view = guarded.semaphore.view();
        assert_eq!((view.available, view.ahead), (0, 0));
    });
}

/// P2: a request for one permit overtakes no waiter for two, though a permit is available.
#[test]
fn p2_b2_newcomer_never_overtakes_a_waiter_for_several_permits() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let both = guarded.queue_many(2);
        let releasing = [(); 2].map(|()| spawn(&guarded, Guarded::read_and_release));
        assert!(!guarded.semaphore.try_acquire(), "the first permit is kept for the waiter");
        let later = guarded.semaphore.queue_until(&noop_waker(), Deadline::NEVER).key();
        join(releasing);
        assert_eq!([&both, &later].map(|key| guarded.poll(key)), [Polled::Granted, Polled::Queued]);
        guarded.semaphore.release(2);
        assert_eq!(guarded.poll(&later), Polled::Granted);
    });
}

/// P2, B4: if a waiter for two permits is cancelled as the first of them is released, then the
/// waiter behind it is granted that one.
#[test]
fn p2_b4_cancelled_large_waiter_lets_the_next_acquire() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let guarded = Guarded::held(2);
        let (both, one) = (guarded.queue_many(2), guarded.queue());
        let releasing = spawn(&guarded, Guarded::read_and_release);
        assert!(guarded.semaphore.cancel(both), "it was first");
        block_on(guarded.wait(one));
        join([releasing]);
        guarded.semaphore.release(2);
        guarded.assert_idle(2);
    });
}

/// P3, C4: a waiter for two permits that is cancelled beside their releases loses none, granted or
/// not.
#[test]
fn p3_c4_cancelled_waiter_for_several_permits_loses_none() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let (both, next) = (guarded.queue_many(2), guarded.queue_many(2));
        let releasing = [(); 2].map(|()| spawn(&guarded, Guarded::read_and_release));
        guarded.semaphore.cancel(both);
        assert_eq!(block_on(guarded.outcome(&next)), Polled::Granted);
        guarded.write();
        join(releasing);
        guarded.semaphore.release(2);
        guarded.assert_idle(2);
    });
}

/// P1, P2: two requests for two permits beside one for a single permit: the number of holders fits
/// at all times, and each is served.
#[test]
fn p1_p2_c5_requests_of_any_weight_are_served() {
    Model { threads: 3, preemptions: 2 }.check(|| {
        let guarded = Guarded::new(2);
        let acquire = |guarded: &Guarded, permits| {
            let key = match guarded.semaphore.queue_as(&noop_waker(), many(permits)) {
                Acquired::Granted => return,
                other => other.key(),
            };
            assert_eq!(block_on(guarded.outcome(&key)), Polled::Granted);
        };
        let writing = spawn(&guarded, move |guarded: &Guarded| {
            acquire(guarded, 2);
            guarded.write();
            guarded.semaphore.release(2);
        });
        let reading = spawn(&guarded, move |guarded: &Guarded| {
            acquire(guarded, 1);
            guarded.read_and_release();
        });
        acquire(&guarded, 2);
        guarded.write();
        guarded.semaphore.release(2);
        join([writing, reading]);
        guarded.assert_idle(2);
    });
}

/// P2: requests for several permits that need no wait acquire no more than there are.
#[test]
fn p2_requests_without_a_wait_acquire_all_or_none() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::new(3);
        let trying =
            [2, 1].map(|n| spawn(&guarded, move |guarded| guarded.semaphore.try_acquire_many(n)));
        let is_acquired = guarded.semaphore.try_acquire_many(2);
        let others = join(trying);
        let held = 2 * u32::from(is_acquired) + 2 * u32::from(others[0]) + u32::from(others[1]);
        assert!(is_acquired || others[0], "one of two fits");
        assert_eq!(guarded.semaphore.view().held(), held);
        assert!(held <= 3);
    });
}

/// P4: a waiter for more permits than a lowered limit has is refused, and the one behind it is
/// granted its permit, beside a release.
#[test]
fn p4_waiter_for_more_than_a_lowered_limit_is_refused() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let (both, one) = (guarded.queue_many(2), guarded.queue());
        let lowering = spawn(&guarded, |guarded: &Guarded| {
            guarded.semaphore.set_limit(1, || {});
            guarded.semaphore.release(1);
        });
        assert_eq!(block_on(guarded.outcome(&both)), Polled::TooMany);
        guarded.semaphore.release(1);
        block_on(guarded.wait(one));
        join([lowering]);
        guarded.semaphore.release(1);
        guarded.assert_idle(1);
    });
}

/// P4: of a lowered limit and the release of all permits at once, one comes first: the waiter is
/// granted its permits or refused, and never both.
#[test]
fn p4_p2_refusal_and_grant_exclude_each_other() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let both = guarded.queue_many(2);
        let releasing = spawn(&guarded, |guarded: &Guarded| guarded.semaphore.release(2));
        let lowering = spawn(&guarded, |guarded: &Guarded| {
            guarded.semaphore.set_limit(1, || {});
        });
        let outcome = block_on(guarded.outcome(&both));
        join([releasing]);
        join([lowering]);
        match outcome {
            Polled::Granted => {
                assert_eq!(guarded.semaphore.view().available, -1);
                guarded.semaphore.release(2);
            }
            outcome => assert_eq!(outcome, Polled::TooMany),
        }
        guarded.assert_idle(1);
    });
}

/// P4: a newcomer beside a lowered limit is refused on arrival or in the queue.
#[test]
fn p4_newcomer_beside_a_lowered_limit_is_refused_or_granted() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let guarded = Guarded::new(2);
        assert!(guarded.semaphore.try_acquire());
        let lowering = spawn(&guarded, |guarded: &Guarded| {
            guarded.semaphore.set_limit(1, || {});
        });
        match guarded.semaphore.queue_as(&noop_waker(), many(2)) {
            Acquired::Refused => {}
            other => {
                let key = other.key();
                assert_eq!(block_on(guarded.outcome(&key)), Polled::TooMany);
            }
        }
        join([lowering]);
        guarded.semaphore.release(1);
        guarded.assert_idle(1);
    });
}

/// P4, C4: a refused waiter that is cancelled loses and frees no permit, and a drain behind it
/// ends.
#[test]
fn p4_c4_b6_refused_waiter_that_is_cancelled_leaves_the_limit_drained() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let both = guarded.queue_many(2);
        let lowering = spawn(&guarded, |guarded: &Guarded| {
            guarded.semaphore.set_limit(1, || {});
            guarded.semaphore.release(2);
        });
        let cancelling = spawn(&guarded, move |guarded: &Guarded| {
            guarded.semaphore.cancel(both);
        });
        block_on(guarded.drained());
        join([lowering, cancelling]);
        guarded.assert_idle(1);
    });
}

/// B6, P2: a close dismisses a waiter for several permits, or it was granted them before.
#[test]
fn b6_p2_close_ends_a_wait_for_several_permits() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let both = guarded.queue_many(2);
        let releasing = spawn(&guarded, |guarded: &Guarded| guarded.semaphore.release(2));
        let closing = spawn(&guarded, |guarded: &Guarded| guarded.semaphore.close());
        match block_on(guarded.outcome(&both)) {
            Polled::Granted => {
                guarded.semaphore.release(2);
            }
            outcome => assert_eq!(outcome, Polled::Closed),
        }
        join([releasing]);
        join([closing]);
        guarded.assert_idle(2);
    });
}

/// P2, C12: permits that are taken back go to all waiters that were in time for them, though their
/// own deadlines pass meanwhile, by whichever thread.
#[test]
fn p2_c12_permits_taken_back_go_to_all_waiters_in_time() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let clock = TestClock::new();
        let semaphore = Arc::new(Semaphore::new(2, clock.clone(), ()));
        assert!(semaphore.try_acquire_many(2));
        let abandoned = Arrival { permits: 2, deadline: DEADLINE.into(), ..Arrival::PLAIN };
        let abandoned = semaphore.queue_as(&noop_waker(), abandoned).key();
        let later = DEADLINE.after(GRACE);
        let waiters = [(); 2].map(|()| semaphore.queue_until(&noop_waker(), later.into()).key());
        semaphore.release(2);
        clock.set(later);
        let looking = spawn(&semaphore, |semaphore| {
            semaphore.remove_overdue();
        });
        semaphore.remove_overdue();
        join([looking]);
        for waiter in &waiters {
            let polled = semaphore.poll_until(waiter, &noop_waker(), later.into());
            assert_eq!(polled, Polled::Granted);
        }
        semaphore.cancel(abandoned);
        semaphore.release(2);
        assert_eq!(semaphore.view().held(), 0);
    });
}

/// P2, C12: if the deadline of a waiter for two permits passes as one is available, then that one
/// is granted to the waiter behind it, before its own deadline.
#[test]
fn p2_c12_waiter_behind_an_overdue_large_one_is_in_time() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let clock = TestClock::new();
        let semaphore = Arc::new(Semaphore::new(2, clock.clone(), ()));
        assert!(semaphore.try_acquire_many(2));
        let large = Arrival { permits: 2, deadline: DEADLINE.into(), ..Arrival::PLAIN };
        let large = semaphore.queue_as(&noop_waker(), large).key();
        let later = DEADLINE.after(GRACE);
        let one = semaphore.queue_until(&noop_waker(), later.into()).key();
        semaphore.release(1);
        clock.set(later);
        let looking = spawn(&semaphore, |semaphore| {
            semaphore.remove_overdue();
        });
        semaphore.remove_overdue();
        join([looking]);
        assert_eq!(semaphore.poll_until(&one, &noop_waker(), later.into()), Polled::Granted);
        assert_eq!(semaphore.poll_until(&large, &noop_waker(), later.into()), Polled::Overdue);
        semaphore.release(2);
        assert_eq!(semaphore.view().held(), 0);
    });
}

/// P3, C12: of a grant of two permits and its deadline at once, one comes first: both are the
/// waiter's or available.
#[test]
fn p3_c12_c4_permits_granted_as_the_deadline_passes_are_not_lost() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let clock = TestClock::new();
        let semaphore = Arc::new(Semaphore::new(2, clock.clone(), ()));
        assert!(semaphore.try_acquire_many(2));
        let both = Arrival { permits: 2, deadline: DEADLINE.into(), ..Arrival::PLAIN };
        let both = semaphore.queue_as(&noop_waker(), both).key();
        let releasing = spawn(&semaphore, |semaphore: &Semaphore<TestClock>| semaphore.release(2));
        let expiring = spawn(&semaphore, move |semaphore: &Semaphore<TestClock>| {
            clock.set(DEADLINE.after(GRACE));
            semaphore.remove_overdue();
        });
        match semaphore.poll_until(&both, &noop_waker(), DEADLINE.into()) {
            Polled::Granted => {
                semaphore.release(2);
            }
            _ => {
                semaphore.cancel(both);
            }
        }
        join([releasing]);
        join([expiring]);
        let view = semaphore.view();
        assert_eq!((view.available, view.ahead), (2, 0));
    });
}

/// P4, C4: a waiter that is refused tells its tag once, beside a cancel of it.
#[test]
fn p4_c4_refused_waiter_tells_its_tag_once() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let left = LeftTags::default();
        let semaphore = Arc::new(Semaphore::new(2, Untimed, left.clone()));
        assert!(semaphore.try_acquire());
        let both = semaphore.queue_as(&noop_waker(), many(2)).key();
        let lowering = spawn(&semaphore, |semaphore: &Semaphore<Untimed, LeftTags>| {
            semaphore.set_limit(1, || {});
        });
        semaphore.cancel(both);
        join([lowering]);
        let left = left.0.lock().expect("a panic ends the model").clone();
        assert_eq!(left, [Tag::NONE.0]);
        assert_eq!((semaphore.view().available, semaphore.view().ahead), (0, 0));
    });
}

/// P4: a waiter that is refused, and polled after the waiter behind it was granted a permit, does
/// not take that for a grant of its own.
#[test]
fn p4_refused_waiter_takes_no_later_grant_for_its_own() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let guarded = Guarded::held(2);
        let (both, one) = (guarded.queue_many(2), guarded.queue());
        let lowering = spawn(&guarded, |guarded: &Guarded| {
            guarded.semaphore.set_limit(1, || {});
            guarded.semaphore.release(2);
        });
        block_on(guarded.wait(one));
        assert_eq!(guarded.poll(&both), Polled::TooMany);
        join([lowering]);
        guarded.semaphore.release(1);
        guarded.assert_idle(1);
    });
}

/// P1, B1: a request that acquires several permits without a wait sees the writes of their last
/// holders.
#[test]
fn p1_b1_request_for_several_permits_sees_writes_made_before_release() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let guarded = Guarded::held(2);
        let releasing = [(); 2].map(|()| spawn(&guarded, Guarded::read_and_release));
        if guarded.semaphore.try_acquire_many(2) {
            guarded.write_and_release();
            guarded.semaphore.release(1);
        }
        join(releasing);
        guarded.assert_idle(2);
    });
}

/// Deadlines of which a part is kept in reserve for the request itself.
#[derive(Clone)]
struct WithReserve(TestClock);

/// The reserve. A waiter that is to be done by [`DEADLINE`] is late from the start.
const RESERVE: u64 = 2;

impl Deadlines for WithReserve {
    fn has_passed(&self, deadline: Deadline) -> bool {
        self.0.has_passed(deadline)
    }

    fn of_grant(&self, deadline: Deadline) -> Deadline {
        self.0.of_grant(deadline)
    }

    fn is_too_late(&self, done_by: Deadline) -> bool {
        done_by.get() < self.0.now().get() + RESERVE
    }
}

/// A request that is to be done by [`DEADLINE`], with the end of its wait.
const LATE: Arrival = Arrival {
    deadline: Deadline::new(DEADLINE.get()),
    done_by: Deadline::new(DEADLINE.get()),
    ..Arrival::PLAIN
};

impl Guarded<WithReserve> {
    /// Creates a cell whose only permit is held, with a clock at zero.
    fn reserving() -> (Arc<Self>, TestClock) {
        let clock = TestClock::new();
        let guarded = Self::with_deadlines(1, WithReserve(clock.clone()));
        assert!(guarded.semaphore.try_acquire());
        (guarded, clock)
    }

    fn queue_late(&self) -> WaiterKey {
        self.semaphore.queue_as(&noop_waker(), LATE).key()
    }
}

/// A11, C4: a permit that the first waiter could not use in time goes to the next one, whether that
/// waiter is passed over, cancelled, or past its deadline first.
#[test]
fn a11_c4_permit_that_comes_too_late_goes_to_the_next_waiter() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let (guarded, clock) = Guarded::reserving();
        let (late, next) = (guarded.queue_late(), guarded.semaphore.acquire(&noop_waker()).key());
        let releasing = spawn(&guarded, |guarded| guarded.semaphore.release(1));
        let expiring = spawn(&guarded, move |guarded| {
            clock.set(DEADLINE);
            guarded.semaphore.remove_overdue();
        });
        match guarded.semaphore.poll_until(&late, &noop_waker(), DEADLINE.into()) {
            Polled::TooLate | Polled::Overdue => {}
            Polled::Queued => {
                guarded.semaphore.cancel(late);
            }
            other => unreachable!("it never has a permit: {other:?}"),
        }
        join([releasing]);
        join([expiring]);
        let polled = guarded.semaphore.poll_waiter(&next, &noop_waker());
        assert_eq!(polled, Polled::Granted);
        guarded.semaphore.release(1);
        guarded.assert_idle(1);
    });
}

/// A11, B6: the last waiter is passed over, and the semaphore is drained: the release that has done
/// it wakes those that wait for that.
#[test]
fn a11_b6_drained_completes_when_the_last_waiter_is_passed_over() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (guarded, _clock) = Guarded::reserving();
        let late = guarded.queue_late();
        let releasing = spawn(&guarded, |guarded| guarded.semaphore.release(1));
        let mut key = None;
        block_on(poll_fn(|cx| guarded.semaphore.poll_idle(&mut key, cx.waker())));
        join([releasing]);
        let polled = guarded.semaphore.poll_until(&late, &noop_waker(), DEADLINE.into());
        assert_eq!(polled, Polled::TooLate);
        guarded.assert_idle(1);
    });
}

/// A11, C12: a permit that is taken back from one waiter passes over the next one, which it reaches
/// too late, and is available then.
#[test]
fn a11_c12_permit_taken_back_too_late_for_the_next_waiter_is_available() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (guarded, clock) = Guarded::reserving();
        let abandoned = guarded.semaphore.queue_until(&noop_waker(), DEADLINE.into()).key();
        let end = DEADLINE.after(GRACE);
        let soon = Nanos::new(end.get() + 1);
        let arrival = Arrival { deadline: soon.into(), done_by: soon.into(), ..Arrival::PLAIN };
        let late = guarded.semaphore.queue_as(&noop_waker(), arrival).key();
        guarded.semaphore.release(1);
        clock.set(end);
        let looking = spawn(&guarded, |guarded| {
            guarded.semaphore.remove_overdue();
        });
        guarded.semaphore.remove_overdue();
        join([looking]);
        let polled = guarded.semaphore.poll_until(&late, &noop_waker(), soon.into());
        assert_eq!(polled, Polled::TooLate);
        guarded.semaphore.cancel(abandoned);
        guarded.assert_idle(1);
    });
}

/// A11, C4: a waiter that is cancelled as it is passed over has no permit to release.
#[test]
fn a11_c4_cancelled_waiter_that_was_passed_over_releases_no_permit() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let (guarded, _clock) = Guarded::reserving();
        let late = guarded.queue_late();
        let releasing = spawn(&guarded, |guarded| guarded.semaphore.release(1));
        guarded.semaphore.cancel(late);
        join([releasing]);
        guarded.assert_idle(1);
    });
}

/// Records of grants, and of the raises that they are due to.
#[derive(Clone, Default)]
struct Grants(StdArc<StdMutex<(u32, u32)>>);

impl Tags for Grants {
    fn waiter_left(&mut self, _: Tag) -> Option<Waker> {
        None
    }

    fn granted(&mut self, _: bool) {
        self.0.lock().expect("a panic ends the model").0 += 1;
    }

    fn raised(&mut self) {
        self.0.lock().expect("a panic ends the model").1 += 1;
    }
}

/// A11: each grant is told once, and a raise that no waiter profits from is not told.
#[test]
fn a11_each_grant_is_told_once_beside_a_raised_limit() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let grants = Grants::default();
        let semaphore = Arc::new(Semaphore::new(1, Untimed, grants.clone()));
        assert!(semaphore.try_acquire());
        let keys = [0, 1].map(|_| semaphore.acquire(&noop_waker()).key());
        let releasing = spawn(&semaphore, |semaphore| semaphore.release(1));
        let raising = spawn(&semaphore, |semaphore| {
            semaphore.set_limit(2, || {});
        });
        join([releasing]);
        join([raising]);
        for key in keys {
            let polled = semaphore.poll_waiter(&key, &noop_waker());
            assert_eq!(polled, Polled::Granted);
        }
        semaphore.set_limit(3, || {});
        assert_eq!(*grants.0.lock().expect("no panic"), (2, 1));
        semaphore.release(2);
        assert_eq!(semaphore.view().held(), 0);
    });
}
