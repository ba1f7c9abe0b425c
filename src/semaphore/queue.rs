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
    /// With a deadline, the entry alone tells the outcome of the wait.
    pub(super) has_deadline: bool,
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

/// The state of the waiter of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In the queue.
    Queued,
    /// Has a deadline, and was granted a permit that it has not acquired yet.
    Granted,
    /// The deadline of its wait, or of its grant, has passed.
    Overdue,
    /// The entry is vacant or another waiter's. Without a deadline, the waiter was granted a
    /// permit, or dismissed. With one, it was dismissed.
    Gone,
}

/// A waiter that has left the queue.
pub(super) struct Removed {
    pub(super) number: Seq48,
    /// To be woken or dropped after the lock. `None` for a waiter that was granted a permit before.
    pub(super) waker: Option<Waker>,
    pub(super) tag: Tag,
    pub(super) was_first: bool,
}

/// An entry of the queue.
///
/// ```text
///            push                 grant, no deadline
///  vacant ─────────► queued ──────────────────────────► vacant
///    ▲                │  │ grant                          ▲
///    │ cancel,        │  └───────────► granted ───────────┤ poll, cancel
///    │ dismiss        │                   │               │
///    ├────────────────┤ deadline          │ deadline      │
///    │                └────► overdue ◄────┘               │
///    │                          └─────────────────────────┘ poll, cancel
/// ```
///
/// A queued entry has a waker and is linked. In any other, `prev` is the state, and `next` of a
/// vacant one is the next vacant one. A waiter with a deadline keeps its entry until it has learned
/// the outcome. Its deadline is that of the wait, and after a grant, that of the grant.
///
/// 32 bytes, so that two entries fill a cache line. The sequence number is split to fit.
pub(super) struct Entry {
    waker: Option<Waker>,
    number_low: u32,
    number_high: u16,
    tag: Tag,
    prev: u32,
    next: u32,
}

const _: () = assert!(size_of::<usize>() != 8 || size_of::<Entry>() == 32);

impl Entry {
    const fn number(&self) -> Seq48 {
        Seq48::of((self.number_high as u64) << u32::BITS | self.number_low as u64)
    }
}

pub(super) struct Queue {
    entries: Vec<Entry>,
    first: u32,
    last: u32,
    vacant: u32,
    /// The sequence number of the last waiter that was pushed.
    number: Seq48,
    deadlines: Heap,
    /// The number of granted entries.
    granted: u32,
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
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Appends a waiter until `deadline` ([`Deadline::NEVER`] for none).
    pub(super) fn push(&mut self, waker: Waker, deadline: Deadline, tag: Tag) -> WaiterKey {
        let number = self.number.after(1);
        self.number = number;
        #[allow(clippy::cast_possible_truncation, reason = "the inverse of `number`")]
        let entry = Entry {
            waker: Some(waker),
            number_low: number.get() as u32,
            number_high: (number.get() >> u32::BITS) as u16,
            tag,
            prev: self.last,
            next: NONE,
        };

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
        WaiterKey { index, number, has_deadline }
    }

    /// Takes the first waiter out, for a permit. One with a deadline keeps its entry until it has
    /// learned the outcome.
    pub(super) fn grant(&mut self, deadlines: &impl Deadlines) -> Option<Removed> {
        let (index, removed) = self.take_first()?;
        match self.deadlines.get(index) {
            None => self.vacate(index),
            Some(deadline) => {
                self[index].prev = GRANTED;
                self.granted += 1;
                self.deadlines.set(index, deadlines.of_grant(deadline));
            }
        }
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
        Removed { number: entry.number(), waker: entry.waker.take(), tag: entry.tag, was_first }
    }

    /// Returns the earliest deadline, or [`Deadline::NEVER`].
    pub(super) fn earliest_deadline(&self) -> Deadline {
        self.deadlines.earliest().map_or(Deadline::NEVER, |(deadline, _)| deadline)
    }

    /// Returns a lower bound of the deadlines of grants; [`Deadline::NEVER`] without a grant.
    pub(super) fn earliest_grant(&self) -> Deadline {
        if self.granted > 0 { self.earliest_deadline() } else { Deadline::NEVER }
    }

    /// Takes out the waiter with the earliest deadline. `waker` of one that was granted a permit is
    /// `None`: the permit is taken back.
    pub(super) fn remove_overdue(&mut self) -> Option<Removed> {
        let (_, index) = self.deadlines.earliest()?;
        self.deadlines.remove(index);
        let removed = match &self[index] {
            Entry { waker: Some(_), .. } => self.take(index),
            entry => {
                Removed { number: entry.number(), waker: None, tag: Tag::NONE, was_first: false }
            }
        };
        self.end_grant(index);
        self[index].prev = OVERDUE;
        Some(removed)
    }

    /// Frees the entry of a waiter that was granted a permit, or is overdue.
    pub(super) fn free(&mut self, key: &WaiterKey) {
        self.vacate(key.index);
    }

    /// Replaces the deadline of a queued waiter.
    pub(super) fn set_deadline(&mut self, key: &WaiterKey, deadline: Deadline) {
        self.deadlines.set(key.index, deadline);
    }

    pub(super) fn state(&self, key: &WaiterKey) -> State {
        let entry = &self[key.index];
        if entry.number() != key.number {
            return State::Gone;
        }
        match entry.prev {
            VACANT => State::Gone,
            GRANTED => State::Granted,
            OVERDUE => State::Overdue,
            _ => State::Queued,
        }
    }

    /// Returns the position of the first waiter with `tag`: an upper bound of the number of waiters
    /// before it. It counts waiters in between that were cancelled, and is exact for the first.
    pub(super) fn first_with(&self, tag: Tag) -> Option<u32> {
        self.first_such(|of| of == tag).map(|(_, ahead)| ahead)
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

    /// Returns the tag of the first waiter whose tag `accepts`, and its position.
    pub(super) fn first_such(&self, accepts: impl Fn(Tag) -> bool) -> Option<(Tag, u32)> {
        let index = self.queued().find(|&index| accepts(self[index].tag))?;
        Some((self[index].tag, self[index].number().since(self[self.first].number())))
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
            State::Granted | State::Overdue => None,
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

    /// Counts a granted entry no more.
    fn end_grant(&mut self, index: u32) {
        if self[index].prev == GRANTED {
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
