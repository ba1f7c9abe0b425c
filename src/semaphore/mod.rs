//! CORE: a fair, resizable semaphore with an atomic fast path.
//!
//! Both limits build on it. A concurrency limit releases a permit when its request ends; a rate
//! limit releases it when it expires. The semaphore reads no clock: deadlines are
//! [ordered keys](Deadlines). A limiter may [tag](Tags) each waiter with a number; a window tags it
//! with its refill task.
//!
//! A request asks for one permit or for several, of which it gets all at once or none. Waiters are
//! served strictly in order: while the first one asks for more than there is, those behind it wait
//! too, however few permits they ask for.
//!
//! # State
//!
//! One `AtomicU64` decides every admission, so each decision is one atomic step on one value:
//!
//! ```text
//!  63                              32   31       30       29        28                  0
//! +----------------------------------+---------+--------+----------+--------------------+
//! | available permits, as an i32     | BLOCKED | DRAIN  | OBSERVED | number of waiters  |
//! +----------------------------------+---------+--------+----------+--------------------+
//! ```
//!
//! The number of available permits is the limit less the permits held. It is negative while more
//! permits are held than a lowered limit has. A change of the limit changes this number, so an
//! acquire that has read the old state fails and tries again.
//!
//! OBSERVED refuses [`try_acquire_unobserved`](Semaphore::try_acquire_unobserved), and no other
//! step. A limiter whose admissions are observed thus leads them to a path of its own, and the
//! check costs the other limiters nothing: it is one more bit in a mask.
//!
//! A limiter that has to know which request took the last permit is [told](Semaphore::telling_last)
//! by [`try_acquire_telling`](Semaphore::try_acquire_telling). There, `try_acquire_unobserved`
//! leaves the last permit alone, so that a request which finds another one left over takes the same
//! steps as ever: it compares with a number that is one permit, or two.
//!
//! A second word, `granted`, holds the sequence number of the last waiter that was granted its
//! permits. Its upper 16 bits count the grants of the last permit since one that was not, or since
//! the limit was set; at most 65,535. So a waiter knows by its number whether its own was one. One
//! that is polled too late for the count takes it for no. Waiters are served in sequence order, so
//! a waiter for one permit without a deadline owns it exactly if its number is at most `granted`.
//! It checks that without the lock. The outcome of any other waiter is in its entry of the queue,
//! under the lock.
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
//! All steps but the first two and the last hold the lock:
//!
//! | step | condition | state |
//! | --- | --- | --- |
//! | *acquire* n | n permits are available, no waiter, not blocked | permits - n |
//! | *release* n | – | permits + n; with a waiter or a drain: *advance* |
//! | *queue* for n | *acquire* n is not possible, n is at most the limit | waiters + 1 |
//! | *cancel* | a queued waiter | waiters - 1; if the next one is first and can leave: *advance* |
//! | *block*, *close* | – | BLOCKED |
//! | *unblock* | not closed | not BLOCKED, then *advance* |
//! | *set the limit* | – | permits + difference, then *advance* |
//! | *drain* | not drained | DRAIN, until the last drain is woken |
//! | *observe* (without the lock) | – | OBSERVED, for good |
//! | *await the close* | not closed | – |
//!
//! *Advance* repeats the first of these steps that is possible, until none is:
//!
//! | step of *advance* | condition | state |
//! | --- | --- | --- |
//! | *remove an overdue waiter* | its deadline has passed | waiters - 1, then *grant* |
//! | *take a grant* of n *back* | its deadline has passed, the permits are not acquired yet | permits + n, then *grant* |
//! | *grant* | the n permits of the first waiter are available, not blocked | permits - n, waiters - 1 |
//! | *pass over* | as for *grant*, but the request of the first waiter could not be done in time | waiters - 1 |
//! | *refuse* | the first waiter asks for more than the limit, not closed | waiters - 1 |
//! | *dismiss* | closed, a waiter | waiters - 1 |
//! | *wake a watcher of the close* | closed | – |
//! | *wake a drain* | all permits available, no waiter | – |
//!
//! Permits are acquired without queueing only while the same word counts no waiter, so no request
//! overtakes the queue. A grant takes the permits on behalf of the waiter.
//!
//! A lowered limit may be less than a waiter asks for. That waiter would wait for good, and all
//! behind it, so it is refused once it is first. Until then, the limit may be raised again.
//!
//! The lock guards the wait queue, the tags, the drains, the watchers of the close and every change
//! of the limit. Without waiters and drains, acquiring and releasing take no lock.
//!
//! # Drains
//!
//! A limiter says which of the held permits keep it from being drained: all of them, or those of
//! requests that are not issued yet. *Advance* knows the condition that suffices for both. A
//! limiter with a weaker one calls [`wake_drains`](Semaphore::wake_drains) after each step that may
//! fulfil it.
//!
//! # Deadlines
//!
//! The task of a waiter may end while its service stays, and its wait must not hold up others. A
//! waiter with a deadline leaves the queue by the first step that looks at the queue after it: an
//! arrival, a release, a reading. Its task need not be polled. A permit granted to such a waiter is
//! its own until the [deadline of the grant](Deadlines::of_grant). The first step after that takes
//! it back, and grants it to the next waiter. A fourth word, `earliest`, holds the earliest
//! deadline, so that a step finds by one load that none has passed.
//!
//! If several deadlines have passed by one step, they end waits and grants in their order. Each may
//! let waiters acquire: a grant that is taken back frees permits, and a waiter that leaves is no
//! longer in front of others that ask for fewer. The grants that become possible are made before
//! the next deadline ends a wait, because their waiters were in time.
//!
//! A request may have a deadline by which it is to be done, beside that of its wait. At its turn,
//! the limiter [decides](Deadlines::is_too_late) whether the time that is left suffices. If it does
//! not, the waiter leaves the queue without a permit, under the lock that grants, and the permit
//! goes to the next one.
//!
//! # Races
//!
//! - *Release against queue.* Both change the state word. If the release comes first, the
//!   compare-exchange that would count the waiter fails, and the request acquires. If the waiter
//!   comes first, the release sees it in the value that it replaced, and advances. The waiter holds
//!   the lock until its entry is complete, so *advance* finds the entry.
//! - *Two releases run at the same time.* The condition of a grant becomes true only by a release,
//!   a raised limit, a grant taken back, an unblock, or a first waiter that leaves. Each of them is
//!   followed by *advance*, which grants until the condition is false, so no grant is lost. A new
//!   waiter never makes it true, because it queues only if it could not acquire.
//! - *Grant against cancel.* Both hold the lock. If the grant comes first, the cancel finds it and
//!   releases the permits, which go to the next waiters. If the cancel comes first and the waiter
//!   was first, the permits that it waited for may suffice for the next one, so it advances.
//! - *Refusal against a change of the limit.* Both hold the lock, as does the queueing, which
//!   compares with the limit too. If the limit is raised first, the waiter is not refused.
//! - *Grant during a poll.* If a permit is granted between a waiter's check of `granted` and its
//!   taking the lock, then the waiter finds the grant under the lock. If the grant comes later, its
//!   waker is stored by then.
//! - *Grant to a waiter that is not polled for long.* Without a deadline, its entry is vacant from
//!   the grant on, and other waiters reuse it, with higher numbers. The waiter finds another number
//!   in the entry, and its own at most `granted`.
//! - *Grant against deadline.* Both hold the lock. If the deadline comes first, the waiter is out
//!   of the queue, and the permit goes to the next. If the grant comes first, the waiter finds it
//!   in its entry, which is kept until the waiter is polled or cancelled.
//! - *Reading against a change of the limit.* A change takes three steps: `limit` becomes odd, the
//!   permits change, and `limit` becomes even with the new limit. A reading without the lock loads
//!   `limit`, the state, and `limit` again. If the permits change between the first two loads, the
//!   third differs from the first, because `limit` became odd before. If the first load has the new
//!   limit, the state has its permits, because they changed before. The steps are counted, because
//!   a limit may change and change back between the first load and the third. Settings of the
//!   limiter change between the first step and the last, and are loaded between the first load and
//!   the third, so the same holds for them.
//! - *Close against a watcher of it.* Both hold the lock. If the close comes first, the watcher
//!   finds it. If the watcher comes first, its waker is stored, and the close advances.
//! - *`granted` passes the number of a waiter that was overdue or refused*, because waiters behind
//!   it are granted permits. So a waiter with a deadline, or for several permits, reads the outcome
//!   from its entry, and not from `granted`. If its entry is gone, a close has dismissed it.
//!
//! # Memory ordering
//!
//! **`state`.** Acquiring a permit is an `Acquire`, releasing one a `Release`: what the last holder
//! of a permit did happens before what the next one does. Every write of the state is a
//! read-modify-write. Each continues the release sequences of all releases before it, so an
//! `Acquire` of any later value synchronises with all of them, whatever `Relaxed` steps lie in
//! between. A reading and the end of a drain are an `Acquire` too: they count permits as released,
//! and see what the holders did. A step is `Relaxed` if no other thread relies on what happened
//! before it:
//!
//! - a first load, which a compare-exchange confirms, and a failed compare-exchange;
//! - the number of waiters and DRAIN, behind which the lock orders the entries;
//! - setting OBSERVED: a request that reads an older state is not observed;
//! - setting BLOCKED: an acquire is a read-modify-write, and so reads the newest state. Clearing it
//!   is a `Release`, because the next acquire relies on the block being over;
//! - taking a grant back: the permit was not used.
//!
//! **`granted`.** A grant acquires the permit in the thread that grants. The `Release` of `granted`
//! and the `Acquire` of the waiter, or the lock, pass that on. Grants are chained by the lock, so a
//! later value of `granted` passes on the earlier grants too.
//!
//! **`limit`.** The second and the third [step of a change](#races) are a `Release`, the first and
//! the second load of a reading an `Acquire`. So a load that sees one of these steps sees the step
//! before it too. The first step and the third load are `Relaxed`: their neighbours order them.
//!
//! **`earliest`** is a hint, and `Relaxed`. An old value costs a step without effect, or delays a
//! removal to the next step under the lock.

