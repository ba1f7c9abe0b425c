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

/// No entry.
const NONE: u32 = u32::MAX;

/// Whoever joined a line holds one of these until it takes its turn or leaves, which is when the ticket
/// has served and is to be dropped.
///
/// It can be neither copied nor made up, so until then it names the entry it was made for; that is why
/// the entries need no generation.
#[derive(Debug)]
#[must_use = "a ticket that is dropped leaves its entry in the line for ever"]
pub(crate) struct Ticket(u32);

/// What those at the head are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It is your turn: you hold a place.
    Enter,
    /// There will be no turn: the gate is closed.
    Dismiss,
}

/// Somebody who has left the line.
pub(super) struct Left {
    /// To be dropped once the lock is free.
    pub(super) waker: Option<Waker>,
    pub(super) bell: BellId,
    pub(super) was_head: bool,
}

/// An entry of the line. It is *waiting* (it has a waker, and is linked), *called* (it has its call, and is linked no
/// more), or *vacant* (it has neither, and its `next` is the next vacant one).
pub(super) struct Waiter {
    waker: Option<Waker>,
    call: Option<Call>,
    /// Who looks on behalf of the owner.
    bell: BellId,
    /// Counts those who joined; the distance to the head's bounds the number of those before.
    number: u32,
    prev: u32,
    next: u32,
}

pub(super) struct Line {
    entries: Vec<Waiter>,
    head: u32,
    tail: u32,
    vacant: u32,
    /// Wraps: at the second who joins, so that it is no rare case.
    joined: u32,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), head: NONE, tail: NONE, vacant: NONE, joined: u32::MAX }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Joins at the end.
    pub(super) fn join(&mut self, waker: Waker) -> Ticket {
        let waiter = Waiter {
            waker: Some(waker),
            call: None,
            bell: BellId::NONE,
            number: self.joined,
            prev: self.tail,
            next: NONE,
        };
        self.joined = self.joined.wrapping_add(1);

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
        Ticket(index)
    }

    /// Calls the one at the head. Its waker is to be woken once the lock is free, and its bell waits for
    /// it no more.
    pub(super) fn call(&mut self, call: Call) -> Option<(Waker, BellId)> {
        let index = self.head;
        if index == NONE {
            return None;
        }
        self.unlink(index);
        let entry = &mut self[index];
        entry.call = Some(call);
        entry.waker.take().map(|waker| (waker, entry.bell))
    }

    /// Does the owner of `ticket` wait?
    pub(super) fn is_waiting(&self, ticket: &Ticket) -> bool {
        self[ticket.0].call.is_none()
    }

    /// Was the owner of `ticket` called? If so, the ticket has served.
    pub(super) fn called(&mut self, ticket: &Ticket) -> Option<Call> {
        let call = self[ticket.0].call?;
        self.vacate(ticket.0);
        Some(call)
    }

    /// How many stand before `ticket`, at most: those who gave up in between are still counted, but
    /// for the head itself it is always 0.
    pub(super) fn position(&self, ticket: &Ticket) -> u32 {
        self.distance(ticket.0)
    }

    fn distance(&self, index: u32) -> u32 {
        if self.head == NONE {
            return 0;
        }
        self[index].number.wrapping_sub(self[self.head].number)
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
        std::mem::replace(&mut self[ticket.0].bell, bell)
    }

    /// Waits on, perhaps in another task than before. The old waker is to be dropped once the lock
    /// is free.
    #[must_use]
    pub(super) fn wait_on(&mut self, ticket: &Ticket, waker: &Waker) -> Option<Waker> {
        let waiter = &mut self[ticket.0];
        match &waiter.waker {
            Some(known) if known.will_wake(waker) => None,
            // Cloned before anything is changed: it is foreign code.
            _ => waiter.waker.replace(waker.clone()),
        }
    }

    /// Leaves: `Ok` if still waiting, `Err` with the call if there was one meanwhile.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Result<Left, Call> {
        if let Some(call) = self.called(&ticket) {
            return Err(call);
        }
        let was_head = self.head == ticket.0;
        self.unlink(ticket.0);
        let entry = &mut self[ticket.0];
        let left = Left { waker: entry.waker.take(), bell: entry.bell, was_head };
        self.vacate(ticket.0);
        Ok(left)
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
        let vacant = self.vacant;
        let entry = &mut self[index];
        entry.call = None;
        entry.next = vacant;
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
