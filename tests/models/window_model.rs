//! The windows under the model checker.
//!
//! Threads advance the clock. Its readings have no ordering, unless a model asks for
//! [one](TestClock::causal).

use std::{future::poll_fn, sync::Arc as StdArc, task::Poll, time::Duration};

use futures::task::noop_waker;
use loom::{
    future::block_on,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::{
    Model,
    adapter::{Acquired, Polled, TestClock, TestWindow, many},
    join,
    semaphore::{Deadline, WaiterKey},
    spawn,
    time::{Nanos, Time},
    wake_counter::WakeCounter,
    window::Shape,
};

const PREEMPTIONS: usize = 2;
/// For models that are small enough.
const DEEP: usize = 4;

/// One tick.
const TICK: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// The resolution of timers.
const TIMER: Duration = MILLISECOND;

/// Two runtimes.
const HERE: u32 = 0;
const THERE: u32 = 1;

struct Limited {
    window: TestWindow,
    clock: TestClock,
    /// A refill task has ended.
    has_ended: AtomicBool,
    /// Wakes of the waiters that no task awaits.
    wakes: StdArc<WakeCounter>,
}

impl Limited {
    fn new(shape: Shape, limit: u32, length: u32) -> Arc<Self> {
        Self::with_sizes(shape, limit, length, 4, 4)
    }

    fn with_sizes(
        shape: Shape,
        limit: u32,
        length: u32,
        checkpoints: u32,
        slots: u16,
    ) -> Arc<Self> {
        Self::with_clock(shape, limit, TICK * length, checkpoints, slots, TestClock::new())
    }

    fn with_clock(
        shape: Shape,
        limit: u32,
        length: Duration,
        checkpoints: u32,
        slots: u16,
        clock: TestClock,
    ) -> Arc<Self> {
        let time = clock.clone();
        let window = TestWindow::with_sizes(shape, limit, length, time, checkpoints, slots);
        let wakes = WakeCounter::new();
        Arc::new(Self { window, clock, has_ended: AtomicBool::new(false), wakes })
    }

    /// Creates a fixed window with its one permit held, a tick before the first boundary. Returns
    /// that boundary too.
    fn before_a_boundary() -> (Arc<Self>, Nanos) {
        let length = MILLISECOND * 10;
        let limited = Self::with_clock(Shape::Fixed, 1, length, 4, 4, TestClock::causal());
        assert!(limited.window.try_acquire());
        limited.clock.set(Nanos::ZERO.after(length - TICK));
        (limited, Nanos::ZERO.after(length))
    }

    fn tick(&self) {
        self.clock.advance(TICK);
    }

    fn ticks(&self, ticks: u32) {
        (0..ticks).for_each(|_| self.tick());
    }

    /// Issues a request if a permit is available after a refill. Returns its time.
    fn try_issue(&self) -> Option<u64> {
        if !self.window.try_acquire_unobserved() {
            self.window.refill();
            if !self.window.try_acquire() {
                return None;
            }
        }
        Some(self.issue())
    }

    /// Issues `permits` at one moment, if they are available after a refill. Returns their times.
    fn try_issue_many(&self, permits: u32) -> Vec<u64> {
        self.window.refill();
        if !self.window.try_acquire_many(permits) {
            return Vec::new();
        }
        let at = self.clock.now().get();
        self.window.commit_many(permits);
        (0..permits).map(|_| at).collect()
    }

    /// Issues a request on a permit that is available without a refill.
    fn issue_without_refill(&self) -> Option<u64> {
        self.window.try_acquire().then(|| self.issue())
    }

    /// Issues a request on a permit that was acquired before. Returns its time.
    fn issue(&self) -> u64 {
        let at = self.clock.now().get();
        self.window.commit();
        at
    }

    fn refill(&self) {
        self.window.refill();
    }

    /// Waits for a permit. Other threads wake it: models have no timers.
    async fn acquire(&self) {
        let mut key = None;
        poll_fn(|cx| {
            let polled = match &key {
                None => match self.window.queue_in(HERE, cx.waker(), Deadline::NEVER).0 {
                    Acquired::Granted => Polled::Granted,
                    Acquired::Refused => Polled::Closed,
                    Acquired::Queued(queued) => {
                        key = Some(queued);
                        Polled::Queued
                    }
                },
                Some(key) => self.window.poll_waiter(key, cx.waker()),
            };
            match polled {
                Polled::Granted => Poll::Ready(()),
                Polled::Queued => Poll::Pending,
                other => unreachable!("no wait ends without a permit: {other:?}"),
            }
        })
        .await;
    }

    /// Queues a waiter that no task awaits.
    fn queue(&self, runtime: u32) -> WaiterKey {
        self.queue_until(runtime, Deadline::NEVER)
    }

    fn queue_until(&self, runtime: u32, deadline: Deadline) -> WaiterKey {
        self.window.queue_in(runtime, &self.wakes.waker(), deadline).0.key()
    }

    async fn drained(&self) {
        let mut key = None;
        poll_fn(|cx| self.window.poll_drained(&mut key, cx.waker())).await;
    }

    /// Runs a refill task, which other threads wake. It ends without waiters, or once it is due by
    /// `until`.
    fn run_refill_task(&self, runtime: u32, until: Nanos) {
        block_on(poll_fn(|cx| match self.window.attend(runtime, cx.waker()) {
            Some(due) if due > until => Poll::Pending,
            Some(_) => Poll::Ready(()),
            None => {
                self.has_ended.store(true, Relaxed);
                Poll::Ready(())
            }
        }));
    }

    /// Asserts that no waiter of [`queue`](Self::queue) has been granted a permit.
    fn assert_no_grant(&self) {
        assert_eq!(self.wakes.count(), 0, "no permit has expired");
    }

    /// Asserts that every permit expires in the end.
    fn assert_whole(&self, limit: u32) {
        // Twice: the first reading records the issues that have no checkpoint.
        for _ in 0..2 {
            self.clock.advance(TICK * 1000);
            self.window.read();
        }
        assert_eq!(self.window.read().remaining, limit, "a permit is lost");
    }
}

fn assert_at_most(limit: usize, issued: &[u64], span: u64) {
    for from in issued {
        let inside = issued.iter().filter(|&at| (from..&(from + span)).contains(&at)).count();
        assert!(inside <= limit, "{inside} from {from} on: {issued:?}");
    }
}

/// W1: a permit is used again only after a full window.
#[test]
fn w1_sliding_window_never_exceeds_its_limit() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        let other = spawn(&limited, |limited| {
            limited.tick();
            limited.try_issue()
        });
        let mut issued: Vec<u64> = Vec::new();
        issued.extend(limited.try_issue());
        issued.extend(limited.try_issue());
        issued.extend(other.join().expect("its thread ends"));
        assert_at_most(1, &issued, 1);
        limited.assert_whole(1);
    });
}

