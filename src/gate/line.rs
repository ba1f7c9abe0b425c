//! CORE: the line of those who wait. First come, first served; whoever gives up leaves in one step.
//!
//! A doubly linked list through the entries of a `Vec`, so that the head is called, the tail joined
//! and any place in between given up in constant time. Entries are used again, so that waiting
//! allocates nothing once the line has been as long before.
//!
//! Lives behind the [`Gate`](super::Gate)'s mutex. **No waker is dropped in here**: dropping one may
//! drop the last reference to a task, with it a service that stands in this very line, and so take
//! the same mutex again. Every waker that has served is handed out, to be woken or dropped once the
//! lock is free.

use std::task::Waker;

use super::{GRACE, bells::BellId, deadlines::Deadlines};
use crate::{clock::Nanos, count::Count};

/// No entry.
const NONE: u32 = u32::MAX;
/// In the place of the entry before, the state of an entry that is not in the queue.
const VACANT: u32 = u32::MAX - 1;
/// As [`VACANT`].
const GRANTED: u32 = u32::MAX - 2;
/// As [`VACANT`].
const EXPIRED: u32 = u32::MAX - 3;

/// The number before the first. The second who joins is number 0.
pub(super) const NOBODY: Count = Count::below(2);

/// Whoever joined a line holds one of these until it takes its turn or leaves, which is when the ticket
/// has served and is to be dropped.
///
/// It names an entry for as long as that has its number; from then on it says that its owner was called.
#[derive(Debug)]
#[must_use = "a ticket that is dropped leaves its entry in the line until it is called"]
pub(crate) struct Ticket {
    index: u32,
    number: Count,
    /// Has the waiter a deadline? Then its outcome is known to its entry alone.
    pub(super) has_deadline: bool,
}

impl Ticket {
    pub(super) const fn number(&self) -> Count {
        self.number
    }
}

/// The state of the waiter that holds a ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the queue.
    Waiting,
    /// Has a deadline, and was granted a permit that it has not acquired yet.
    Granted,
    /// Past its deadline, and out of the queue.
    Expired,
    /// The entry is another waiter's, or vacant: without a deadline the waiter was granted a permit,
    /// or the queue was closed.
    Gone,
}

/// Somebody at the head who was called. To be woken once the lock is free; its bell waits for it no more.
pub(super) struct Called {
    pub(super) number: Count,
    pub(super) waker: Waker,
    pub(super) bell: BellId,
}

/// A waiter past its deadline that was taken out.
pub(super) struct Expired {
    /// To be dropped once the lock is free. A waiter that had been granted a permit has none.
    pub(super) waker: Option<Waker>,
    pub(super) bell: BellId,
    /// Was it in the queue? Otherwise it leaves a permit behind.
    pub(super) was_waiting: bool,
}

/// Somebody who has left the line.
pub(super) struct Left {
    /// To be dropped once the lock is free.
    pub(super) waker: Option<Waker>,
    pub(super) bell: BellId,
    pub(super) was_head: bool,
}

/// An entry of the line.
///
/// ```text
///             join             call, no deadline
///  vacant ───────────► waiting ─────────────────► vacant
///    ▲                  │   │ call                  ▲
///    │ leave            │   └────────► granted ─────┤ leave
///    └──────────────────┤                 │         │
///                       │ expire          │ expire  │
///                       └────► expired ◄──┘         │
///                                 └─────────────────┘ leave
/// ```
///
/// An entry that waits has a waker and is linked. In one that does not, `prev` says the state, and of a
/// vacant one `next` is the next vacant one. A waiter with a deadline keeps its entry until it has
/// learned the outcome. Its deadline is that of the wait, and once it is granted a permit, that of the
/// grant: see [`GRACE`].
///
/// 32 bytes: two in a cache line, and none in two. That is why the number comes in pieces.
pub(super) struct Waiter {
    waker: Option<Waker>,
    number_low: u32,
    number_high: u16,
    /// Who looks on behalf of the owner.
    bell: BellId,
    prev: u32,
    next: u32,
}

