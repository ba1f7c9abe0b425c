//! The deadlines of the waiters of a queue, the earliest first.
//!
//! A binary heap of the entries of a [line](super::line) in which each entry knows its position. A
//! waiter that leaves takes its deadline along, so that the heap never outgrows the queue. Waiters
//! with the same `max_wait` arrive in the order of their deadlines, and an insertion in that order
//! moves nothing.
//!
//! Stands behind the [`Gate`](super::Gate)'s mutex.

use crate::clock::Nanos;

/// The position of an entry without a deadline.
const ABSENT: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Deadline {
    at: Nanos,
    entry: u32,
}

pub(super) struct Deadlines {
    heap: Vec<Deadline>,
    /// The position in the heap of each entry of the queue.
    positions: Vec<u32>,
}

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self { heap: Vec::new(), positions: Vec::new() }
    }

    /// The earliest deadline and its entry.
    pub(super) fn earliest(&self) -> Option<(Nanos, u32)> {
        self.heap.first().map(|first| (first.at, first.entry))
    }

    /// The deadline of `entry`; `None` if it has none.
    pub(super) fn of(&self, entry: u32) -> Option<Nanos> {
        self.position(entry).map(|position| self.heap[position].at)
    }

    /// Gives `entry` a deadline, in place of the one it may have.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "as many as entries, which are counted in 32 bits"
    )]
    pub(super) fn set(&mut self, entry: u32, at: Nanos) {
        let position = self.position(entry).unwrap_or_else(|| {
            let position = self.heap.len();
            if self.positions.len() <= entry as usize {
                self.positions.resize(entry as usize + 1, ABSENT);
            }
            self.positions[entry as usize] = position as u32;
            self.heap.push(Deadline { at, entry });
            position
        });
        self.heap[position].at = at;
        self.settle(position);
    }

    /// Forgets the deadline of `entry`, if it has one.
    pub(super) fn remove(&mut self, entry: u32) {
        let Some(position) = self.position(entry) else { return };
        self.positions[entry as usize] = ABSENT;
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.settle(position);
        }
    }

    fn position(&self, entry: u32) -> Option<usize> {
        let position = *self.positions.get(entry as usize)?;
        (position != ABSENT).then_some(position as usize)
    }

    /// Moves the deadline at `position` to where the order of the heap wants it.
    fn settle(&mut self, mut position: usize) {
        while let Some(parent) = position.checked_sub(1).map(|above| above / 2) {
            if self.heap[parent].at <= self.heap[position].at {
                break;
            }
            self.exchange(position, parent);
            position = parent;
        }
        loop {
            let (left, right) = (2 * position + 1, 2 * position + 2);
            let child = match (self.heap.get(left), self.heap.get(right)) {
                (Some(one), Some(other)) if other.at < one.at => right,
                (Some(_), _) => left,
                (None, _) => break,
            };
            if self.heap[position].at <= self.heap[child].at {
                break;
            }
            self.exchange(position, child);
            position = child;
        }
        self.note(position);
    }

    fn exchange(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.note(one);
        self.note(other);
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "as many as entries, which are counted in 32 bits"
    )]
    fn note(&mut self, position: usize) {
        self.positions[self.heap[position].entry as usize] = position as u32;
    }
}