/// W1: the time of a checkpoint is no earlier than an issue of another thread that it covers.
#[test]
fn w1_checkpoint_is_later_than_every_issue_it_covers() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 1);
        assert!(limited.window.try_acquire() && limited.window.try_acquire());
        let late = spawn(&limited, |limited| {
            limited.tick();
            limited.issue()
        });
        let other = spawn(&limited, Limited::issue);
        let mut issued: Vec<u64> = Vec::new();
        issued.extend(limited.try_issue());
        issued.push(late.join().expect("its thread ends"));
        issued.push(other.join().expect("its thread ends"));
        issued.extend(limited.try_issue());
        assert_at_most(2, &issued, 1);
    });
}

/// W2: no window of the grid has more issues than the limit.
#[test]
fn w2_fixed_window_never_exceeds_its_limit() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Fixed, 1, 2);
        let one = spawn(&limited, |limited| {
            limited.ticks(2);
            limited.try_issue()
        });
        let other = spawn(&limited, |limited| [limited.try_issue(), limited.try_issue()]);

        let mut issued: Vec<u64> = Vec::new();
        issued.extend(one.join().expect("its thread ends"));
        issued.extend(other.join().expect("its thread ends").into_iter().flatten());
        for window in [0, 2] {
            let inside = issued.iter().filter(|&&at| (window..window + 2).contains(&at)).count();
            assert!(inside <= 1, "{inside} in the window from {window} on: {issued:?}");
        }
        limited.assert_whole(1);
    });
}

/// W1, W8: the checkpoint of two issues holds for both, by the thread of either.
#[test]
fn w1_w8_permits_of_a_stride_expire_not_before_its_last_issue() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 2, 1, 1, 2);
        let other = spawn(&limited, |limited| {
            limited.tick();
            [limited.try_issue(), limited.try_issue()]
        });
        let mut issued: Vec<u64> = Vec::new();
        issued.extend(limited.try_issue());
        issued.extend(limited.try_issue());
        issued.extend(other.join().expect("its thread ends").into_iter().flatten());
        assert_at_most(2, &issued, 1);
        limited.assert_whole(2);
    });
}

