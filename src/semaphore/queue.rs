//! CORE: the wait queue, first in, first out. A waiter at any position leaves in one step.
//!
//! A doubly linked list through the entries of a `Vec`: taking the first, appending and removing
//! from the middle take constant time. Vacant entries are reused, so a queue allocates only when
//! it grows longer than ever before.
//!
//! The queue stands behind the [`Semaphore`](super::Semaphore)'s lock. **No waker is dropped in
//! here.** Dropping a waker may drop the last reference to its task, and with it a service that
//! stands in this very queue; its `drop` takes the same lock. Every waker that has served is
//! returned, to be woken or dropped after the lock.

use std::task::Waker;

use super::deadlines::{Deadline, Deadlines, Heap};
use crate::seq48::Seq48;

/// No entry.
const NONE: u32 = u32::MAX;
/// In the field `prev`, the state of an entry that is not linked.
const VACANT: u32 = u32::MAX - 1;
/// As [`VACANT`].
const GRANTED: u32 = u32::MAX - 2;
/// As [`VACANT`].
const OVERDUE: u32 = u32::MAX - 3;
/// As [`VACANT`].
const TOO_MANY: u32 = u32::MAX - 4;
/// As [`VACANT`].
const TOO_LATE: u32 = u32::MAX - 5;

/// The sequence number before any waiter's. The second waiter has number 0.
pub(super) const BEFORE_FIRST: Seq48 = Seq48::below(2);

/// A key to a queued waiter. Dead once a poll has found the waiter out of the queue; consumed by a
/// cancel.
///
/// It names an entry for as long as the entry has its sequence number.
#[derive(Debug)]
#[must_use = "a dropped key leaves its waiter or its entry in the queue"]
pub(crate) struct WaiterKey {
    index: u32,
    number: Seq48,
    /// With a deadline or for several permits, the entry alone tells the outcome of the wait.
    pub(super) keeps_entry: bool,
}

impl WaiterKey {
    pub(super) const fn number(&self) -> Seq48 {
        self.number
    }
}

/// A number that the limiter attaches to a waiter. See [`Tags`](super::Tags).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u16);

impl Tag {
    /// The tag of waiters of a limiter that has none.
    pub(crate) const NONE: Self = Self(u16::MAX);
}

/// The time at which a wait began: a number to which the limiter gives a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) const fn new(time: u64) -> Self {
        Self(time)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// A request for permits that comes to the semaphore, and may have to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The number of permits, of which it gets all at once or none.
    pub(crate) permits: u32,
    pub(crate) since: Stamp,
    /// The end of its wait; [`Deadline::NEVER`] for none.
    pub(crate) deadline: Deadline,
    /// The time by which its request is to be done, which is no earlier than the end of its wait;
    /// [`Deadline::NEVER`] for none.
    pub(crate) done_by: Deadline,
}

impl Arrival {
    /// A request for one permit without a deadline.
    pub(crate) const PLAIN: Self = Self {
        permits: 1,
        since: Stamp::new(0),
        deadline: Deadline::NEVER,
        done_by: Deadline::NEVER,
    };
}

/// The turn of a waiter: the permit that completes those it asks for.
///
/// Permits are numbered in the order in which waiters get them: first those that are available,
/// then those held, as they are released, up to the limit. The permits of a later number are those
/// that waiters have got before and released again, in the same order: a round later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The number of times that waiters before it get and release the permit.
    pub(crate) rounds: u64,
    /// The number of the permit, between 1 and the limit.
    pub(crate) permit: u32,
}

impl Turn {
    /// Returns the turn of the first waiter, or of a newcomer to an empty queue.
    pub(super) fn first(permits: u32, limit: u32) -> Self {
        Self { rounds: 0, permit: permits.min(limit) }
    }

    fn new(rounds: u64, permit: u64) -> Self {
        Self { rounds, permit: u32::try_from(permit).expect("at most the limit") }
    }
}

/// The state of the waiter of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In the queue.
    Queued,
    /// Keeps its entry, and was granted permits that it has not acquired yet.
    Granted,
    /// The deadline of its wait, or of its grant, has passed.
    Overdue,
    /// At its turn, its request could not be done in time any more.
    TooLate,
    /// It asked for more permits than this limit, which a change has set.
    TooMany { limit: u32 },
    /// The entry is vacant or another waiter's. A waiter that keeps its entry was dismissed. Any
    /// other was granted a permit, or dismissed.
    Gone,
}

/// A waiter that has left the queue.
pub(super) struct Removed {
    pub(super) number: Seq48,
    /// To be woken or dropped after the lock. `None` for a waiter that was granted permits before.
    pub(super) waker: Option<Waker>,
    pub(super) permits: u32,
    pub(super) tag: Tag,
    pub(super) was_first: bool,
}