mod deadlines;
mod queue;

use std::task::{Poll, Waker};

use self::queue::{BEFORE_FIRST, Queue, Removed, State};
pub(crate) use self::{
    deadlines::{Deadline, Deadlines},
    queue::{Arrival, Stamp, Tag, Turn, WaiterKey},
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
/// The smallest state with an available permit, and with two.
const ONE: i64 = PERMIT as i64;
const TWO: i64 = 2 * ONE;
/// No permit is acquired or granted. Set by a pause and by a close.
const BLOCKED: u64 = 1 << 31;
/// A task waits until the semaphore is drained.
const DRAIN: u64 = 1 << 30;
/// Admissions without a wait are observed.
const OBSERVED: u64 = 1 << 29;
/// One waiter.
const WAITER: u64 = 1;
const WAITERS: u64 = OBSERVED - 1;

/// In `granted`, one grant of the last permit.
const LAST: u64 = 1 << Seq48::BITS;

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

/// Returns true if a request may acquire a permit without queueing, unobserved, and leaves
/// `least - 1` permits.
#[allow(clippy::cast_possible_wrap, reason = "the upper half is signed")]
const fn admits_unobserved(state: u64, least: i64) -> bool {
    state as i64 >= least && state & (WAITERS | BLOCKED | OBSERVED) == 0
}

/// Returns true if a request may acquire `permits` without queueing.
const fn admits_many(state: u64, permits: u32) -> bool {
    available(state) >= permits as i64 && admits(state)
}

/// Returns true if the first waiter, which asks for `permits`, may be granted them.
const fn grants(state: u64, permits: u32) -> bool {
    available(state) >= permits as i64 && state & BLOCKED == 0
}

/// Returns the difference that `permits` make in the state.
const fn of_permits(permits: u32) -> u64 {
    permits as u64 * PERMIT
}

/// The semaphore at one moment, as seen by a waiter or a reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The number of permits.
    pub(crate) limit: u32,
    /// The number of available permits; negative while more are held than a lowered limit has.
    pub(crate) available: i64,
    /// For a waiter, the number of waiters before it. For a reader, the number of waiters.
    pub(crate) ahead: u32,
    /// The time at which the wait of the first waiter began.
    pub(crate) since: Option<Stamp>,
    pub(crate) is_closed: bool,
}