/// W1, W8: a refill closes an open stride, with a time that holds for all issues of the stride.
#[test]
fn w1_w8_open_stride_is_closed_by_any_refill() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        // A stride of two: the first issue has a checkpoint of its own, the second opens a stride.
        let limited = Limited::with_sizes(Shape::Sliding, 2, 1, 1, 4);
        assert!(limited.window.try_acquire() && limited.window.try_acquire());
        let other = spawn(&limited, |limited| {
            limited.tick();
            limited.issue()
        });
        let mut issued = vec![limited.issue()];
        limited.refill();
        issued.extend(limited.try_issue());
        issued.extend(limited.try_issue());
        issued.push(other.join().expect("its thread ends"));
        assert_at_most(2, &issued, 1);
        limited.assert_whole(2);
    });
}

/// W9: a lowered limit holds for the next request, beside permits that are acquired and issued.
#[test]
fn w9_lowered_limit_holds_at_once() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 1);
        let other = spawn(&limited, |limited| {
            let issued = [limited.try_issue(), limited.try_issue()];
            issued.into_iter().flatten().count()
        });
        limited.window.set_limit(1);
        let mine = limited.try_issue();
        let others = other.join().expect("its thread ends");
        // No time passes, so a request that is issued after the change is the only one.
        assert!(mine.is_none() || others == 0, "{} in a window of 1", others + 1);
        limited.assert_whole(1);
    });
}

/// W9, W8: a raised limit, which changes the stride, loses no permit and lets none expire early.
#[test]
fn w9_w8_raised_limit_keeps_recorded_issues() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 1, 1, 1, 2);
        let other = spawn(&limited, |limited| {
            limited.tick();
            [limited.try_issue(), limited.try_issue()]
        });
        limited.window.set_limit(2);
        let mut issued: Vec<u64> = limited.try_issue().into_iter().collect();
        issued.extend(other.join().expect("its thread ends").into_iter().flatten());
        assert_at_most(2, &issued, 1);
        limited.assert_whole(2);
    });
}

/// W9: a longer window holds for the issues after the change, in threads that know of it.
#[test]
fn w9_longer_window_holds_for_later_issues() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        let other = spawn(&limited, |limited| {
            limited.tick();
            limited.try_issue()
        });
        limited.window.set_length(TICK * 2);
        let mine = limited.try_issue();
        let other = other.join().expect("its thread ends");
        if let (Some(mine), Some(other)) = (mine, other) {
            assert!(other < mine || other >= mine + 2, "issued at {mine} and at {other}");
        }
        limited.assert_whole(1);
    });
}

/// W9: a shorter window expires permits at once.
#[test]
fn w9_c4_shorter_window_expires_permits_at_once() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 5);
        assert!(limited.try_issue().is_some());
        limited.tick();
        let waiting = spawn(&limited, |limited| {
            block_on(limited.acquire());
            limited.issue()
        });
        limited.window.set_length(TICK);
        assert_eq!(waiting.join().expect("its thread ends"), 1);
        limited.assert_whole(1);
    });
}

/// W2: permits expire at the boundary by the first refill, though other threads read an older time.
#[test]
fn w2_c4_fixed_window_rolls_over_once() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Fixed, 2, 2);
        assert_eq!((limited.try_issue(), limited.try_issue()), (Some(0), Some(0)));
        // Reads any time up to the boundary.
        let late = spawn(&limited, Limited::try_issue);
        limited.ticks(2);
        let mut issued: Vec<u64> = Vec::new();
        issued.extend(limited.try_issue());
        issued.extend(late.join().expect("its thread ends"));
        assert_at_most(2, &issued, 2);
        assert!(issued.iter().all(|&at| at >= 2), "issued in a window without a permit");
        limited.assert_whole(2);
    });
}

/// C4, W8: the ring of the log wraps around while it is read and written, and each permit expires
/// once.
#[test]
fn c4_w8_log_wraps_around_and_stays_true() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 1);
        // Three of the four slots are used. The rest happens across the end of the ring.
        for _ in 0..3 {
            assert!(limited.try_issue().is_some());
            limited.tick();
        }
        let one = spawn(&limited, |limited| {
            limited.tick();
            limited.try_issue();
        });
        limited.try_issue();
        limited.try_issue();
        join([one]);
        limited.assert_whole(2);
    });
}

/// W5, W6: the time of the next permit is known while the newest entries of the log are written.
#[test]
fn w5_w6_next_expiry_is_known_while_checkpoints_are_written() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 10);
        assert!(limited.window.try_acquire() && limited.window.try_acquire());
        limited.issue();
        limited.ticks(5);
        let other = spawn(&limited, Limited::issue);
        assert_eq!(limited.window.read().wait, TICK * 5);
        join([other]);
    });
}

