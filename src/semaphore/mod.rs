//! CORE: a fair, resizable semaphore with an atomic fast path.
//!
//! Both limits build on it. A concurrency limit releases a permit when its request ends; a rate
//! limit releases it when it expires. The semaphore knows neither requests nor time: deadlines are
//! [ordered keys](Deadlines), and whatever else a limiter keeps per waiter is behind a [tag](Tags).
//!
//! # State
//!
//! One `AtomicU64` decides every admission, so each decision is one atomic step on one value:
//!
//! ```text
//!  63                              32   31       30       29                           0
//! +----------------------------------+---------+--------+-------------------------------+
//! | available permits, as an i32     | BLOCKED | DRAIN  | number of waiters             |
//! +----------------------------------+-------- +--------+-------------------------------+
//! ```
//!
//! The number of available permits is the limit less the permits held. It is negative while a
//! lowered limit drains. The decision to admit does not read the limit, so a limit that has been
//! lowered meanwhile admits no request.
//!
//! A second word, `granted`, holds the sequence number of the last waiter that was granted a
//! permit. Waiters are served in sequence order, so a waiter owns a permit exactly if its number is
//! at most `granted`. It checks that without the lock.
//!
//! A third word, `limit`, holds the limit for readings without the lock:
//!
//! ```text
//!  63                                        32   31                                         0
//! +--------------------------------------------+---------------------------------------------+
//! | number of steps, odd during a change       | limit, as a u32                             |
//! +--------------------------------------------+---------------------------------------------+
//! ```
//!
//! | step | condition | state |
//! | --- | --- | --- |
//! | *acquire* | a permit is available, no waiter, not blocked | permits - 1 |
//! | *release* | – | permits + n; with a waiter or a drain: *advance* |
//! | *queue* (locked) | *acquire* is not possible | waiters + 1 |
//! | *grant* (locked) | a permit is available, a waiter, not blocked | permits - 1, waiters - 1 |
//! | *cancel* (locked) | no permit granted yet | waiters - 1 |
//! | *expire* (locked) | deadline passed, no permit granted yet | waiters - 1 |
//! | *expire* (locked) | deadline of the grant passed, permit not acquired yet | permits + 1 |
//!
//! A permit is acquired without queueing only while the same word counts no waiter, so no request
//! overtakes the queue. A grant takes the permit on behalf of the waiter.
//!
//! The lock guards the wakers. It is taken by waiters, and by a release while there are waiters or
//! a drain. A call that does not wait, among others that do not wait, takes no lock.
//!
//! # Deadlines
//!
//! The task of a waiter may end while its service stays, and its wait must not hold up others. A
//! waiter with a deadline leaves the queue by the first step that looks at the queue after it: an
//! arrival, a release, a reading. Its task need not be polled. A permit granted to such a waiter is
//! its own until the [deadline of the grant](Deadlines::of_grant), and goes to the next waiter
//! then. The word `earliest` holds the earliest deadline, so a step finds nothing to expire by one
//! load.
//!
//! # Races
//!
//! - *Release against queue.* Both change the state word. If the release comes first, the
//!   compare-exchange that would count the waiter fails, and the request acquires. If the waiter
//!   comes first, the release sees it in the value that it replaced, and advances the queue; the
//!   lock, which is held until the waiter's entry is complete, orders that after the entry.
//! - *Two steps make a grant possible at once.* Each step that makes "a permit is available, a
//!   waiter, not blocked" true is followed by *advance*, which grants until the condition is false.
//!   The steps are a release, a raised limit and an unblock. No grant is lost. A new waiter never
//!   makes the condition true, because it queues only if it could not acquire.
//! - *Grant against cancel.* Both hold the lock. If the grant comes first, the cancel finds it and
//!   releases the permit, which goes to the next waiter.
//! - *Grant during a poll.* A waiter that finds `granted` below its number checks again under the
//!   lock, where permits are granted: either it sees the grant, or its waker is stored before the
//!   grant.
//! - *Grant to a waiter that is not polled for long.* Other waiters reuse its entry, with higher
//!   numbers. Its own number stays at most `granted`.
//! - *Grant against deadline.* Both hold the lock. If the deadline comes first, the waiter is out
//!   of the queue, and the permit goes to the next. If the grant comes first, the waiter finds it,
//!   because its entry is kept until then.
//! - *Reading against a change of the limit.* A change takes three steps: `limit` becomes odd, the
//!   permits change, and `limit` becomes even with the new limit. A reading without the lock loads
//!   `limit`, the state, and `limit` again. If the permits change between the first two loads, the
//!   third differs from the first, because `limit` became odd before. If the first load has the new
//!   limit, the state has its permits, because they changed before. The steps are counted, because
//!   a limit may change and change back between the first load and the third.
//! - *`granted` passes the number of an expired waiter.* The outcome of a waiter with a deadline is
//!   in its entry, under the lock. `granted` is read only for waiters without one.
//!
//! # Memory ordering
//!
//! Acquiring a permit is an `Acquire`, releasing one a `Release` on the same word: what the last
//! holder of a permit did happens before what the next one does. A grant is an `Acquire` in the
//! thread that grants, passed on by the `Release` of `granted`, or by the lock, to the waiter. The
//! number of waiters needs no ordering: the lock orders the entries behind it.