/// An entry of the queue.
///
/// ```text
///            push               grant, entry not kept
///  vacant ─────────► queued ──────────────────────────► vacant
///    ▲                │  │ grant                          ▲
///    │ cancel,        │  ├───────────► granted ───────────┤ poll, cancel
///    │ dismiss        │  │                │               │
///    ├────────────────┤  │ deadline       │ deadline      │
///    │                │  ├─► overdue ◄────┘               │
///    │                │  │      └─────────────────────────┤ poll, cancel
///    │                │  │ refuse                         │
///    │                │  ├─► too many ────────────────────┤ poll, cancel
///    │                │  │ pass over                      │
///    │                │  └─► too late ────────────────────┘ poll, cancel
/// ```
///
/// A queued entry has a waker and is linked. In any other, `prev` is the state, and `next` of a
/// vacant one is the next vacant one. A waiter with a deadline or for several permits keeps its
/// entry until it has learned the outcome. Its deadline is that of the wait, and after a grant,
/// that of the grant.
pub(super) struct Entry {
    waker: Option<Waker>,
    number: Seq48,
    since: Stamp,
    /// The number of permits that it asks for. In the state *too many*, the limit.
    permits: u32,
    prev: u32,
    next: u32,
    tag: Tag,
}

/// The pages of both limits tell the memory of a waiter.
const _: () = assert!(size_of::<usize>() != 8 || size_of::<Entry>() == 48);