/// C4: a full log leaves checkpoints out, and the next checkpoint covers their issues.
#[test]
fn c4_full_log_loses_no_permit() {
    Model { threads: 2, preemptions: 1 }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 3, 1, 4, 1);
        assert!((0..3).all(|_| limited.window.try_acquire()));
        let one = spawn(&limited, Limited::issue);
        limited.issue();
        limited.issue();
        limited.tick();
        limited.refill();
        join([one]);
        limited.assert_whole(3);
    });
}

/// W1, W8, C4: with a log that is thinned beside a refill, each permit expires once, and not early.
#[test]
fn w1_w8_c4_log_thinned_beside_a_refill_expires_permits_once_and_not_early() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 3, 2, 8, 2);
        let mut issued = vec![limited.try_issue().expect("a permit is available")];
        limited.tick();
        issued.push(limited.try_issue().expect("a permit is available"));
        // Two checkpoints fill the log, and the next issue finds no room.
        let other = spawn(&limited, Limited::issue_without_refill);
        limited.tick();
        issued.extend([(); 2].into_iter().filter_map(|()| limited.try_issue()));
        issued.extend(other.join().expect("its thread ends"));
        assert_at_most(3, &issued, 2);
        limited.assert_whole(3);
    });
}

/// W8, C4: two threads that find the log full both record their checkpoints.
#[test]
fn w8_c4_log_found_full_by_two_threads_has_room_for_both() {
    Model { threads: 2, preemptions: 1 }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 6, 4, 8, 4);
        for _ in 0..4 {
            assert!(limited.try_issue().is_some());
        }
        limited.tick();
        let other = spawn(&limited, Limited::issue_without_refill);
        assert!(limited.issue_without_refill().is_some());
        assert!(other.join().expect("its thread ends").is_some());
        // A window after the first four issues: their permits have expired, and the others not.
        limited.clock.advance(TICK * 3);
        limited.refill();
        assert_eq!(limited.window.read().remaining, 4);
        limited.tick();
        assert_eq!(limited.window.read().remaining, 6);
    });
}

/// W9: of two threads that change the limit, the same one sets limit and stride last.
#[test]
fn w9_w3_limits_changed_by_two_threads_leave_the_stride_of_the_last() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 1, 1, 1, 4);
        let other = spawn(&limited, |limited| limited.window.set_limit(2));
        limited.window.set_limit(1);
        join([other]);
        if limited.window.settings().0 == 1 {
            // With a stride of one, each issue has a checkpoint, and its permit expires a window
            // later.
            for _ in 0..2 {
                assert!(limited.try_issue().is_some());
                limited.tick();
                assert_eq!(limited.window.read().remaining, 1);
            }
        }
    });
}

/// S2, W1: while a quota with a shorter window is set, no thread issues by the limit of the old one
/// and the window of the new one.
#[test]
fn s2_w1_quota_with_a_shorter_window_lowers_the_limit_first() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 10);
        assert!((0..2).all(|_| limited.try_issue().is_some()));
        limited.ticks(3);
        let changing = spawn(&limited, |limited| limited.window.set_quota(1, TICK * 2, || {}));
        let issued = (0..2).filter(|_| limited.try_issue().is_some()).count();
        assert!(issued <= 1, "none by the old quota, and one by the new one");
        join([changing]);
        limited.assert_whole(1);
    });
}

/// S2, W1: while a quota with a longer window is set, no thread issues by the limit of the new one
/// and the window of the old one.
#[test]
fn s2_w1_quota_with_a_longer_window_lengthens_it_first() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 2);
        let changing = spawn(&limited, |limited| limited.window.set_quota(2, TICK * 10, || {}));
        let issued = (0..2).filter(|_| limited.try_issue().is_some()).count();
        limited.ticks(2);
        let later = limited.try_issue();
        assert!(issued < 2 || later.is_none(), "the second was issued by the new limit");
        join([changing]);
        limited.assert_whole(2);
    });
}

/// S2, W9: a reading has the limit and the window of one quota.
#[test]
fn s2_w9_reading_during_a_change_is_of_one_quota() {
    for quotas in [[(1, TICK), (2, TICK * 2)], [(2, TICK * 2), (1, TICK)]] {
        Model { threads: 2, preemptions: DEEP }.check(move || {
            let [(limit, length), new] = quotas;
            let limited =
                Limited::with_clock(Shape::Sliding, limit, length, 4, 4, TestClock::new());
            let changing =
                spawn(&limited, move |limited| limited.window.set_quota(new.0, new.1, || {}));
            let read = limited.window.read();
            assert!(quotas.contains(&(read.limit, read.length)), "{read:?}");
            assert_eq!(read.remaining, read.limit);
            join([changing]);
            assert_eq!(limited.window.settings(), new);
        });
    }
}