const _: () = assert!(size_of::<usize>() != 8 || size_of::<Waiter>() == 32);

impl Waiter {
    const fn number(&self) -> Count {
        Count::of((self.number_high as u64) << u32::BITS | self.number_low as u64)
    }
}

pub(super) struct Line {
    entries: Vec<Waiter>,
    head: u32,
    tail: u32,
    vacant: u32,
    /// The number of the last who joined.
    last: Count,
    deadlines: Deadlines,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            head: NONE,
            tail: NONE,
            vacant: NONE,
            last: NOBODY,
            deadlines: Deadlines::new(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Joins at the end, until `deadline` ([`NEVER`](Nanos::NEVER) for none).
    pub(super) fn join(&mut self, waker: Waker, deadline: Nanos) -> Ticket {
        let number = self.last.after(1);
        self.last = number;
        #[allow(clippy::cast_possible_truncation, reason = "put together again in `number`")]
        let waiter = Waiter {
            waker: Some(waker),
            number_low: number.get() as u32,
            number_high: (number.get() >> u32::BITS) as u16,
            bell: BellId::NONE,
            prev: self.tail,
            next: NONE,
        };

        let index = if self.vacant == NONE {
            let index = u32::try_from(self.entries.len()).expect("the word counts fewer");
            self.entries.push(waiter);
            index
        } else {
            let index = self.vacant;
            self.vacant = self[index].next;
            self[index] = waiter;
            index
        };
        match self.tail {
            NONE => self.head = index,
            tail => self[tail].next = index,
        }
        self.tail = index;
        let has_deadline = deadline != Nanos::NEVER;
        if has_deadline {
            self.deadlines.set(index, deadline);
        }
        Ticket { index, number, has_deadline }
    }

    /// Calls the one at the head, who is in the line no more.
    ///
    /// If it has a deadline, what it was granted is its own for a while longer than that.
    pub(super) fn call(&mut self) -> Option<Called> {
        let (index, called) = self.take_head()?;
        match self.deadlines.of(index) {
            None => self.vacate(index),
            Some(deadline) => {
                self[index].prev = GRANTED;
                self.deadlines.set(index, deadline.after(GRACE));
            }
        }
        Some(called)
    }

    /// Sends the one at the head away with nothing.
    pub(super) fn dismiss(&mut self) -> Option<Called> {
        let (index, called) = self.take_head()?;
        self.vacate(index);
        Some(called)
    }

    fn take_head(&mut self) -> Option<(u32, Called)> {
        let index = self.head;
        if index == NONE {
            return None;
        }
        let entry = &mut self[index];
        let (number, bell) = (entry.number(), entry.bell);
        let waker = entry.waker.take()?;
        self.unlink(index);
        Some((index, Called { number, waker, bell }))
    }

    /// The earliest deadline, or [`NEVER`](Nanos::NEVER).
    pub(super) fn earliest(&self) -> Nanos {
        self.deadlines.earliest().map_or(Nanos::NEVER, |(at, _)| at)
    }

    /// Takes out the waiter with the earliest deadline, which has passed.
    pub(super) fn expire(&mut self) -> Option<Expired> {
        let (_, index) = self.deadlines.earliest()?;
        self.deadlines.remove(index);
        let entry = &mut self[index];
        let (waker, bell) = (entry.waker.take(), entry.bell);
        let was_waiting = waker.is_some();
        if was_waiting {
            self.unlink(index);
        }
        self[index].prev = EXPIRED;
        Some(Expired { waker, bell, was_waiting })
    }

    /// Gives back the entry of the owner of `ticket`, which acquires the permit it was granted.
    pub(super) fn acquire(&mut self, ticket: &Ticket) {
        self.vacate(ticket.index);
    }

    /// Gives the owner of `ticket`, who waits, another deadline.
    pub(super) fn extend(&mut self, ticket: &Ticket, deadline: Nanos) {
        self.deadlines.set(ticket.index, deadline);
    }

    /// The state of the owner of `ticket`.
    pub(super) fn place(&self, ticket: &Ticket) -> Place {
        let entry = &self[ticket.index];
        if entry.number() != ticket.number {
            return Place::Gone;
        }
        match entry.prev {
            VACANT => Place::Gone,
            GRANTED => Place::Granted,
            EXPIRED => Place::Expired,
            _ => Place::Waiting,
        }
    }

    /// Does the owner of `ticket` wait? If not, it was called.
    pub(super) fn is_waiting(&self, ticket: &Ticket) -> bool {
        self.place(ticket) == Place::Waiting
    }

    /// How many stand before `ticket`, at most: those who gave up in between are still counted, but
    /// for the head itself it is always 0.
    pub(super) fn position(&self, ticket: &Ticket) -> u32 {
        self.distance(ticket.index)
    }

    fn distance(&self, index: u32) -> u32 {
        if self.head == NONE {
            return 0;
        }
        self[index].number().since(self[self.head].number())
    }

    /// How many stand before the first who waits for `bell`, at most; `None` if nobody does.
    pub(super) fn first_of(&self, bell: BellId) -> Option<u32> {
        let mut waiting = self.waiting();
        waiting.find(|&index| self[index].bell == bell).map(|index| self.distance(index))
    }

    /// The wakers of all who wait for `bell`.
    pub(super) fn wakers_of(&self, bell: BellId) -> Vec<Waker> {
        let of_bell = self.waiting().filter(|&index| self[index].bell == bell);
        of_bell.filter_map(|index| self[index].waker.clone()).collect()
    }

    /// Those who wait, in order.
    fn waiting(&self) -> impl Iterator<Item = u32> {
        let some = |index| (index != NONE).then_some(index);
        std::iter::successors(some(self.head), move |&index| some(self[index].next))
    }

    /// The bell that the head waits for.
    pub(super) fn head_bell(&self) -> BellId {
        if self.head == NONE { BellId::NONE } else { self[self.head].bell }
    }

    /// Lets the owner of `ticket` wait for `bell`. Returns the one it has waited for.
    pub(super) fn wait_for(&mut self, ticket: &Ticket, bell: BellId) -> BellId {
        std::mem::replace(&mut self[ticket.index].bell, bell)
    }

    /// Waits on, perhaps in another task than before. The old waker is to be dropped once the lock
    /// is free.
    #[must_use]
    pub(super) fn wait_on(&mut self, ticket: &Ticket, waker: &Waker) -> Option<Waker> {
        let waiter = &mut self[ticket.index];
        match &waiter.waker {
            Some(known) if known.will_wake(waker) => None,
            // Cloned before anything is changed: it is foreign code.
            _ => waiter.waker.replace(waker.clone()),
        }
    }

    /// Leaves, unless called meanwhile. The entry is given back in any case.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Left> {
        let index = ticket.index;
        match self.place(&ticket) {
            Place::Waiting => {}
            Place::Granted | Place::Expired => {
                self.vacate(index);
                return None;
            }
            Place::Gone => return None,
        }
        let was_head = self.head == index;
        self.unlink(index);
        let entry = &mut self[index];
        let left = Left { waker: entry.waker.take(), bell: entry.bell, was_head };
        self.vacate(index);
        Some(left)
    }

    fn unlink(&mut self, index: u32) {
        let (prev, next) = (self[index].prev, self[index].next);
        match prev {
            NONE => self.head = next,
            prev => self[prev].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => self[next].prev = prev,
        }
    }

    fn vacate(&mut self, index: u32) {
        self.deadlines.remove(index);
        let next = self.vacant;
        let entry = &mut self[index];
        (entry.prev, entry.next) = (VACANT, next);
        self.vacant = index;
    }
}

impl std::ops::Index<u32> for Line {
    type Output = Waiter;

    fn index(&self, index: u32) -> &Waiter {
        &self.entries[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Line {
    fn index_mut(&mut self, index: u32) -> &mut Waiter {
        &mut self.entries[index as usize]
    }
}
