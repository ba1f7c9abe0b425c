//! CORE: at most N issues in a window, sliding or fixed.
//!
//! A window is a [`Semaphore`] with N permits, and a [`log`] of issues that tells when their
//! permits expire:
//!
//! ```text
//!         service is ready            request is issued
//!  available ─────────► acquired ──────────────────────► committed
//!     ▲                    │ refund: dropped unused          │
//!     ├────────────────────┘                                 │
//!     └──────────────────────────────────────────────────────┘
//!                      refill: the window has passed the issue, the permit expires
//! ```
//!
//! The two kinds of windows differ only in `expiry`, the time at which the permits of a checkpoint
//! of the log expire. For checkpoints at 66 and 130 ms and a window of 100 ms:
//!
//! - **sliding**: a window's length after the recorded time, so at 166 and 230 ms;
//! - **fixed**: at the next boundary of a grid that began with the layer, so at 100 and 200 ms.
//!
//! # Never above the limit
//!
//! 1. A permit is acquired before the issue, and the time of a checkpoint is read after the issues
//!    that it covers. The issue lies between the two.
//! 2. A sliding permit expires a window's length after the recorded time. A refill reads its time
//!    before it releases the permit, so the next issue on the same permit is at least a length
//!    later. With N permits, any half-open span of that length has at most one issue on each.
//! 3. A fixed permit expires at the first boundary after the recorded time, so two issues on one
//!    permit are never in the same window of the grid.
//!
//! # Nearly all of the limit
//!
//! Up to N = 256, each issue has a checkpoint of its own. Above, every `stride`-th issue records
//! one, for itself and the issues since the last. So neither memory (8 KiB) nor the number of clock
//! readings grows with N. A permit expires late by at most the time in which its stride filled. The
//! stride is less than N / 128, so at most 0.8 % of the quota is lost.
//!
//! If traffic stops mid-stride, the open stride has no checkpoint, and its permits would not expire
//! until the next request. So any refill closes an open stride.
//!
//! # Refill
//!
//! Permits expire with time, and no request ends at that moment. So each arrival that finds no
//! permit, each poll of a waiter and each reading by a handle refills first. A *refill task* in
//! each runtime with waiters does so when the permit of its first waiter is expected. A refill
//! grants all expired permits, in order, to the waiters of other runtimes too. A waiter thus
//! depends neither on one task that is no longer polled, nor on one runtime that stands still. Two
//! rules keep the times of the tasks exact:
//!
//! - *The refill task of the first waiter polls no later than the permit of that waiter expires.* A
//!   refund, a cancelled waiter, a refill by another thread or a changed setting may bring that
//!   time forward. Each of these steps [reschedules](Window::reschedule) the task if its next poll
//!   is too late.
//! - *An issue reschedules nothing.* While the permit of the first waiter has no record in the log,
//!   the task polls at the `expiry` of its last refill, and that of a later issue is no earlier.
//!
//! # Expected times
//!
//! The time at which a waiter gets its permit is looked up in the log. The log has no time for an
//! issue of an open stride, or of a thread that is preempted before it records. So the log is
//! *settled* first: the time is read, and then a checkpoint is recorded for all counted issues.
//!
//! - If an issue is counted after that, then its thread reads a later time, so its permit expires
//!   no earlier than that of an issue at the settling.
//! - If an issue was counted before, then a checkpoint covers it. Its slot may be claimed by
//!   another thread and not yet written. Such a permit may expire at any time, and the refill task
//!   polls again after a tick.
//!
//! # Quota
//!
//! Limit and length change in one step, under the lock: the length before the permits if it grows,
//! and after them if it shrinks. A refill takes no lock, and may run in between. It then finds the
//! longer of the two lengths, with which the limit of either side is stricter than its own quota.
//! The change of the permits is therefore the moment of the change:
//!
//! - Requests that are issued before it are counted by the old quota or a stricter one.
//! - The permits of requests that are issued after it expire by the new length, so any span that
//!   begins after it has at most as many issues as the new limit. Permits that were acquired before
//!   it may be committed beside those, if the limit is lowered.
//! - In a span across it, each permit is issued at most once in the shorter of the two lengths, and
//!   there are as many permits as the larger of the two limits.
//!
//! # Locks and memory ordering
//!
//! Without waiters, a call changes two words: the state of the semaphore in `poll_ready`, and the
//! count of the log after the issue. It takes no lock, except to thin a full log. The orderings
//! stand in [`semaphore`](crate::semaphore#memory-ordering) and in the
//! [log](log#memory-ordering). The words of [`Window`] itself are settings, and `Relaxed`.