/// S2: of two threads that change the window, and the quota, both changes are whole.
#[test]
fn s2_w9_window_set_beside_a_quota_keeps_the_limit_of_the_quota() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        let other = spawn(&limited, |limited| limited.window.set_length(TICK * 3));
        limited.window.set_quota(2, TICK * 2, || {});
        join([other]);
        let (limit, length) = limited.window.settings();
        assert!(limit == 2 && [TICK * 2, TICK * 3].contains(&length), "{limit} in {length:?}");
        limited.assert_whole(2);
    });
}

/// S2, C5: a waiter is granted a permit that a new quota makes available, by its limit or by its
/// window.
#[test]
fn s2_c5_waiter_is_granted_a_permit_of_a_new_quota() {
    for (limit, length) in [(2, TICK * 9), (1, TICK)] {
        Model { threads: 2, preemptions: PREEMPTIONS }.check(move || {
            let limited = Limited::new(Shape::Sliding, 1, 5);
            assert!(limited.try_issue().is_some());
            limited.tick();
            let waiting = spawn(&limited, |limited| {
                block_on(limited.acquire());
                limited.issue();
            });
            limited.window.set_quota(limit, length, || {});
            join([waiting]);
            limited.assert_whole(limit);
        });
    }
}

/// W4, C5: a refunded permit is granted to a waiter.
#[test]
fn w4_c5_refund_reaches_the_waiter() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.window.try_acquire());
        let waiting = spawn(&limited, |limited| {
            block_on(limited.acquire());
            limited.window.refund();
        });
        limited.window.refund();
        join([waiting]);
        limited.assert_whole(1);
    });
}

/// C5: a refill task that attends while a permit is being granted polls again no sooner than a
/// timer can fire. Otherwise it would be a busy loop. The permit of a waiter that is polled then is
/// not expected before now.
#[test]
fn c5_next_look_is_at_least_a_timer_tick_away() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.window.try_acquire());
        let key = limited.queue(HERE);
        let refunding = spawn(&limited, |limited| limited.window.refund());
        let waker = noop_waker();
        let due = limited.window.attend(HERE, &waker);
        assert!(due.is_none_or(|due| due >= limited.clock.now().after(TIMER)));
        let mut expected = None;
        let polled = limited.window.poll(&key, &waker, Deadline::NEVER, |expects| {
            expected = Some(expects());
        });
        assert_eq!(polled.is_pending(), expected.is_some());
        assert!(expected.is_none_or(|expected| expected >= limited.clock.now()));
        join([refunding]);
    });
}

/// C5: when its last waiter is cancelled, the refill task is woken, and ends.
#[test]
fn c5_refill_task_ends_without_waiters() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.try_issue().is_some());
        let key = limited.queue(HERE);
        let task = spawn(&limited, |limited| limited.run_refill_task(HERE, Nanos::ZERO));
        limited.window.cancel(key);
        join([task]);
        limited.assert_no_grant();
    });
}

/// C5: when its last waiter is granted a permit, the refill task is woken, and ends.
#[test]
fn c5_refill_task_of_a_granted_waiter_ends() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.window.try_acquire());
        let key = limited.queue(HERE);
        let task = spawn(&limited, |limited| limited.run_refill_task(HERE, Nanos::ZERO));
        limited.window.refund();
        join([task]);
        assert_eq!(limited.window.poll_waiter(&key, &noop_waker()), Polled::Granted);
    });
}

/// C5, C12: when the deadline of its last waiter has passed, the refill task is woken, and ends.
#[test]
fn c5_c12_refill_task_of_an_expired_waiter_ends() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 5);
        assert!(limited.try_issue().is_some());
        let key = limited.queue_until(HERE, Deadline::new(1));
        let task = spawn(&limited, |limited| limited.run_refill_task(HERE, Nanos::ZERO));
        limited.tick();
        limited.refill();
        join([task]);
        assert_eq!(limited.window.poll_waiter(&key, &noop_waker()), Polled::Overdue);
        limited.assert_no_grant();
    });
}

