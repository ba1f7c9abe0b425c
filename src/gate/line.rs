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

use super::bells::BellId;
use crate::count::Count;

/// No entry.
const NONE: u32 = u32::MAX;

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
}

impl Ticket {
    pub(super) const fn number(&self) -> Count {
        self.number
    }
}

/// Somebody at the head who was called. To be woken once the lock is free; its bell waits for it no more.
pub(super) struct Called {
    pub(super) number: Count,
    pub(super) waker: Waker,
    pub(super) bell: BellId,
}

/// Somebody who has left the line.
pub(super) struct Left {
    /// To be dropped once the lock is free.
    pub(super) waker: Option<Waker>,
    pub(super) bell: BellId,
    pub(super) was_head: bool,
}

/// An entry of the line. It is *waiting* (it has a waker, and is linked), or *vacant* (it has none, and its `next`
/// is the next vacant one).
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
}

impl Line {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), head: NONE, tail: NONE, vacant: NONE, last: NOBODY }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Joins at the end.
    pub(super) fn join(&mut self, waker: Waker) -> Ticket {
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
        Ticket { index, number }
    }

    /// Calls the one at the head, who is in the line no more.
    pub(super) fn call(&mut self) -> Option<Called> {
        let index = self.head;
        if index == NONE {
            return None;
        }
        let entry = &mut self[index];
        let (number, bell) = (entry.number(), entry.bell);
        let waker = entry.waker.take()?;
        self.unlink(index);
        self.vacate(index);
        Some(Called { number, waker, bell })
    }

    /// Does the owner of `ticket` wait? If not, it was called.
    pub(super) fn is_waiting(&self, ticket: &Ticket) -> bool {
        let entry = &self[ticket.index];
        entry.waker.is_some() && entry.number() == ticket.number
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

    /// Leaves, unless called meanwhile.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Left> {
        if !self.is_waiting(&ticket) {
            return None;
        }
        let index = ticket.index;
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
        self[index].next = self.vacant;
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