mod log;
mod refill_tasks;

use std::{
    task::{Poll, Waker},
    time::Duration,
};

use self::{
    log::{Log, Recorded},
    refill_tasks::RefillTasks,
};
use crate::{
    semaphore::{Arrival, Deadline, Ended, Semaphore, Turn, View, WaiterKey},
    seq48::Seq48,
    sync::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::{Nanos, Time, nanos},
};

/// The number of checkpoints that a full window has. Up to this limit, each issue has its own.
const CHECKPOINTS: u32 = 256;
/// Twice that: refills record checkpoints too, and those of an earlier limit are left over. A full
/// log is thinned.
const SLOTS: u16 = 2 * CHECKPOINTS as u16;
/// The resolution of timers: no task is asked to poll again sooner.
const TICK: Duration = Duration::from_millis(1);

/// The kind of a window: when its permits expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A window's length after the issue.
    Sliding,
    /// At the next boundary of the grid.
    Fixed,
}

impl Shape {
    /// Returns the time at which the permit of an issue expires, in a window of this length.
    fn expiry(self, time: Nanos, length: Duration) -> Nanos {
        match self {
            Self::Sliding => time.after(length),
            Self::Fixed => {
                let into = time.get() % nanos(length);
                Nanos::new(time.get() - into).after(length)
            }
        }
    }
}

/// A window that reads the time from `T`, with a refill task for each runtime `K`.
///
/// Every call changes two words, the log's count and the semaphore's state. They share one cache
/// line, which is fetched once for both. The stride, which every call only reads, is in another
/// line, of which all processors may have a copy.
#[repr(C, align(64))]
pub(crate) struct Window<T, K> {
    log: Log,
    semaphore: Semaphore<T, RefillTasks<K>>,
    time: T,
    shape: Shape,
    /// In nanoseconds. Written under the lock of the semaphore. Relaxed: a refill reads it after
    /// the Acquire of a checkpoint's mark, so if a request is issued after a change of the length,
    /// then its permit expires by the new one. If a thread sees a change late, the change counts
    /// from then on. The ordering of a reading stands where it loads it.
    length: AtomicU64,
    /// The stride, a power of two, less one. Relaxed: with a stale stride, a checkpoint is recorded
    /// at another issue, and it is true there too.
    stride_mask: AtomicU32,
    /// 1 while a drain is pending, during which each issue ends a stride. Relaxed: written under
    /// the lock of the semaphore, and read after a step that orders it.
    is_draining: AtomicU32,
    /// The number of checkpoints that a full window has.
    checkpoints: u32,
    /// No permit is acquired before this time. Relaxed: the semaphore's lock orders it, under which
    /// it is written and read.
    paused_until: AtomicU64,
}

/// The state of a window at one moment, for handles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) limit: u32,
    pub(crate) length: Duration,
    /// The number of requests that could be issued now.
    pub(crate) remaining: u32,
    pub(crate) queued: u32,
    /// The time that the first waiter has waited.
    pub(crate) queue_age: Option<Duration>,
    /// The time that a new request would wait.
    pub(crate) wait: Duration,
    /// The time until all permits held now have expired.
    pub(crate) reset: Duration,
    /// The rest of the present pause.
    pub(crate) paused: Duration,
    pub(crate) is_closed: bool,
}

impl<T: Time + Clone, K: Copy + Eq> Window<T, K> {
    pub(crate) fn new(shape: Shape, limit: u32, length: Duration, time: T) -> Self {
        Self::with_sizes(shape, limit, length, time, CHECKPOINTS, SLOTS)
    }