mod deadlines;
mod queue;

use std::task::{Poll, Waker};

use self::queue::{BEFORE_FIRST, Left, Queue, State};
pub(crate) use self::{
    deadlines::{Deadline, Deadlines},
    queue::{Tag, WaiterKey},
};
use crate::{
    seq48::Seq48,
    sync::{
        AtomicU64, Mutex,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// One available permit.
const PERMIT: u64 = 1 << 32;
/// No permit is acquired or granted: the semaphore is closed, or its limiter has paused.
const BLOCKED: u64 = 1 << 31;
/// A task waits until the semaphore is drained.
const DRAIN: u64 = 1 << 30;
/// One waiter.
const WAITER: u64 = 1;
const WAITERS: u64 = DRAIN - 1;

/// In `limit`, one step of a change.
const STEP: u64 = 1 << 32;

#[allow(clippy::cast_possible_wrap, reason = "the upper half is signed")]
const fn available(state: u64) -> i64 {
    (state as i64) >> 32
}

const fn waiters(state: u64) -> u32 {
    (state & WAITERS) as u32
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half")]
const fn limit_of(word: u64) -> u32 {
    word as u32
}

/// Returns true if a request may acquire a permit without queueing.
const fn admits(state: u64) -> bool {
    available(state) > 0 && state & (WAITERS | BLOCKED) == 0
}

/// Returns true if the first waiter may be granted a permit.
const fn grants(state: u64) -> bool {
    available(state) > 0 && state & BLOCKED == 0 && waiters(state) > 0
}

/// The semaphore at one moment, as seen by a waiter or a reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The number of permits.
    pub(crate) limit: u32,
    /// The number of available permits; negative while a lowered limit drains.
    pub(crate) available: i64,
    /// An upper bound of the waiters before the one that asks. For a reader, the number of waiters.
    pub(crate) ahead: u32,
    pub(crate) is_closed: bool,
}

impl View {
    /// Returns the number of permits held.
    pub(crate) fn held(&self) -> u32 {
        u32::try_from(i64::from(self.limit) - self.available).unwrap_or(0)
    }
}

/// The end of a wait without a permit. The waiter has left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its deadline has passed.
    Expired,
    /// The semaphore is closed.
    Closed,
}

/// State of a limiter under the lock of the queue. It follows the waiters by their tags.
pub(crate) trait Tags {
    /// A waiter with `tag` has left the queue. Returns a waker, to be woken after the lock.
    fn left(&mut self, tag: Tag) -> Option<Waker>;
}

impl Tags for () {
    fn left(&mut self, _: Tag) -> Option<Waker> {
        None
    }
}

/// A semaphore whose limiter gives deadlines and tags their meaning.
#[repr(C)] // the state first: each limiter says what lies beside it
pub(crate) struct Semaphore<D, T = ()> {
    state: AtomicU64,
    /// The number of the last waiter that was granted a permit. Written under the lock.
    granted: AtomicU64,
    /// The earliest deadline in the queue. Written under the lock, and read without it as a hint,
    /// so all its orderings are `Relaxed`.
    earliest: AtomicU64,
    /// Written under the lock.
    limit: AtomicU64,
    locked: Mutex<Locked<T>>,
    deadlines: D,
}

/// State that only waiters, drains and handles touch.
struct Locked<T> {
    is_closed: bool,
    queue: Queue,
    tags: T,
    drains: Queue,
}

/// Wakers to wake or to drop after the lock.
#[derive(Default)]
struct Wakes {
    granted: Option<Waker>,
    /// The waker of an expired waiter. It is dropped, because the waiter's own timer wakes it.
    expired: Option<Waker>,
    /// The waker that [`Tags::left`] returned.
    tag: Option<Waker>,
    /// No waiter follows, so the lock need not be taken again to find that out.
    is_last: bool,
}

impl<D: Deadlines, T: Tags> Semaphore<D, T> {
    pub(crate) fn new(limit: u32, deadlines: D, tags: T) -> Self {
        Self {
            state: AtomicU64::new(u64::from(limit) * PERMIT),
            granted: AtomicU64::new(BEFORE_FIRST.get()),
            earliest: AtomicU64::new(Deadline::NEVER.get()),
            limit: AtomicU64::new(limit.into()),
            locked: Mutex::new(Locked {
                is_closed: false,
                queue: Queue::new(),
                tags,
                drains: Queue::new(),
            }),
            deadlines,
        }
    }

    /// Acquires a permit if that needs no wait.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        let mut state = self.state.load(Relaxed);
        while admits(state) {
            // Acquire: what the last holder of the permit did happens before what this one does.
            match self.state.compare_exchange_weak(state, state - PERMIT, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(newer) => state = newer,
            }
        }
        false
    }

    /// Releases `permits`, and grants them to waiters. Returns true if there were any.
    #[inline]
    pub(crate) fn release(&self, permits: u32) -> bool {
        // Release: to the Acquire of the next holder. The value read needs no Acquire: the lock
        // orders the queue behind it.
        let state = self.state.fetch_add(u64::from(permits) * PERMIT, Release);
        if state & (WAITERS | DRAIN) != 0 {
            self.advance();
        }
        waiters(state) > 0
    }

    /// Takes out the waiters whose deadlines have passed. Returns true if there were any.
    pub(crate) fn expire(&self) -> bool {
        let has_expired = self.has_passed(Deadline::new(self.earliest.load(Relaxed)));
        if has_expired {
            self.advance();
        }
        has_expired
    }

    fn has_passed(&self, deadline: Deadline) -> bool {
        deadline != Deadline::NEVER && self.deadlines.has_passed(deadline)
    }

    /// Queues a waiter until `deadline` if `admit` agrees. Returns `None` if a permit was acquired.
    ///
    /// `admit` may be called several times, each time with a newer view. `tag` is called once for a
    /// waiter that queues, with the value that `admit` returned.
    pub(crate) fn queue<A, R>(
        &self,
        waker: &Waker,
        deadline: Deadline,
        mut admit: impl FnMut(View) -> Result<A, R>,
        tag: impl FnOnce(&mut T, A) -> Tag,
    ) -> Result<Option<WaiterKey>, R> {
        let mut own = None;
        let mut locked = self.locked.lock();
        let mut state = self.state.load(Relaxed);
        loop {
            if admits(state) {
                // Acquire: as in `try_acquire`.
                match self.state.compare_exchange_weak(state, state - PERMIT, Acquire, Relaxed) {
                    Ok(_) => return Ok(None),
                    Err(newer) => state = newer,
                }
                continue;
            }
            let ahead = waiters(state);
            let admitted = admit(self.view(&locked, state, ahead))?;
            assert!(
                u64::from(ahead) < WAITERS,
                "{ahead} waiters are queued: no more can be counted"
            );
            // Cloned before anything changes (it is foreign code), and only for a waiter.
            let waker = own.take().unwrap_or_else(|| waker.clone());
            // Relaxed: the state is unchanged, so there is still no permit. The lock, held until
            // the entry is complete, does the rest.
            match self.state.compare_exchange_weak(state, state + WAITER, Relaxed, Relaxed) {
                Ok(_) => {
                    let tag = tag(&mut locked.tags, admitted);
                    let key = locked.queue.push(waker, deadline, tag);
                    self.update_earliest(&locked);
                    return Ok(Some(key));
                }
                Err(newer) => {
                    state = newer;
                    own = Some(waker);
                }
            }
        }
    }

    /// Called after each change of a deadline.
    fn update_earliest(&self, locked: &Locked<T>) {
        let earliest = locked.queue.earliest_deadline().get();
        if earliest != self.earliest.load(Relaxed) {
            self.earliest.store(earliest, Relaxed);
        }
    }

    /// Polls a waiter, and stores its waker and its deadline while it is queued. `while_queued` is
    /// called with the waiter's view then. Ready means that the waiter has left the queue.
    ///
    /// The key of an [expired](Ended::Expired) waiter is still to be [cancelled](Self::cancel).
    pub(crate) fn poll(
        &self,
        key: &WaiterKey,
        waker: &Waker,
        deadline: Deadline,
        while_queued: impl FnOnce(View),
    ) -> Poll<Result<(), Ended>> {
        if !key.has_deadline && self.is_granted(key) {
            return Poll::Ready(Ok(()));
        }
        let mut locked = self.locked.lock();
        match locked.queue.state(key) {
            State::Queued => {}
            State::Granted => {
                locked.queue.acquire(key);
                self.update_earliest(&locked);
                return Poll::Ready(Ok(()));
            }
            State::Expired => return Poll::Ready(Err(Ended::Expired)),
            State::Gone if self.is_granted(key) => return Poll::Ready(Ok(())),
            State::Gone => return Poll::Ready(Err(Ended::Closed)),
        }
        let ahead = locked.queue.position(key);
        while_queued(self.view_of_waiter(&locked, ahead));
        let old = locked.queue.set_waker(key, waker);
        if key.has_deadline {
            locked.queue.set_deadline(key, deadline);
            self.update_earliest(&locked);
        }
        drop(locked);
        drop(old); // after the lock
        Poll::Pending
    }

    /// Returns true if the waiter, which has no deadline, was granted a permit.
    fn is_granted(&self, key: &WaiterKey) -> bool {
        // Acquire: to the Release of the grant, which took the permit for the waiter.
        !key.number().is_after(Seq48::of(self.granted.load(Acquire)))
    }

    /// Cancels a waiter. A permit that was granted to it is released. Returns true if the waiters
    /// behind it may be served earlier now.
    pub(crate) fn cancel(&self, key: WaiterKey) -> bool {
        let mut locked = self.locked.lock();
        let is_granted = match locked.queue.state(&key) {
            State::Queued | State::Expired => false,
            State::Granted => true,
            State::Gone => self.is_granted(&key),
        };
        let left = locked.queue.cancel(key);
        self.update_earliest(&locked);
        let Some(Left { waker, tag, was_first, .. }) = left else {
            drop(locked);
            return is_granted && self.release(1);
        };
        // This may leave the semaphore drained, but only while a permit is being released with a
        // waiter counted. That release advances the queue, and wakes the drains.
        self.state.fetch_sub(WAITER, Relaxed);
        let of_tag = locked.tags.left(tag);
        drop(locked);
        drop(waker); // after the lock
        of_tag.into_iter().for_each(Waker::wake);
        was_first
    }

    /// Takes out expired waiters, grants available permits in order, dismisses all waiters of a
    /// closed semaphore, and wakes the drains once it is drained.
    ///
    /// Wakers run foreign code. They are woken one at a time, after the lock, and no list of them
    /// is collected.
    #[cold]
    fn advance(&self) {
        /// A waker that panics must not keep the other waiters from their permits.
        struct Rest<'a, D: Deadlines, T: Tags>(&'a Semaphore<D, T>);
        impl<D: Deadlines, T: Tags> Drop for Rest<'_, D, T> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.advance();
                }
            }
        }

        while let Some(Wakes { granted, expired, tag, is_last }) = self.advance_by_one() {
            let rest = (!is_last).then(|| Rest(self));
            drop(expired);
            tag.into_iter().chain(granted).for_each(Waker::wake);
            std::mem::forget(rest);
            if is_last {
                return;
            }
        }
    }

    fn advance_by_one(&self) -> Option<Wakes> {
        let mut locked = self.locked.lock();
        if self.has_passed(locked.queue.earliest_deadline()) {
            let Left { waker, tag, .. } = locked.queue.expire()?;
            self.update_earliest(&locked);
            if waker.is_some() {
                self.state.fetch_sub(WAITER, Relaxed);
                let tag = locked.tags.left(tag);
                return Some(Wakes { expired: waker, tag, ..Wakes::default() });
            }
            // Relaxed: the permit was not used. What was released with other permits stays
            // released, because a read-modify-write continues a release sequence.
            self.state.fetch_add(PERMIT, Relaxed);
            return Some(Wakes::default());
        }
        // Acquire: a permit is acquired here on behalf of a waiter, and a drain sees what the
        // holders of all permits did.
        let state = self.state.load(Acquire);
        if grants(state) {
            // The condition still holds: with a waiter and under the lock, no other step takes a
            // permit or a waiter. Relaxed: the permit is one that the load has seen.
            let state = self.state.fetch_sub(PERMIT + WAITER, Relaxed) - PERMIT - WAITER;
            let Left { number, waker, tag, .. } = locked.queue.grant(&self.deadlines)?;
            self.update_earliest(&locked);
            // Release: to the Acquire in `is_granted`.
            self.granted.store(number.get(), Release);
            // A grant that becomes possible from now on is the duty of the step that makes it so.
            // The semaphore is not drained, and a closed one grants nothing.
            let is_last = !grants(state);
            let tag = locked.tags.left(tag);
            return Some(Wakes { granted: waker, tag, is_last, ..Wakes::default() });
        }
        if locked.is_closed {
            if let Some(Left { waker, tag, .. }) = locked.queue.dismiss() {
                self.state.fetch_sub(WAITER, Relaxed);
                self.update_earliest(&locked);
                let tag = locked.tags.left(tag);
                return Some(Wakes { granted: waker, tag, ..Wakes::default() });
            }
        }
        if state & DRAIN == 0 || !self.is_drained(state) {
            return None;
        }
        let drained = locked.drains.dismiss();
        if locked.drains.is_empty() {
            self.state.fetch_and(!DRAIN, Relaxed);
        }
        Some(Wakes { granted: drained?.waker, ..Wakes::default() })
    }

    /// The view of a queued waiter with at most `ahead` waiters before it.
    fn view_of_waiter(&self, locked: &Locked<T>, ahead: u32) -> View {
        let state = self.state.load(Relaxed);
        self.view(locked, state, ahead.min(waiters(state) - 1))
    }

    /// Runs `read` under the lock, with the wait queue and the tags.
    pub(crate) fn with_waiters<R>(&self, read: impl FnOnce(&mut Waiters<'_, D, T>) -> R) -> R {
        let mut locked = self.locked.lock();
        read(&mut Waiters { semaphore: self, locked: &mut locked })
    }

    /// Changes the number of permits: more are granted to waiters at once, fewer drain.
    /// `before` runs first, under the lock.
    pub(crate) fn set_limit(&self, limit: u32, before: impl FnOnce()) {
        let locked = self.locked.lock();
        before();
        let word = self.limit.load(Relaxed);
        let delta = i64::from(limit) - i64::from(limit_of(word));
        let during = word.wrapping_add(STEP);
        // Relaxed: the next Release orders it.
        self.limit.store(during, Relaxed);
        // In two's complement, adding a negative number subtracts. Release: to the Acquire of the
        // state in `try_read`, for the step before. Later steps on the state continue the release
        // sequence, because they are read-modify-writes.
        #[allow(clippy::cast_sign_loss, reason = "two's complement")]
        self.state.fetch_add((delta as u64).wrapping_mul(PERMIT), Release);
        // Release: to the Acquire of the limit in `try_read`, for the permits.
        let steps = during.wrapping_add(STEP) & !u64::from(u32::MAX);
        self.limit.store(steps | u64::from(limit), Release);
        drop(locked);
        self.advance();
    }

    /// Blocks admission: no permit is acquired or granted until [`unblock`](Self::unblock).
    /// `before` runs first, under the lock.
    pub(crate) fn block(&self, before: impl FnOnce()) {
        let _locked = self.locked.lock();
        before();
        self.state.fetch_or(BLOCKED, Relaxed);
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.state.load(Relaxed) & BLOCKED != 0
    }

    /// Unblocks admission if `is_over` returns true under the lock, waiters first. Returns true if
    /// it did.
    ///
    /// A block that is set before `is_over` is called counts.
    pub(crate) fn unblock(&self, is_over: impl FnOnce() -> bool) -> bool {
        let locked = self.locked.lock();
        if locked.is_closed || !is_over() {
            return false;
        }
        // Release: to the Acquire of the next request that acquires a permit, which reads no time
        // before the end of the block.
        self.state.fetch_and(!BLOCKED, Release);
        drop(locked);
        self.advance();
        true
    }

    /// Closes the semaphore: all waits end, and no permit is acquired any more.
    pub(crate) fn close(&self) {
        let mut locked = self.locked.lock();
        locked.is_closed = true;
        self.state.fetch_or(BLOCKED, Relaxed);
        drop(locked);
        self.advance();
    }

    /// Calls `read` with the view of one moment, under the lock.
    pub(crate) fn read<R>(&self, read: impl FnOnce(View) -> R) -> R {
        let locked = self.locked.lock();
        // Acquire: what the holders of released permits did happens before the reading.
        let state = self.state.load(Acquire);
        read(self.view(&locked, state, waiters(state)))
    }

    /// Returns the view of one moment without the lock, if a permit is available and no waiter is
    /// queued.
    pub(crate) fn try_read(&self) -> Option<View> {
        // Acquire: to the last step of a change. The state has the permits of this limit, or of a
        // later one.
        let word = self.limit.load(Acquire);
        // Acquire: as in `read`, and to the second step of a change. If the permits are those of a
        // later limit, the load below sees the first step.
        let state = self.state.load(Acquire);
        let is_of_one_moment = word & STEP == 0 && self.limit.load(Relaxed) == word;
        (is_of_one_moment && admits(state)).then(|| View {
            limit: limit_of(word),
            available: available(state),
            ahead: 0,
            is_closed: false, // a closed semaphore is blocked
        })
    }

    /// Returns the limit.
    pub(crate) fn limit(&self) -> u32 {
        // Relaxed: it orders nothing.
        limit_of(self.limit.load(Relaxed))
    }

    fn view(&self, locked: &Locked<T>, state: u64, ahead: u32) -> View {
        let is_closed = locked.is_closed;
        View { limit: self.limit(), available: available(state), ahead, is_closed }
    }

    fn is_drained(&self, state: u64) -> bool {
        waiters(state) == 0 && available(state) == i64::from(self.limit())
    }

    /// Waits until no permit is held and no waiter is queued. `key` is `None` at first.
    pub(crate) fn poll_drained(&self, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()> {
        let own = waker.clone(); // before anything changes: it is foreign code
        let mut locked = self.locked.lock();
        if let Some(waiter) = key {
            if locked.drains.state(waiter) != State::Queued {
                *key = None;
                return Poll::Ready(());
            }
            let old = locked.drains.set_waker(waiter, waker);
            drop(locked);
            drop((old, own)); // after the lock
            return Poll::Pending;
        }
        // From this step on, each release sees the drain. Acquire: what the holders of released
        // permits did happens before the end of the drain.
        let state = self.state.fetch_or(DRAIN, Acquire);
        if self.is_drained(state) {
            if locked.drains.is_empty() {
                self.state.fetch_and(!DRAIN, Relaxed);
            }
            return Poll::Ready(());
        }
        *key = Some(locked.drains.push(own, Deadline::NEVER, Tag::NONE));
        Poll::Pending
    }

    /// Ends a wait for the drained semaphore.
    pub(crate) fn cancel_drained(&self, key: WaiterKey) {
        let mut locked = self.locked.lock();
        let left = locked.drains.cancel(key);
        if locked.drains.is_empty() {
            self.state.fetch_and(!DRAIN, Relaxed);
        }
        drop(locked);
        drop(left); // after the lock
    }
}

/// The wait queue under its lock, for a limiter that [tags](Tags) its waiters.
pub(crate) struct Waiters<'a, D, T> {
    semaphore: &'a Semaphore<D, T>,
    locked: &'a mut Locked<T>,
}

