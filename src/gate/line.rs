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

use crate::clock::Nanos;

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

/// An entry of the line. It is *waiting* (it has a waker, and is linked), *called* (it has its call, and is linked no
/// more), or *vacant* (it has neither, and its `next` is the next vacant one).
pub(super) struct Waiter {
    waker: Option<Waker>,
    call: Option<Call>,
    /// When the owner will look again by itself.
    alarm: Nanos,
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
    pub(super) fn join(&mut self, waker: Waker, alarm: Nanos) -> Ticket {
        let waiter = Waiter {
            waker: Some(waker),
            call: None,
            alarm,
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

    /// Calls the one at the head. Its waker is to be woken once the lock is free.
    pub(super) fn call(&mut self, call: Call) -> Option<Waker> {
        let index = self.head;
        if index == NONE {
            return None;
        }
        self.unlink(index);
        self[index].call = Some(call);
        self[index].waker.take()
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
        if self.head == NONE {
            return 0;
        }
        self[ticket.0].number.wrapping_sub(self[self.head].number)
    }

    /// Waits on, perhaps in another task than before. The old waker is to be dropped once the lock
    /// is free.
    #[must_use]
    pub(super) fn wait_on(
        &mut self,
        ticket: &Ticket,
        waker: &Waker,
        alarm: Nanos,
    ) -> Option<Waker> {
        let waiter = &mut self[ticket.0];
        let old = match &waiter.waker {
            Some(known) if known.will_wake(waker) => None,
            // Cloned before anything is changed: it is foreign code.
            _ => waiter.waker.replace(waker.clone()),
        };
        waiter.alarm = alarm;
        old
    }

    /// Leaves: `Ok` with the waker (to be dropped once the lock is free) if still waiting, `Err` with
    /// the call if there was one meanwhile.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Result<Option<Waker>, Call> {
        if let Some(call) = self.called(&ticket) {
            return Err(call);
        }
        self.unlink(ticket.0);
        let waker = self[ticket.0].waker.take();
        self.vacate(ticket.0);
        Ok(waker)
    }

    /// The head's waker, if the head would look again only after `due`; it counts as told.
    pub(super) fn rouse_head(&mut self, due: Nanos) -> Option<Waker> {
        let index = self.head;
        if index == NONE || self[index].alarm <= due {
            return None;
        }
        let waker = self[index].waker.clone(); // before anything is changed: it is foreign code
        self[index].alarm = due;
        waker
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