impl View {
    /// Returns the number of permits held.
    pub(crate) fn held(&self) -> u32 {
        u32::try_from(i64::from(self.limit) - self.available).unwrap_or(0)
    }

    /// Returns true if no permit is held and no waiter is queued.
    pub(crate) fn is_idle(&self) -> bool {
        self.ahead == 0 && self.held() == 0
    }
}

/// The end of a wait without a permit. The waiter has left the queue, and its key is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The deadline of the wait, or of a grant, has passed.
    Overdue,
    /// At its turn, its request could not be done in time any more.
    TooLate,
    /// It asked for more permits than this limit, which was set meanwhile.
    TooMany { limit: u32 },
    /// The semaphore is closed.
    Closed,
}

/// State of a limiter under the lock of the queue, which is told of tagged waiters that leave.
///
/// It may measure the pace of the queue, too: it is told of grants.
pub(crate) trait Tags {
    /// A waiter with `tag` has left the queue. Returns a waker, to be woken after the lock.
    fn waiter_left(&mut self, tag: Tag) -> Option<Waker>;

    /// The first waiter is granted its permits. The next one can be granted some as well if
    /// `has_next`.
    fn granted(&mut self, has_next: bool) {
        let _ = has_next;
    }

    /// A raised limit lets at least the first waiter be granted its permits.
    fn raised(&mut self) {}
}

impl Tags for () {
    fn waiter_left(&mut self, _: Tag) -> Option<Waker> {
        None
    }
}

/// Returns true if a limiter is drained. It is given a function that returns the view of the moment
/// of its call.
pub(crate) type IsDrained<'a> = dyn Fn(&dyn Fn() -> View) -> bool + 'a;

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
    /// The smallest state by which [`try_acquire_unobserved`](Self::try_acquire_unobserved)
    /// acquires: of one permit, or of two.
    least: i64,
    locked: Mutex<Locked<T>>,
    deadlines: D,
}

/// State that only waiters, drains and handles touch.
struct Locked<T> {
    is_closed: bool,
    /// A deadline has let waiters acquire, which come before the next deadline.
    is_in_time: bool,
    queue: Queue,
    tags: T,
    drains: Queue,
    /// Tasks that wait for the close.
    watchers: Queue,
}

/// A step of *advance* that the first waiter makes possible.
#[derive(Clone, Copy)]
enum FirstStep {
    /// Of this number of permits.
    Grant(u32),
    /// It leaves without a permit that it could not use in time.
    PassOver,
    /// By this limit.
    Refuse { limit: u32 },
}

/// Wakers to wake or to drop after the lock.
#[derive(Default)]
struct Wakes {
    /// Of a waiter, a drain or a watcher of the close.
    wake: Option<Waker>,
    /// Of [`Tags::waiter_left`].
    wake_too: Option<Waker>,
    /// Of an overdue waiter, which its own timer wakes.
    drop: Option<Waker>,
    /// No further step is possible, so the lock need not be taken again to find that out.
    is_last: bool,
}