impl<D: Deadlines, T: Tags> Waiters<'_, D, T> {
    pub(crate) fn tags(&mut self) -> &mut T {
        &mut self.locked.tags
    }

    pub(crate) fn is_queued(&self, key: &WaiterKey) -> bool {
        self.locked.queue.state(key) == State::Queued
    }

    /// Returns the view of the first waiter with `tag`.
    pub(crate) fn first_with(&self, tag: Tag) -> Option<View> {
        let ahead = self.locked.queue.first_with(tag)?;
        Some(self.semaphore.view_of_waiter(self.locked, ahead))
    }

    /// Returns the tag and the view of the first waiter.
    pub(crate) fn first(&self) -> Option<(Tag, View)> {
        let tag = self.locked.queue.first_tag()?;
        Some((tag, self.semaphore.view_of_waiter(self.locked, 0)))
    }

    /// Tags a queued waiter. Returns its tag before.
    pub(crate) fn set_tag(&mut self, key: &WaiterKey, tag: Tag) -> Tag {
        self.locked.queue.set_tag(key, tag)
    }

    /// Clones the wakers of all waiters with `tag`.
    pub(crate) fn wakers_with(&self, tag: Tag) -> Vec<Waker> {
        self.locked.queue.wakers_with(tag)
    }
}