    /// Creates a window with a small log, for models.
    pub(crate) fn with_sizes(
        shape: Shape,
        limit: u32,
        length: Duration,
        time: T,
        checkpoints: u32,
        slots: u16,
    ) -> Self {
        Self {
            semaphore: Semaphore::new(limit, time.clone(), RefillTasks::new()),
            log: Log::new(slots),
            time,
            shape,
            length: AtomicU64::new(nanos(length)),
            stride_mask: AtomicU32::new(stride_mask(limit, checkpoints)),
            is_draining: AtomicU32::new(0),
            checkpoints,
            paused_until: AtomicU64::new(0),
        }
    }

    /// Acquires a permit that is available without a refill, unless the window is
    /// [observed](Self::observe).
    #[inline]
    pub(crate) fn try_acquire_unobserved(&self) -> bool {
        self.semaphore.try_acquire_unobserved()
    }

    /// Acquires a permit that is available without a refill.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        self.semaphore.try_acquire()
    }

    /// Acquires `permits` that are available without a refill.
    pub(crate) fn try_acquire_many(&self, permits: u32) -> bool {
        self.semaphore.try_acquire_many(permits)
    }

    /// Refills, and queues a waiter if `admit` agrees and returns its runtime. Returns `None` if
    /// its permits were acquired; otherwise the key, and true if the refill task of the runtime is
    /// missing: the caller spawns it.
    ///
    /// `admit` may be called several times, each time with a newer view and a function that returns
    /// the time at which the waiter's permits are expected. It must reject a waiter for more
    /// permits than the limit of the view.
    pub(crate) fn queue<R>(
        &self,
        waker: &Waker,
        arrival: Arrival,
        mut admit: impl FnMut(View, &dyn Fn() -> Nanos) -> Result<K, R>,
    ) -> Result<Option<(WaiterKey, bool)>, R> {
        let moment = self.refill();
        if self.semaphore.try_acquire_many(arrival.permits) {
            return Ok(None); // expired permits, without the lock
        }
        let mut is_missing = false;
        let admit = |view, turn: &dyn Fn() -> Turn, _: &RefillTasks<K>| {
            admit(view, &|| self.expected(view, turn(), moment))
        };
        let tag = |tasks: &mut RefillTasks<K>, runtime| {
            let (tag, missing) = tasks.assign_new(runtime);
            is_missing = missing;
            tag
        };
        let key = self.semaphore.queue(waker, arrival, admit, tag)?;
        Ok(key.map(|key| (key, is_missing)))
    }

    /// Refills, and polls a waiter. While it is queued, its waker and deadline are stored, and
    /// `while_queued` gets the time at which its permits are expected at the earliest: if all
    /// waiters before it are cancelled.
    pub(crate) fn poll(
        &self,
        key: &WaiterKey,
        waker: &Waker,
        deadline: Deadline,
        while_queued: impl FnOnce(&dyn Fn() -> Nanos),
    ) -> Poll<Result<(), Ended>> {
        let moment = self.refill();
        self.semaphore.poll(key, waker, deadline, |view, turn| {
            while_queued(&|| self.expected(view, turn, moment));
        })
    }

    /// Cancels a waiter. Permits that were granted to it are refunded.
    pub(crate) fn cancel(&self, key: WaiterKey) {
        if self.semaphore.cancel(key) {
            self.reschedule(self.settle());
        }
    }

    /// Refunds a permit.
    #[inline]
    pub(crate) fn refund(&self) {
        if self.semaphore.release(1) {
            self.reschedule(self.settle());
        }
    }

    /// Refunds `permits`.
    pub(crate) fn refund_many(&self, permits: u32) {
        if self.semaphore.release(permits) {
            self.reschedule(self.settle());
        }
    }

    /// Commits a permit. Called after the request was issued.
    #[inline]
    pub(crate) fn commit(&self) {
        let issued = self.log.issue();
        if issued.is_multiple(self.stride_mask.load(Relaxed)) {
            self.end_stride(issued);
        }
    }

    /// Commits `permits`. Called after what they stand for was issued, at one moment.
    ///
    /// If a stride ends among these issues, one checkpoint covers all of them: its time was read
    /// after the last.
    pub(crate) fn commit_many(&self, permits: u32) {
        let issued = self.log.issue_many(permits);
        if issued.has_passed_multiple(self.stride_mask.load(Relaxed), permits) {
            self.end_stride(issued);
        }
    }

    /// Out of line: one issue of a stride gets here, and each while a drain is pending.
    #[cold]
    fn end_stride(&self, issued: Seq48) {
        self.record(issued);
        self.wake_drains();
    }

    /// Records that all `issues` have happened by now, and makes room for that if there is none.
    fn record(&self, issues: Seq48) {
        let time = self.time.now();
        // Again if another thread is thinning the log. Without room, a later checkpoint covers
        // these issues.
        while !self.log.record(issues, time) && self.thin(time) {}
    }

    /// Makes room in the log. Returns true if there is some.
    #[cold]
    fn thin(&self, moment: Nanos) -> bool {
        let is_expired = |time| self.expiry(time) <= moment;
        let is_same =
            |one, other| self.shape == Shape::Sliding || self.expiry(one) == self.expiry(other);
        self.semaphore.read(|_| self.log.thin(self.length(), is_expired, is_same))
    }

    /// Records the issues that have no checkpoint. Returns a time no later than that of any issue
    /// recorded from now on.
    fn settle(&self) -> Nanos {
        let moment = self.time.now();
        self.close_stride(moment);
        moment
    }

    /// Closes the open stride, if there is one.
    fn close_stride(&self, moment: Nanos) {
        let contents = self.log.contents();
        if contents.has_open {
            if contents.is_tight {
                self.thin(moment); // so that issues find room, and need not make it
            }
            self.record(self.log.issued());
        }
    }

    /// Releases the permits that have expired, ends a pause that is over, grants to waiters, and
    /// settles the log. Returns the time by which it did.
    pub(crate) fn refill(&self) -> Nanos {
        let has_removed = self.semaphore.remove_overdue();
        let moment = self.time.now();
        let is_over = || moment.get() >= self.paused_until.load(Relaxed);
        let is_resumed = self.semaphore.is_blocked() && self.semaphore.unblock(is_over);
        let permits = self.log.expire(|time| self.expiry(time) <= moment);
        let is_awaited = permits > 0 && self.semaphore.release(permits);
        self.close_stride(moment);
        if has_removed || is_resumed || is_awaited {
            self.reschedule(moment);
        }
        moment
    }

    /// Returns the time at which the permit of an issue expires.
    fn expiry(&self, time: Nanos) -> Nanos {
        self.shape.expiry(time, self.length())
    }

    /// Returns the time at which a waiter gets its permits if all before it are issued as soon as
    /// they can be. At `moment` the log was settled; otherwise the time may be too late.
    ///
    /// Permits expire in the order of their issues: first those held now, then those granted to the
    /// waiters ahead. Behind waiters for more permits than the limit, a waiter gets permits that
    /// they use in between, so that the last of them expires some rounds later.
    fn expected(&self, view: View, turn: Turn, moment: Nanos) -> Nanos {
        let rounds = turn.rounds;
        // The index of the permit among those that expire. Below zero, it is available.
        let index = i64::from(turn.permit) - 1 - view.available;
        let first = match u32::try_from(index) {
            Err(_) => moment,
            Ok(index) => match self.log.record_of(index) {
                Recorded::By(time) => self.expiry(time),
                Recorded::Soon => moment,
                // Acquired and not committed, or issued since.
                Recorded::Not => self.expiry(moment),
            },
        };
        let mut at = first.max(moment).max(Nanos::new(self.paused_until.load(Relaxed)));
        if rounds > 0 {
            let further = nanos(self.length()).saturating_mul(rounds - 1);
            at = self.expiry(at).after(Duration::from_nanos(further));
        }
        at
    }

    fn length(&self) -> Duration {
        Duration::from_nanos(self.length.load(Relaxed))
    }

    pub(crate) fn limit(&self) -> u32 {
        self.semaphore.limit()
    }

    /// Returns the limit and the length, of one moment.
    pub(crate) fn settings(&self) -> (u32, Duration) {
        self.settings_with(|| ()).0
    }

    /// Returns the limit and the length, and `settings` of the same moment, which may change with
    /// the [quota](Self::set_quota).
    pub(crate) fn settings_with<S>(&self, settings: impl FnOnce() -> S) -> ((u32, Duration), S) {
        self.semaphore.read(|view| ((view.limit, self.length()), settings()))
    }

    /// Returns the state of the window after a refill.
    pub(crate) fn read(&self) -> Reading {
        self.read_with(|| ()).0
    }

    /// Returns the state of the window after a refill, and `settings` of the same moment, which may
    /// change with the [quota](Self::set_quota).
    pub(crate) fn read_with<S>(&self, settings: impl Fn() -> S) -> (Reading, S) {
        let moment = self.refill();
        // Acquire: to the Release in `change`, so that the quota is one of one moment.
        let length = || Duration::from_nanos(self.length.load(Acquire));
        let (view, length, settings, at) =
            match self.semaphore.try_read_with(|| (length(), settings())) {
                Some((view, (length, settings))) => (view, length, settings, moment),
                None => self.semaphore.read_for(1, |view, turn| {
                    (view, length(), settings(), self.expected(view, turn, moment))
                }),
            };
        let is_free = view.ahead == 0 && at <= moment && !view.is_closed;
        let reading = Reading {
            limit: view.limit,
            length,
            remaining: if is_free { u32::try_from(view.available).unwrap_or(0) } else { 0 },
            queued: view.ahead,
            queue_age: view.since.map(|since| moment.since(Nanos::new(since.get()))),
            wait: if view.is_closed { Duration::MAX } else { at.since(moment) },
            reset: self.shape.expiry(moment, length).since(moment),
            paused: Nanos::new(self.paused_until.load(Relaxed)).since(moment),
            is_closed: view.is_closed,
        };
        (reading, settings)
    }

    /// Returns the number of issues since the window was created.
    pub(crate) fn issued(&self) -> u64 {
        self.log.issued_in_all()
    }

    /// Returns the view of this moment, without a refill, and the time that a new request for
    /// `permits` would wait.
    pub(crate) fn estimate(&self, permits: u32) -> (View, Duration) {
        let moment = self.time.now();
        self.semaphore
            .read_for(permits, |view, turn| (view, self.expected(view, turn, moment).since(moment)))
    }

    /// Changes the number of permits: more are granted to waiters at once; fewer count from now on.
    /// Permits that are acquired by then may still be committed. Returns true if it was another
    /// number.
    pub(crate) fn set_limit(&self, limit: u32) -> bool {
        let is_change = self.semaphore.set_limit(limit, || self.set_stride(limit));
        // The open stride, which may be longer than a new one, is closed.
        self.reschedule(self.settle());
        is_change
    }

    /// Changes the length of the window, for the permits that are committed too. Returns true if it
    /// was another one.
    pub(crate) fn set_length(&self, length: Duration) -> bool {
        self.change(None, length, || {})
    }

    /// Changes the number of permits and the length of the window in [one step](self#quota).
    /// `with` runs in it, under the lock, to change settings that are read with the quota.
    /// Returns true if it was another quota.
    pub(crate) fn set_quota(&self, limit: u32, length: Duration, with: impl FnOnce()) -> bool {
        self.change(Some(limit), length, with)
    }

    fn change(&self, limit: Option<u32>, length: Duration, with: impl FnOnce()) -> bool {
        let length = nanos(length);
        let mut is_change = false;
        let new_limit = |present| {
            let limit = limit.unwrap_or(present);
            // Compared under the lock, which is held, as by `set_limit`. Relaxed, for that reason.
            is_change = limit != present || length != self.length.load(Relaxed);
            limit
        };
        // Release, both: to the Acquire in `read_with`, for the first step of the change.
        let before = || {
            with();
            if let Some(limit) = limit {
                self.set_stride(limit);
            }
            // Relaxed: written under the lock, which is held.
            if length > self.length.load(Relaxed) {
                self.length.store(length, Release);
            }
        };
        let after = || self.length.store(length, Release);
        self.semaphore.change(new_limit, before, after);
        self.reschedule(self.refill());
        is_change
    }

    /// Sets the stride for `limit`. Called under the lock: of two threads, the same one sets limit
    /// and stride last.
    fn set_stride(&self, limit: u32) {
        if self.is_draining.load(Relaxed) == 0 {
            self.stride_mask.store(stride_mask(limit, self.checkpoints), Relaxed);
        }
    }

    /// Lets [`try_acquire_unobserved`](Self::try_acquire_unobserved) acquire no more permits.
    pub(crate) fn observe(&self) {
        self.semaphore.observe();
    }

    /// Blocks admission until `until`, if that is later than the end of the current pause. Returns
    /// true if it was, and has not come yet.
    pub(crate) fn pause(&self, until: Nanos) -> bool {
        let mut is_later = false;
        self.semaphore.block(|| {
            is_later = self.paused_until.fetch_max(until.get(), Relaxed) < until.get();
        });
        let moment = self.refill(); // it may be over already
        is_later && until > moment
    }

    /// Closes the window: all waits end, and no permit is acquired any more. The refill tasks end,
    /// because their last waiters leave.
    pub(crate) fn close(&self) {
        self.semaphore.close();
        self.wake_drains();
    }

    pub(crate) fn poll_closed(&self, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()> {
        self.semaphore.poll_closed(key, waker)
    }

    pub(crate) fn cancel_closed(&self, key: WaiterKey) {
        self.semaphore.cancel_closed(key);
    }

    /// Waits until no waiter is queued, and each permit that is held was committed. `key` is `None`
    /// at first.
    pub(crate) fn poll_drained(&self, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()> {
        self.refill(); // removes waiters whose deadlines have passed
        let polled = self.semaphore.poll_drained(key, waker, &|view| {
            self.is_draining.store(1, Relaxed);
            self.stride_mask.store(0, Relaxed);
            self.is_drained(view)
        });
        if polled.is_ready() {
            self.wake_drains();
        }
        polled
    }

    /// Ends a wait for the drained window.
    pub(crate) fn cancel_drained(&self, key: WaiterKey) {
        self.semaphore.cancel_drained(key);
        self.wake_drains();
    }

    /// Returns true if no waiter is queued, and each permit that is held was committed.
    ///
    /// The issues are read before the permits, and the expired ones after. So each issue counted is
    /// that of a permit counted, and each permit released by its expiry is counted as expired. If
    /// the difference of the two is the number of permits held, all of those were committed.
    fn is_drained(&self, view: &dyn Fn() -> View) -> bool {
        let issued = self.log.issued_so_far();
        let view = view();
        view.ahead == 0 && issued.since(self.log.expired()) == view.held()
    }

    /// Wakes pending drains if the window is drained. After the last drain, restores the stride.
    ///
    /// Called after each step that may end a drain. *Issue against drain:* both change the count of
    /// issues. If the issue comes first, the drain counts it. If the drain comes first, the issue
    /// sees the stride of 1, and gets here. Refunds, expiries, cancelled waiters and removed ones
    /// change the state of the semaphore, in which the drain is announced.
    pub(super) fn wake_drains(&self) {
        if self.is_draining.load(Relaxed) == 0 {
            return;
        }
        self.semaphore.wake_drains(&|view| self.is_drained(view));
        self.semaphore.read(|view| {
            if !self.semaphore.has_drains() {
                self.is_draining.store(0, Relaxed);
                self.stride_mask.store(stride_mask(view.limit, self.checkpoints), Relaxed);
            }
        });
    }
}

/// Returns the stride for `limit`, less one: the smallest power of two that leaves at most
/// `checkpoints` of them.
const fn stride_mask(limit: u32, checkpoints: u32) -> u32 {
    limit.div_ceil(checkpoints).next_power_of_two() - 1
}