impl<D: Deadlines, T: Tags> Semaphore<D, T> {
    pub(crate) fn new(limit: u32, deadlines: D, tags: T) -> Self {
        Self {
            state: AtomicU64::new(u64::from(limit) * PERMIT),
            granted: AtomicU64::new(BEFORE_FIRST.get()),
            earliest: AtomicU64::new(Deadline::NEVER.get()),
            limit: AtomicU64::new(limit.into()),
            least: ONE,
            locked: Mutex::new(Locked {
                is_closed: false,
                is_in_time: false,
                queue: Queue::new(),
                tags,
                drains: Queue::new(),
                watchers: Queue::new(),
            }),
            deadlines,
        }
    }

    /// Leaves the last permit to [`try_acquire_telling`](Self::try_acquire_telling) and to waiters.
    pub(crate) fn telling_last(self) -> Self {
        Self { least: TWO, ..self }
    }

    /// Acquires a permit if that needs no wait, and the semaphore is not [observed](Self::observe).
    #[inline]
    pub(crate) fn try_acquire_unobserved(&self) -> bool {
        let least = self.least;
        self.try_acquire_if(|state| admits_unobserved(state, least)).is_some()
    }

    /// Acquires a permit if that needs no wait. Returns true if it was the last one.
    pub(crate) fn try_acquire_telling(&self) -> Option<bool> {
        self.try_acquire_if(admits).map(|state| available(state) == 1)
    }