/// C5, C2: when its last waiter moves to another runtime, the refill task is woken, and ends.
#[test]
fn c5_c2_refill_task_left_by_a_moved_waiter_ends() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.try_issue().is_some());
        let key = limited.queue(HERE);
        let task = spawn(&limited, |limited| limited.run_refill_task(HERE, Nanos::ZERO));
        assert!(limited.window.assign(&key, THERE), "the other runtime has no task");
        join([task]);
        limited.window.cancel(key);
        limited.assert_no_grant();
    });
}

/// C5, W9: a shorter window wakes the refill task for the permit of the first waiter, not for that
/// of the second.
#[test]
fn c5_w9_refill_task_is_woken_for_the_first_of_two_waiters() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let length = MILLISECOND * 10;
        let limited = Limited::with_clock(Shape::Sliding, 1, length, 4, 4, TestClock::new());
        assert!(limited.try_issue().is_some());
        let _keys = [(); 2].map(|()| limited.queue(HERE));
        let until = Nanos::ZERO.after(length / 2);
        let task = spawn(&limited, move |limited| limited.run_refill_task(HERE, until));
        limited.window.set_length(length / 2);
        join([task]);
        limited.assert_no_grant();
    });
}

/// C5: a waiter that comes while the refill task is about to end keeps it, or spawns another.
#[test]
fn c5_waiter_arriving_as_the_refill_task_ends_has_one_or_spawns_one() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.try_issue().is_some());
        let first = limited.queue(HERE);
        let task = spawn(&limited, |limited| limited.run_refill_task(HERE, Nanos::ZERO));
        limited.window.cancel(first);
        let second = limited.queue(THERE);
        if limited.window.assign(&second, HERE) {
            // The runtime has no task: it has ended without another wake.
            join([task]);
            limited.window.cancel(second);
        } else {
            assert!(!limited.has_ended.load(Relaxed), "the task is not missing, and has ended");
            limited.window.cancel(second);
            join([task]);
        }
        limited.assert_no_grant();
    });
}

/// C5: a runtime has one refill task, which is woken only if it would poll too late.
#[test]
fn c5_refill_task_is_spawned_once_and_woken_only_for_an_earlier_time() {
    Model { threads: 1, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 5);
        assert!(limited.try_issue().is_some());
        let task = WakeCounter::new();
        let first = limited.queue(THERE);
        assert!(limited.window.assign(&first, HERE), "the runtime has no task yet");
        assert!(limited.window.attend(HERE, &task.waker()).is_some());
        let second = limited.queue(THERE);
        assert!(!limited.window.assign(&second, HERE), "the runtime has a task");
        assert_eq!(task.count(), 0, "it polls before the permit of the second");
        limited.window.cancel(second);
        assert_eq!(task.count(), 0, "it has a waiter");
        limited.window.cancel(first);
        assert_eq!(task.count(), 1, "it has no waiter");
        limited.assert_no_grant();
    });
}

/// C5, B5: when the first waiter is cancelled, the refill task of the next one is woken for an
/// earlier permit.
#[test]
fn c5_b5_refill_task_is_woken_for_an_earlier_time() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let length = MILLISECOND * 10;
        let limited = Limited::with_clock(Shape::Sliding, 1, length, 4, 4, TestClock::new());
        assert!(limited.try_issue().is_some());
        let first = limited.queue(THERE);
        let next = limited.queue(HERE);
        let until = Nanos::ZERO.after(length);
        let task = spawn(&limited, move |limited| limited.run_refill_task(HERE, until));
        limited.window.cancel(first);
        join([task]);
        limited.window.cancel(next);
        limited.assert_no_grant();
    });
}

/// C5: a thread that is preempted across a boundary, before it records the time of its issue, does
/// not make the refill task a window late.
#[test]
fn c5_refill_task_is_in_time_for_an_issue_recorded_late() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let (limited, boundary) = Limited::before_a_boundary();
        let key = limited.queue(HERE);
        let issuing = spawn(&limited, |limited| limited.window.commit());
        limited.tick();
        let due = limited.window.attend(HERE, &noop_waker());
        join([issuing]);
        limited.refill();
        if limited.window.read().queued == 0 {
            // The permit has expired at the boundary.
            let in_time = boundary.after(TIMER);
            assert!(due.is_none_or(|due| due <= in_time), "{due:?} is too late");
        }
        drop(key); // the waiter is queued until here
    });
}