pub(super) struct Queue {
    entries: Vec<Entry>,
    first: u32,
    last: u32,
    vacant: u32,
    /// The sequence number of the last waiter that was pushed.
    number: Seq48,
    deadlines: Heap,
    /// The number of granted entries with a deadline.
    granted: u32,
    /// The number of queued waiters that ask for several permits.
    weighted: u32,
    /// The time by which the request of each entry is to be done. As long as the highest entry that
    /// ever had one: a queue without such requests allocates none.
    done_by: Vec<Deadline>,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            first: NONE,
            last: NONE,
            vacant: NONE,
            number: BEFORE_FIRST,
            deadlines: Heap::new(),
            granted: 0,
            weighted: 0,
            done_by: Vec::new(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Appends a waiter.
    pub(super) fn push(&mut self, waker: Waker, arrival: Arrival, tag: Tag) -> WaiterKey {
        let Arrival { permits, since, deadline, done_by } = arrival;
        // So that a waiter with one of them keeps its entry.
        debug_assert!(deadline <= done_by, "the wait ends after the request");
        let number = self.number.after(1);
        self.number = number;
        let entry =
            Entry { waker: Some(waker), number, since, permits, prev: self.last, next: NONE, tag };
        let is_weighted = permits > 1;
        self.weighted += u32::from(is_weighted);

        let index = if self.vacant == NONE {
            let index = u32::try_from(self.entries.len()).expect("fewer services wait");
            self.entries.push(entry);
            index
        } else {
            let index = self.vacant;
            self.vacant = self[index].next;
            self[index] = entry;
            index
        };
        match self.last {
            NONE => self.first = index,
            last => self[last].next = index,
        }
        self.last = index;
        let has_deadline = deadline != Deadline::NEVER;
        if has_deadline {
            self.deadlines.set(index, deadline);
        }
        self.set_done_by(index, done_by);
        WaiterKey { index, number, keeps_entry: has_deadline || is_weighted }
    }

    /// Returns the number of permits that the first waiter asks for.
    pub(super) fn first_permits(&self) -> Option<u32> {
        (!self.is_empty()).then(|| self[self.first].permits)
    }

    fn set_done_by(&mut self, index: u32, done_by: Deadline) {
        let index = index as usize;
        if index >= self.done_by.len() {
            if done_by == Deadline::NEVER {
                return;
            }
            self.done_by.resize(index + 1, Deadline::NEVER);
        }
        self.done_by[index] = done_by;
    }

    /// Returns the time by which the request of the first waiter is to be done, if there is one.
    pub(super) fn first_done_by(&self) -> Option<Deadline> {
        let done_by = *self.done_by.get(self.first as usize)?;
        (done_by != Deadline::NEVER).then_some(done_by)
    }

    /// Returns the time at which the wait of the first waiter began.
    pub(super) fn first_since(&self) -> Option<Stamp> {
        (!self.is_empty()).then(|| self[self.first].since)
    }

    /// Takes the first waiter out, for its permits.
    pub(super) fn grant(&mut self, deadlines: &impl Deadlines) -> Option<Removed> {
        let (index, removed) = self.take_first()?;
        let deadline = self.deadlines.get(index);
        if deadline.is_none() && removed.permits == 1 {
            self.vacate(index);
            return Some(removed);
        }
        self[index].prev = GRANTED;
        if let Some(deadline) = deadline {
            self.granted += 1;
            self.deadlines.set(index, deadlines.of_grant(deadline));
        }
        Some(removed)
    }

    /// Takes the first waiter out, which asks for several permits and for more than `limit`.
    pub(super) fn refuse(&mut self, limit: u32) -> Option<Removed> {
        let (index, removed) = self.take_first()?;
        self.deadlines.remove(index);
        let entry = &mut self[index];
        (entry.prev, entry.permits) = (TOO_MANY, limit);
        Some(removed)
    }

    /// Takes the first waiter out, whose request could not be done in time.
    pub(super) fn pass_over(&mut self) -> Option<Removed> {
        let (index, removed) = self.take_first()?;
        self.deadlines.remove(index);
        self[index].prev = TOO_LATE;
        Some(removed)
    }

    /// Takes the first waiter out, with nothing.
    pub(super) fn dismiss(&mut self) -> Option<Removed> {
        let (index, removed) = self.take_first()?;
        self.vacate(index);
        Some(removed)
    }

    fn take_first(&mut self) -> Option<(u32, Removed)> {
        let index = self.first;
        if index == NONE {
            return None;
        }
        Some((index, self.take(index)))
    }

    /// Takes a queued waiter out. The entry's state is to be set next.
    fn take(&mut self, index: u32) -> Removed {
        let was_first = self.first == index;
        self.unlink(index);
        let entry = &mut self[index];
        let Entry { number, permits, tag, .. } = *entry;
        let removed = Removed { number, waker: entry.waker.take(), permits, tag, was_first };
        self.weighted -= u32::from(permits > 1);
        removed
    }

    /// Returns the earliest deadline, or [`Deadline::NEVER`].
    pub(super) fn earliest_deadline(&self) -> Deadline {
        self.deadlines.earliest().map_or(Deadline::NEVER, |(deadline, _)| deadline)
    }

    /// Returns a lower bound of the deadlines whose end lets waiters proceed that are polled by
    /// none of their own: those of grants, which are taken back, and of waiters for several
    /// permits, which leave what they could not use. [`Deadline::NEVER`] without any.
    pub(super) fn earliest_end(&self) -> Deadline {
        if self.granted + self.weighted > 0 { self.earliest_deadline() } else { Deadline::NEVER }
    }

    /// Takes out the waiter with the earliest deadline. `waker` of one that was granted permits is
    /// `None`: they are taken back.
    pub(super) fn remove_overdue(&mut self) -> Option<Removed> {
        let (_, index) = self.deadlines.earliest()?;
        self.end_grant(index);
        self.deadlines.remove(index);
        let removed = match self[index] {
            Entry { waker: Some(_), .. } => self.take(index),
            Entry { number, permits, .. } => {
                Removed { number, waker: None, permits, tag: Tag::NONE, was_first: false }
            }
        };
        self[index].prev = OVERDUE;
        Some(removed)
    }

    /// Frees the entry of a waiter that has left the queue and keeps it.
    pub(super) fn free(&mut self, key: &WaiterKey) {
        self.vacate(key.index);
    }

    /// Replaces the deadline of a queued waiter, if it has one.
    pub(super) fn set_deadline(&mut self, key: &WaiterKey, deadline: Deadline) {
        if self.deadlines.get(key.index).is_some() {
            self.deadlines.set(key.index, deadline);
        }
    }

    pub(super) fn state(&self, key: &WaiterKey) -> State {
        let entry = &self[key.index];
        if entry.number != key.number {
            return State::Gone;
        }
        match entry.prev {
            VACANT => State::Gone,
            GRANTED => State::Granted,
            OVERDUE => State::Overdue,
            TOO_LATE => State::TooLate,
            TOO_MANY => State::TooMany { limit: entry.permits },
            _ => State::Queued,
        }
    }

    /// Returns the number of permits that a waiter asks for, or was granted.
    pub(super) fn permits(&self, key: &WaiterKey) -> u32 {
        self[key.index].permits
    }

    /// Returns the turn of a newcomer that asks for `permits`, behind all `waiters`.
    pub(super) fn turn_of_next(&self, waiters: u32, permits: u32, limit: u32) -> Turn {
        self.turn_behind(self.last, waiters, permits, limit)
    }

    /// Returns the turn of a waiter for `permits` behind that of the entry `behind`, which is the
    /// last of the `ahead` waiters before it.
    ///
    /// Constant time, unless a waiter of the queue asks for several permits.
    fn turn_behind(&self, behind: u32, ahead: u32, permits: u32, limit: u32) -> Turn {
        if self.weighted == 0 {
            let last = u64::from(ahead) + u64::from(permits.min(limit)) - 1;
            return Turn::new(last / u64::from(limit), last % u64::from(limit) + 1);
        }
        // A waiter for more than the limit leaves without a permit.
        let permits_of = |index: u32| match self[index].permits {
            permits if permits > limit => 0,
            permits => u64::from(permits),
        };
        let backwards = || {
            let some = |index| (index != NONE).then_some(index);
            std::iter::successors(some(behind), move |&index| some(self[index].prev))
        };
        // A number above the limit by x is that of the permit x, a round later. Its waiter releases
        // it after all of its permits came, so the turn of that waiter decides.
        let mut end: u64 = backwards().map(permits_of).sum();
        let (mut rounds, mut permit) = (0, end + u64::from(permits.min(limit)));
        for index in backwards() {
            let before = end - permits_of(index);
            if permit > before + u64::from(limit) {
                (rounds, permit) = (rounds + 1, end);
            }
            end = before;
        }
        Turn::new(rounds, permit)
    }

    /// Returns the number of waiters before the first one with `tag`, and its turn.
    pub(super) fn first_with(&self, tag: Tag, limit: u32) -> Option<(u32, Turn)> {
        self.first_such(|of| of == tag, limit).map(|(_, ahead, turn)| (ahead, turn))
    }

    /// Clones the wakers of all waiters with `tag`.
    pub(super) fn wakers_with(&self, tag: Tag) -> Vec<Waker> {
        let tagged = self.queued().filter(|&index| self[index].tag == tag);
        tagged.filter_map(|index| self[index].waker.clone()).collect()
    }

    /// The queued entries, in order.
    fn queued(&self) -> impl Iterator<Item = u32> {
        let some = |index| (index != NONE).then_some(index);
        std::iter::successors(some(self.first), move |&index| some(self[index].next))
    }

    /// Returns the tag of the first waiter whose tag `accepts`, the number of waiters before it,
    /// and its turn.
    pub(super) fn first_such(
        &self,
        accepts: impl Fn(Tag) -> bool,
        limit: u32,
    ) -> Option<(Tag, u32, Turn)> {
        let (ahead, index) = (0..).zip(self.queued()).find(|&(_, at)| accepts(self[at].tag))?;
        let Entry { tag, prev, permits, .. } = self[index];
        Some((tag, ahead, self.turn_behind(prev, ahead, permits, limit)))
    }

    /// Replaces the tag of a queued waiter. Returns the tag before.
    pub(super) fn set_tag(&mut self, key: &WaiterKey, tag: Tag) -> Tag {
        std::mem::replace(&mut self[key.index].tag, tag)
    }

    /// Replaces the waker of a queued waiter by that of the task that polls now. Returns the old
    /// one, to be dropped after the lock.
    #[must_use]
    pub(super) fn set_waker(&mut self, key: &WaiterKey, waker: &Waker) -> Option<Waker> {
        let entry = &mut self[key.index];
        match &entry.waker {
            Some(known) if known.will_wake(waker) => None,
            // Cloned before anything changes: `clone` is foreign code.
            _ => entry.waker.replace(waker.clone()),
        }
    }

    /// Frees the entry of a waiter. Returns the waiter if it was queued.
    pub(super) fn cancel(&mut self, key: WaiterKey) -> Option<Removed> {
        let removed = match self.state(&key) {
            State::Queued => Some(self.take(key.index)),
            State::Granted | State::Overdue | State::TooLate | State::TooMany { .. } => None,
            State::Gone => return None,
        };
        self.vacate(key.index);
        removed
    }

    fn unlink(&mut self, index: u32) {
        let (prev, next) = (self[index].prev, self[index].next);
        match prev {
            NONE => self.first = next,
            prev => self[prev].next = next,
        }
        match next {
            NONE => self.last = prev,
            next => self[next].prev = prev,
        }
    }

    /// Counts a granted entry no more. Its deadline is removed next.
    fn end_grant(&mut self, index: u32) {
        if self[index].prev == GRANTED && self.deadlines.get(index).is_some() {
            self.granted -= 1;
        }
    }

    fn vacate(&mut self, index: u32) {
        self.end_grant(index);
        self.deadlines.remove(index);
        let next = self.vacant;
        let entry = &mut self[index];
        (entry.prev, entry.next) = (VACANT, next);
        self.vacant = index;
    }
}

impl std::ops::Index<u32> for Queue {
    type Output = Entry;

    fn index(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Queue {
    fn index_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }
}