    /// Acquires a permit if that needs no wait.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        self.try_acquire_if(admits).is_some()
    }

    /// Returns the state before.
    #[inline(always)]
    fn try_acquire_if(&self, admits: impl Fn(u64) -> bool) -> Option<u64> {
        let mut state = self.state.load(Relaxed);
        while admits(state) {
            // Acquire: what the last holder of the permit did happens before what this one does.
            match self.state.compare_exchange_weak(state, state - PERMIT, Acquire, Relaxed) {
                Ok(_) => return Some(state),
                Err(newer) => state = newer,
            }
        }
        None
    }

    /// Lets [`try_acquire_unobserved`](Self::try_acquire_unobserved) acquire no more permits.
    pub(crate) fn observe(&self) {
        // Relaxed: a request that reads an older state is not observed.
        self.state.fetch_or(OBSERVED, Relaxed);
    }

    /// Acquires `permits` if that needs no wait.
    pub(crate) fn try_acquire_many(&self, permits: u32) -> bool {
        let mut state = self.state.load(Relaxed);
        while admits_many(state, permits) {
            // Acquire: as in `try_acquire`.
            let fewer = state - of_permits(permits);
            match self.state.compare_exchange_weak(state, fewer, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(newer) => state = newer,
            }
        }
        false
    }

    /// Releases `permits`, to waiters first. Returns true if there was a waiter or a drain.
    #[inline]
    pub(crate) fn release(&self, permits: u32) -> bool {
        // Release: to the Acquire of the next holder. The value read needs no Acquire: the lock
        // orders the queue behind it.
        let state = self.state.fetch_add(of_permits(permits), Release);
        let is_awaited = state & (WAITERS | DRAIN) != 0;
        if is_awaited {
            self.advance();
        }
        is_awaited
    }

    /// Removes overdue waiters, and takes overdue grants back. Returns true if there were any.
    pub(crate) fn remove_overdue(&self) -> bool {
        // Relaxed: an older deadline costs a step without effect, a newer one delays the removal to
        // the next step under the lock.
        let is_overdue = self.has_passed(Deadline::new(self.earliest.load(Relaxed)));
        if is_overdue {
            self.advance();
        }
        is_overdue
    }

    fn has_passed(&self, deadline: Deadline) -> bool {
        deadline != Deadline::NEVER && self.deadlines.has_passed(deadline)
    }

    /// Acquires permits, or queues a waiter that `admit` accepts. Returns the key of a waiter.
    ///
    /// `admit` may be called several times, each time with a newer view, a function that returns
    /// the turn of the waiter, and the tags. It must reject a waiter for more permits than the
    /// limit of the view.
    /// `tag` is called once for a waiter that queues, with the value that `admit` returned.
    pub(crate) fn queue<A, R>(
        &self,
        waker: &Waker,
        arrival: Arrival,
        mut admit: impl FnMut(View, &dyn Fn() -> Turn, &T) -> Result<A, R>,
        tag: impl FnOnce(&mut T, A) -> Tag,
    ) -> Result<Option<WaiterKey>, R> {
        let permits = arrival.permits;
        let mut own = None;
        let mut locked = self.locked.lock();
        let mut state = self.state.load(Relaxed);
        loop {
            if admits_many(state, permits) {
                // Acquire: as in `try_acquire`.
                let fewer = state - of_permits(permits);
                match self.state.compare_exchange_weak(state, fewer, Acquire, Relaxed) {
                    Ok(_) => return Ok(None),
                    Err(newer) => state = newer,
                }
                continue;
            }
            let ahead = waiters(state);
            let view = self.view_of(&locked, state, ahead);
            let turn = || locked.queue.turn_of_next(ahead, permits, view.limit);
            let admitted = admit(view, &turn, &locked.tags)?;
            debug_assert!(permits <= view.limit, "a waiter that could never acquire is admitted");
            assert!(
                u64::from(ahead) < WAITERS,
                "{ahead} waiters are queued: no more can be counted"
            );
            // Before the state changes, because `clone` is foreign code that may panic.
            let waker = own.take().unwrap_or_else(|| waker.clone());
            // Relaxed: the state is unchanged, so there are still too few permits. The lock, held
            // until the entry is complete, does the rest.
            match self.state.compare_exchange_weak(state, state + WAITER, Relaxed, Relaxed) {
                Ok(_) => {
                    let tag = tag(&mut locked.tags, admitted);
                    let key = locked.queue.push(waker, arrival, tag);
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

    /// Publishes the earliest deadline, after each change of one. An equal value is not stored: the
    /// state shares its cache line.
    fn update_earliest(&self, locked: &Locked<T>) {
        let earliest = locked.queue.earliest_deadline().get();
        if earliest != self.earliest.load(Relaxed) {
            self.earliest.store(earliest, Relaxed);
        }
    }

    /// Polls a waiter, and stores its waker and its deadline while it is queued. `while_queued` is
    /// called then, with the view and the turn that the waiter would have as the first one. Ready
    /// means that the waiter has left the queue, and the key is dead.
    pub(crate) fn poll(
        &self,
        key: &WaiterKey,
        waker: &Waker,
        deadline: Deadline,
        while_queued: impl FnOnce(View, Turn),
    ) -> Poll<Result<(), Ended>> {
        if !key.keeps_entry && self.is_granted(key) {
            return Poll::Ready(Ok(()));
        }
        let mut locked = self.locked.lock();
        match locked.queue.state(key) {
            State::Queued => {}
            State::Granted => {
                locked.queue.free(key);
                self.update_earliest(&locked);
                return Poll::Ready(Ok(()));
            }
            State::Overdue => {
                locked.queue.free(key);
                return Poll::Ready(Err(Ended::Overdue));
            }
            State::TooLate => {
                locked.queue.free(key);
                return Poll::Ready(Err(Ended::TooLate));
            }
            State::TooMany { limit } => {
                locked.queue.free(key);
                return Poll::Ready(Err(Ended::TooMany { limit }));
            }
            State::Gone if !key.keeps_entry && self.is_granted(key) => {
                return Poll::Ready(Ok(()));
            }
            State::Gone => return Poll::Ready(Err(Ended::Closed)),
        }
        let view = self.view_of(&locked, self.state.load(Relaxed), 0);
        while_queued(view, Turn::first(locked.queue.permits(key), view.limit));
        let old = locked.queue.set_waker(key, waker);
        if key.keeps_entry {
            locked.queue.set_deadline(key, deadline);
            self.update_earliest(&locked);
        }
        drop(locked);
        drop(old); // after the lock
        Poll::Pending
    }

    /// Returns true if the waiter, which does not keep its entry, was granted its permit.
    fn is_granted(&self, key: &WaiterKey) -> bool {
        // Acquire: to the Release of the grant, which took the permit for the waiter.
        !key.number().is_after(Seq48::of(self.granted.load(Acquire)))
    }

    /// Returns true if a waiter that was granted its permits was granted the last one, and the
    /// limit was not set since. False if that is not known any more.
    pub(crate) fn was_last(&self, key: &WaiterKey) -> bool {
        // Relaxed: the waiter has found its grant.
        let granted = self.granted.load(Relaxed);
        u64::from(Seq48::of(granted).since(key.number())) < granted / LAST
    }

    /// Cancels a waiter. Permits that were granted to it are released. Returns true if the waiters
    /// behind it may be served earlier now.
    pub(crate) fn cancel(&self, key: WaiterKey) -> bool {
        let mut locked = self.locked.lock();
        let granted = match locked.queue.state(&key) {
            State::Queued | State::Overdue | State::TooLate | State::TooMany { .. } => 0,
            State::Granted => locked.queue.permits(&key),
            State::Gone => u32::from(!key.keeps_entry && self.is_granted(&key)),
        };
        let left = locked.queue.cancel(key);
        self.update_earliest(&locked);
        let Some(Removed { waker, tag, was_first, .. }) = left else {
            drop(locked);
            return granted > 0 && self.release(granted);
        };
        // No drain is woken here: if this was the last waiter and all permits are available, the
        // release of the last permit has seen this waiter in the state, and is about to advance. A
        // limiter with a weaker condition learns by the result that it may hold.
        let state = self.state.fetch_sub(WAITER, Relaxed) - WAITER;
        let of_tag = locked.tags.waiter_left(tag);
        // The next waiter may ask for no more than there was while this one was in front of it.
        let has_next = was_first && self.first_step(&locked, state).is_some();
        drop(locked);
        let is_idle = |view: &dyn Fn() -> View| view().is_idle();
        let _rest = has_next.then(|| Rest(self, &is_idle));
        of_tag.into_iter().for_each(Waker::wake);
        drop(waker); // after the lock
        was_first
    }

    /// Returns the step of the first waiter that is possible.
    fn first_step(&self, locked: &Locked<T>, state: u64) -> Option<FirstStep> {
        let permits = locked.queue.first_permits()?;
        if grants(state, permits) {
            let is_too_late = locked.queue.first_done_by().is_some_and(|done_by| {
                // Reads the time, which only a waiter with such a deadline needs.
                self.deadlines.is_too_late(done_by)
            });
            return Some(if is_too_late { FirstStep::PassOver } else { FirstStep::Grant(permits) });
        }
        let limit = self.limit();
        (permits > limit && !locked.is_closed).then_some(FirstStep::Refuse { limit })
    }

    /// Repeats the steps of the [module's second table](self#state) until none is possible.
    #[cold]
    fn advance(&self) {
        self.advance_with(&|view| view().is_idle());
    }

    /// Advances, and takes the limiter's condition for that of a drain.
    ///
    /// Wakers run foreign code. They are woken one at a time, after the lock, and no list of them
    /// is collected.
    fn advance_with(&self, is_drained: &IsDrained<'_>) {
        while let Some(Wakes { wake, wake_too, drop, is_last }) = self.advance_by_one(is_drained) {
            let rest = (!is_last).then(|| Rest(self, is_drained));
            wake_too.into_iter().chain(wake).for_each(Waker::wake);
            std::mem::drop(drop);
            std::mem::forget(rest);
            if is_last {
                return;
            }
        }
    }

    fn advance_by_one(&self, is_drained: &IsDrained<'_>) -> Option<Wakes> {
        let mut locked = self.locked.lock();
        let mut is_in_time = std::mem::take(&mut locked.is_in_time);
        if !is_in_time && self.has_passed(locked.queue.earliest_deadline()) {
            let removed = locked.queue.remove_overdue().expect("it has a deadline");
            self.update_earliest(&locked);
            if let Removed { waker: Some(waker), tag, .. } = removed {
                let state = self.state.fetch_sub(WAITER, Relaxed) - WAITER;
                locked.is_in_time = self.first_step(&locked, state).is_some();
                let wake_too = locked.tags.waiter_left(tag);
                return Some(Wakes { drop: Some(waker), wake_too, ..Wakes::default() });
            }
            // Relaxed: no request used these permits. They are granted at once, before waiters
            // whose deadlines have passed meanwhile are removed: they were in time for them.
            self.state.fetch_add(of_permits(removed.permits), Relaxed);
            is_in_time = true;
        }
        // Acquire: permits are acquired here on behalf of a waiter, and a drain sees what the
        // holders of all permits did.
        let state = self.state.load(Acquire);
        match self.first_step(&locked, state) {
            Some(FirstStep::Grant(permits)) => {
                // The condition still holds: with a waiter and under the lock, no other step takes
                // a permit or a waiter. Relaxed: the permits are those that the load has seen.
                let taken = of_permits(permits) + WAITER;
                let state = self.state.fetch_sub(taken, Relaxed) - taken;
                let granted = locked.queue.grant(&self.deadlines).expect("there is a waiter");
                let Removed { number, waker, tag, .. } = granted;
                self.update_earliest(&locked);
                // Relaxed: it is written under the lock.
                let last = self.granted.load(Relaxed) / LAST;
                let last = if available(state) == 0 { (last + 1).min(u64::MAX / LAST) } else { 0 };
                // Release: to the Acquire in `is_granted`.
                self.granted.store((last * LAST) | number.get(), Release);
                // A grant that becomes possible from now on is the duty of the step that makes it
                // so. The other steps are not possible: permits are held, so no drain is woken, and
                // a closed semaphore grants nothing, so no waiter is dismissed.
                let has_next = self.first_step(&locked, state).is_some();
                locked.tags.granted(has_next);
                locked.is_in_time = is_in_time && has_next;
                let is_last = !has_next && !is_in_time;
                let wake_too = locked.tags.waiter_left(tag);
                return Some(Wakes { wake: waker, wake_too, is_last, drop: None });
            }
            Some(step @ (FirstStep::PassOver | FirstStep::Refuse { .. })) => {
                let removed = match step {
                    FirstStep::Refuse { limit } => locked.queue.refuse(limit),
                    _ => locked.queue.pass_over(),
                };
                let Removed { waker, tag, .. } = removed.expect("there is a waiter");
                self.state.fetch_sub(WAITER, Relaxed);
                self.update_earliest(&locked);
                locked.is_in_time = is_in_time;
                let wake_too = locked.tags.waiter_left(tag);
                return Some(Wakes { wake: waker, wake_too, ..Wakes::default() });
            }
            None => {}
        }
        if locked.is_closed {
            if let Some(Removed { waker, tag, .. }) = locked.queue.dismiss() {
                self.state.fetch_sub(WAITER, Relaxed);
                self.update_earliest(&locked);
                let wake_too = locked.tags.waiter_left(tag);
                return Some(Wakes { wake: waker, wake_too, ..Wakes::default() });
            }
            if let Some(Removed { waker, .. }) = locked.watchers.dismiss() {
                return Some(Wakes { wake: waker, ..Wakes::default() });
            }
        }
        if state & DRAIN == 0 || !is_drained(&|| self.view_now(&locked)) {
            return is_in_time.then(Wakes::default);
        }
        let drained = locked.drains.dismiss();
        if locked.drains.is_empty() {
            self.state.fetch_and(!DRAIN, Relaxed);
        }
        Some(Wakes { wake: drained?.waker, ..Wakes::default() })
    }

    /// Runs `read` under the lock, with the wait queue and the tags.
    pub(crate) fn with_waiters<R>(&self, read: impl FnOnce(&mut Waiters<'_, D, T>) -> R) -> R {
        let mut locked = self.locked.lock();
        read(&mut Waiters { semaphore: self, locked: &mut locked })
    }

    /// Changes the number of permits: more are granted to waiters at once, fewer drain.
    /// `before` runs first, under the lock, so that a setting of the limiter changes with it.
    ///
    /// Returns true if it was another number. The numbers are compared under the lock, so that of
    /// two changes at a time none goes unnoticed.
    pub(crate) fn set_limit(&self, limit: u32, before: impl FnOnce()) -> bool {
        let mut is_change = false;
        let compared = |present| {
            is_change = limit != present;
            limit
        };
        self.change(compared, before, || {});
        is_change
    }

    /// Changes the number of permits to `limit` of the present one, and settings of the limiter in
    /// the same step.
    ///
    /// `before` and `after` run under the lock, right before and right after the permits change.
    /// Settings that they store are of one moment with the limit in [`read`](Self::read) and
    /// [`try_read_with`](Self::try_read_with).
    pub(crate) fn change(
        &self,
        limit: impl FnOnce(u32) -> u32,
        before: impl FnOnce(),
        after: impl FnOnce(),
    ) {
        let mut locked = self.locked.lock();
        let word = self.limit.load(Relaxed);
        let limit = limit(limit_of(word));
        let delta = i64::from(limit) - i64::from(limit_of(word));
        let during = word.wrapping_add(STEP);
        // Relaxed: the next Release orders it.
        self.limit.store(during, Relaxed);
        // The last permit is another one now. Relaxed: it continues the release sequence.
        self.granted.fetch_and(LAST - 1, Relaxed);
        before();
        // In two's complement, adding a negative number subtracts. Release: to the Acquire of the
        // state in `try_read_with`, for the step before. Later steps on the state continue the
        // release sequence, because they are read-modify-writes.
        #[allow(clippy::cast_sign_loss, reason = "two's complement")]
        self.state.fetch_add((delta as u64).wrapping_mul(PERMIT), Release);
        after();
        // Release: to the Acquire of the limit in `try_read_with`, for the permits.
        let steps = during.wrapping_add(STEP) & !u64::from(u32::MAX);
        self.limit.store(steps | u64::from(limit), Release);
        // Relaxed: a permit that is released right now is granted with those of the raise.
        if delta > 0 && self.first_step(&locked, self.state.load(Relaxed)).is_some() {
            locked.tags.raised();
        }
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
        // Relaxed: an older state delays the end of a pause to the next step.
        self.state.load(Relaxed) & BLOCKED != 0
    }

    /// Unblocks admission if `is_over`, waiters first. Returns true if it did.
    ///
    /// `is_over` is called under the lock, so a pause that was set meanwhile stays.
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
        read(self.view_now(&locked))
    }

    /// Calls `read` with the view of one moment, and the turn that a request for `permits` would
    /// have, under the lock.
    pub(crate) fn read_for<R>(&self, permits: u32, read: impl FnOnce(View, Turn) -> R) -> R {
        let locked = self.locked.lock();
        let view = self.view_now(&locked);
        read(view, locked.queue.turn_of_next(view.ahead, permits, view.limit))
    }

    /// Returns the view and the limiter's `settings` of one moment without the lock, if a permit is
    /// available and no waiter is queued.
    ///
    /// `settings` loads them by an `Acquire`, to the `Release` by which a [change](Self::change)
    /// stores them.
    pub(crate) fn try_read_with<S>(&self, settings: impl FnOnce() -> S) -> Option<(View, S)> {
        // Acquire: to the last step of a change. The state has the permits of this limit, or of a
        // later one, and so have the settings.
        let word = self.limit.load(Acquire);
        let settings = settings();
        // Acquire: as in `read`, and to the second step of a change. If the permits are those of a
        // later limit, the load below sees the first step.
        let state = self.state.load(Acquire);
        let is_of_one_moment = word & STEP == 0 && self.limit.load(Relaxed) == word;
        (is_of_one_moment && admits(state)).then(|| {
            let view = View {
                limit: limit_of(word),
                available: available(state),
                ahead: 0,
                since: None,
                is_closed: false, // a closed semaphore is blocked
            };
            (view, settings)
        })
    }

    /// Returns a view without the lock, for a semaphore that is blocked only by a close. The limit
    /// may be that of another moment, and the time of the first waiter is missing.
    pub(crate) fn glance(&self) -> View {
        let state = self.state.load(Relaxed);
        View {
            limit: self.limit(),
            available: available(state),
            ahead: waiters(state),
            since: None,
            is_closed: state & BLOCKED != 0,
        }
    }

    /// Returns the limit.
    pub(crate) fn limit(&self) -> u32 {
        // Relaxed: it orders nothing.
        limit_of(self.limit.load(Relaxed))
    }

    /// Returns the view of this moment.
    fn view_now(&self, locked: &Locked<T>) -> View {
        // Acquire: a reading that counts a permit as released sees what its holder did.
        let state = self.state.load(Acquire);
        self.view_of(locked, state, waiters(state))
    }

    fn view_of(&self, locked: &Locked<T>, state: u64, ahead: u32) -> View {
        View {
            limit: self.limit(),
            available: available(state),
            ahead,
            since: locked.queue.first_since(),
            is_closed: locked.is_closed,
        }
    }

    /// Waits until the semaphore is drained by the limiter's condition. `key` is `None` at first.
    ///
    /// `is_drained` is called under the lock, after the drain is announced in the state, with a
    /// function that returns the view of that moment.
    pub(crate) fn poll_drained(
        &self,
        key: &mut Option<WaiterKey>,
        waker: &Waker,
        is_drained: &IsDrained<'_>,
    ) -> Poll<()> {
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
        // From this step on, each release sees the drain. Relaxed: the loads of the views order
        // what the holders of released permits did, and see this step or a later one.
        self.state.fetch_or(DRAIN, Relaxed);
        if is_drained(&|| self.view_now(&locked)) {
            if locked.drains.is_empty() {
                self.state.fetch_and(!DRAIN, Relaxed);
            }
            return Poll::Ready(());
        }
        *key = Some(locked.drains.push(own, Arrival::PLAIN, Tag::NONE));
        Poll::Pending
    }

    /// Returns true if a task waits until the semaphore is drained.
    pub(crate) fn has_drains(&self) -> bool {
        // Relaxed: a limiter asks after a step that orders this load.
        self.state.load(Relaxed) & DRAIN != 0
    }

    /// Wakes the drains if the semaphore is drained by the limiter's condition. It is called under
    /// the lock, as by [`poll_drained`](Self::poll_drained).
    pub(crate) fn wake_drains(&self, is_drained: &IsDrained<'_>) {
        self.advance_with(is_drained);
    }

    /// Returns the meaning of the deadlines.
    pub(crate) const fn deadlines(&self) -> &D {
        &self.deadlines
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

    /// Waits until the semaphore is closed. `key` is `None` at first.
    pub(crate) fn poll_closed(&self, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()> {
        let own = waker.clone(); // before anything changes: it is foreign code
        let mut locked = self.locked.lock();
        if locked.is_closed {
            // The thread that closes may not have dismissed this watcher yet.
            let left = key.take().and_then(|watcher| locked.watchers.cancel(watcher));
            drop(locked);
            drop((left, own)); // after the lock
            return Poll::Ready(());
        }
        let Some(watcher) = key else {
            *key = Some(locked.watchers.push(own, Arrival::PLAIN, Tag::NONE));
            return Poll::Pending;
        };
        let old = locked.watchers.set_waker(watcher, waker);
        drop(locked);
        drop((old, own)); // after the lock
        Poll::Pending
    }

    /// Ends a wait for the close.
    pub(crate) fn cancel_closed(&self, key: WaiterKey) {
        let mut locked = self.locked.lock();
        let left = locked.watchers.cancel(key);
        drop(locked);
        drop(left); // after the lock
    }
}

/// Advances when it is dropped: a waker that panics must not keep the other waiters from their
/// permits.
struct Rest<'a, D: Deadlines, T: Tags>(&'a Semaphore<D, T>, &'a IsDrained<'a>);

impl<D: Deadlines, T: Tags> Drop for Rest<'_, D, T> {
    fn drop(&mut self) {
        self.0.advance_with(self.1);
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

    /// Returns the view and the turn of the first waiter with `tag`.
    pub(crate) fn first_with(&self, tag: Tag) -> Option<(View, Turn)> {
        let (ahead, turn) = self.locked.queue.first_with(tag, self.semaphore.limit())?;
        Some((self.view(ahead), turn))
    }

    /// Returns the tag, the view and the turn of the first waiter whose tag `accepts`.
    pub(crate) fn first_such(
        &self,
        accepts: impl Fn(&T, Tag) -> bool,
    ) -> Option<(Tag, View, Turn)> {
        let Locked { queue, tags, .. } = &*self.locked;
        let limit = self.semaphore.limit();
        let (tag, ahead, turn) = queue.first_such(|tag| accepts(tags, tag), limit)?;
        Some((tag, self.view(ahead), turn))
    }

    /// The view of a queued waiter with `ahead` waiters before it.
    fn view(&self, ahead: u32) -> View {
        self.semaphore.view_of(self.locked, self.semaphore.state.load(Relaxed), ahead)
    }

    /// Returns a time before which no waiter proceeds because a deadline of another has passed.
    pub(crate) fn earliest_end(&self) -> Deadline {
        self.locked.queue.earliest_end()
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