/// C5: the same where the first waiter is cancelled, and the refill task of the next is woken.
#[test]
fn c5_next_head_is_in_time_for_an_issue_recorded_late() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let (limited, boundary) = Limited::before_a_boundary();
        let (first, next) = (limited.queue(HERE), limited.queue(THERE));
        let task = WakeCounter::new();
        let due = limited.window.attend(THERE, &task.waker());
        let second_boundary = boundary.after(MILLISECOND * 10);
        assert_eq!(due, Some(second_boundary), "a waiter is before it");
        let issuing = spawn(&limited, |limited| limited.window.commit());
        limited.tick();
        limited.window.cancel(first);
        join([issuing]);
        limited.assert_no_grant();
        let is_woken = task.count() > 0; // before the refill, which may leave it without a waiter
        limited.refill();
        if limited.window.read().queued == 0 {
            assert!(is_woken, "the permit has expired at the boundary, and no task refills");
        }
        drop(next); // the waiter is queued until here
    });
}

/// W7, C5: a waiter that is queued in a pause is granted a permit by a refill after it.
#[test]
fn w7_c5_waiter_is_granted_a_permit_after_a_pause() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        limited.window.pause(Nanos::new(1));
        let waiting = spawn(&limited, |limited| {
            block_on(limited.acquire());
            limited.issue()
        });
        limited.tick();
        limited.refill();
        assert_eq!(waiting.join().expect("its thread ends"), 1);
        limited.assert_whole(1);
    });
}

/// W7: the end of a pause ends no newer pause, and an earlier pause shortens none.
#[test]
fn w7_pause_moves_only_forward() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        limited.window.pause(Nanos::new(1));
        limited.tick();
        let newer = spawn(&limited, |limited| {
            limited.window.pause(Nanos::new(5));
            limited.window.pause(Nanos::new(3));
        });
        limited.refill();
        join([newer]);
        assert_eq!(limited.try_issue(), None, "issued in a pause");
        limited.ticks(2);
        assert_eq!(limited.try_issue(), None, "issued in a pause");
        limited.assert_whole(1);
    });
}

/// W7: a pause that is set while the one before ends holds, without a later one.
#[test]
fn w7_pause_set_as_the_last_one_ends_holds() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        limited.window.pause(Nanos::new(1));
        limited.tick();
        let newer = spawn(&limited, |limited| limited.window.pause(Nanos::new(5)));
        limited.refill();
        join([newer]);
        assert_eq!(limited.try_issue(), None, "issued in a pause");
        limited.assert_whole(1);
    });
}

/// W7, W4: a permit that is refunded in a pause is granted to a waiter when the pause ends, and not
/// before.
#[test]
fn w7_w4_refund_in_a_pause_grants_nothing() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.window.try_acquire());
        limited.window.pause(Nanos::new(2));
        let waiting = spawn(&limited, |limited| {
            block_on(limited.acquire());
            limited.issue()
        });
        let refunding = spawn(&limited, |limited| limited.window.refund());
        limited.tick();
        limited.refill();
        limited.tick();
        join([refunding]);
        limited.refill();
        assert_eq!(waiting.join().expect("its thread ends"), 2);
        limited.assert_whole(1);
    });
}

/// W1, W8: thinning moves a checkpoint into a slot that held one with more issues and a later time.
/// A refill at the same time reads both words of one of them.
#[test]
fn w1_w8_log_thinned_beside_a_refill_pairs_no_count_with_an_earlier_time() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 5, 8, 8, 4);
        assert!((0..5).all(|_| limited.window.try_acquire()));
        let mut issued = Vec::new();
        // The first checkpoint is two ticks before the others.
        for pass in [0, 2, 1, 1] {
            limited.ticks(pass);
            issued.push(limited.issue());
        }
        limited.ticks(4);
        // The log is full, and the first permit has expired.
        let refilling = spawn(&limited, Limited::refill);
        issued.push(limited.issue());
        join([refilling]);
        issued.extend([(); 5].into_iter().filter_map(|()| limited.try_issue()));
        assert_at_most(5, &issued, 8);
        limited.assert_whole(5);
    });
}

/// W9: a drain is woken by the last permit that is issued or refunded, mid-stride too.
#[test]
fn w9_drained_is_woken_by_the_last_issue_or_refund() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 16, 10); // a stride of 4
        assert!((0..3).all(|_| limited.window.try_acquire()));
        limited.issue();
        let issuing = spawn(&limited, |limited| {
            limited.issue();
        });
        let refunding = spawn(&limited, |limited| limited.window.refund());
        block_on(limited.drained());
        let read = limited.window.read();
        assert_eq!(read.remaining, 14, "two are issued, and none is held");
        join([issuing, refunding]);
        limited.assert_whole(16);
    });
}

/// W9: a window is not drained while a permit is held, though others are issued and expire.
#[test]
fn w9_held_permit_keeps_the_window_from_being_drained() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 1);
        assert!(limited.window.try_acquire());
        let other = spawn(&limited, |limited| {
            limited.try_issue();
            limited.tick();
            limited.refill();
        });
        let mut drain = None;
        let waker = noop_waker();
        for _ in 0..2 {
            assert!(limited.window.poll_drained(&mut drain, &waker).is_pending());
        }
        join([other]);
        limited.issue();
        assert!(limited.window.poll_drained(&mut drain, &waker).is_ready());
        limited.assert_whole(2);
    });
}

/// W9: a drain is woken when the last waiter leaves by a cancel or a close.
#[test]
fn w9_drained_is_woken_when_the_last_waiter_leaves() {
    for closes in [true, false] {
        Model { threads: 2, preemptions: PREEMPTIONS }.check(move || {
            let limited = Limited::new(Shape::Sliding, 1, 1);
            assert!(limited.window.try_acquire());
            limited.issue();
            let key = limited.queue(HERE);
            let leaving = spawn(&limited, move |limited| {
                if closes {
                    limited.window.close();
                }
                limited.window.cancel(key);
            });
            block_on(limited.drained());
            assert_eq!(limited.window.read().queued, 0);
            join([leaving]);
        });
    }
}

/// W9: of two drains, one is cancelled, and the other one is still woken.
#[test]
fn w9_cancelled_drain_takes_no_wake_along() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 8, 10); // a stride of 2
        assert!((0..2).all(|_| limited.window.try_acquire()));
        limited.issue();
        let mut cancelled = None;
        assert!(limited.window.poll_drained(&mut cancelled, &noop_waker()).is_pending());
        let draining = spawn(&limited, |limited| block_on(limited.drained()));
        cancelled.into_iter().for_each(|key| limited.window.cancel_drained(key));
        limited.issue();
        join([draining]);
        limited.assert_whole(8);
    });
}

/// P1, W1: permits that are issued together, within a stride and across its end, expire not before
/// a full window, and each of them does.
#[test]
fn p1_w1_w8_permits_issued_together_expire_not_early() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        // A stride of four, which the third issue ends.
        let limited = Limited::with_sizes(Shape::Sliding, 4, 1, 1, 2);
        let other = spawn(&limited, |limited| {
            limited.tick();
            limited.try_issue_many(3)
        });
        let mut issued = limited.try_issue_many(2);
        issued.extend(limited.try_issue_many(2));
        issued.extend(other.join().expect("its thread ends"));
        assert_at_most(4, &issued, 1);
        limited.assert_whole(4);
    });
}

/// P1, W2: the same in a fixed window.
#[test]
fn p1_w2_permits_issued_together_stay_in_their_window() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::with_sizes(Shape::Fixed, 3, 2, 1, 2);
        let other = spawn(&limited, |limited| {
            limited.ticks(2);
            limited.try_issue_many(2)
        });
        let mut issued = limited.try_issue_many(2);
        issued.extend(limited.try_issue_many(2));
        issued.extend(other.join().expect("its thread ends"));
        for window in [0, 2] {
            let inside = issued.iter().filter(|&&at| (window..window + 2).contains(&at)).count();
            assert!(inside <= 3, "{inside} in the window from {window} on: {issued:?}");
        }
        limited.assert_whole(3);
    });
}

/// P3, W4: permits that are refunded together reach a waiter for one of them and one for the rest.
#[test]
fn p3_w4_c5_refund_of_several_reaches_all_waiters() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 3, 1);
        assert!(limited.window.try_acquire_many(3));
        let two = limited.window.queue_as(HERE, &limited.wakes.waker(), many(2)).0.key();
        let waiting = spawn(&limited, |limited| {
            block_on(limited.acquire());
            limited.window.refund();
        });
        limited.window.refund_many(3);
        join([waiting]);
        assert_eq!(limited.window.poll_waiter(&two, &noop_waker()), Polled::Granted);
        limited.window.refund_many(2);
        limited.assert_whole(3);
    });
}

/// P1, W9: a drain is woken by permits that are issued together within a stride.
#[test]
fn p1_w9_drained_is_woken_by_permits_issued_together() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 32, 10); // a stride of 8
        assert!(limited.window.try_acquire_many(5));
        limited.window.commit_many(3); // ends the first stride
        let issuing = spawn(&limited, |limited| limited.window.commit_many(2));
        block_on(limited.drained());
        assert_eq!(limited.window.read().remaining, 27);
        join([issuing]);
        limited.assert_whole(32);
    });
}
