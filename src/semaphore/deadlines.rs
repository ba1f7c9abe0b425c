//! The deadlines of queued waiters, the earliest first.
//!
//! A binary heap of queue entries in which each entry knows its position. A waiter that leaves the
//! queue takes its deadline out of the heap, so the heap is never longer than the entries. Waiters
//! with the same `max_wait` arrive in the order of their deadlines, and insertions in that order
//! move nothing.

/// The deadline of a waiter: an ordered key. Its limiter gives it a meaning, by [`Deadlines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// No deadline: later than any.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) const fn new(key: u64) -> Self {
        Self(key)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// The meaning of deadlines.
pub(crate) trait Deadlines {
    /// Returns true if `deadline` has passed.
    fn has_passed(&self, deadline: Deadline) -> bool;

    /// Returns the deadline for acquiring a permit that is granted to a waiter with `deadline`.
    fn of_grant(&self, deadline: Deadline) -> Deadline;

    /// Returns true if a request that is to be done by this time would be late with a permit of
    /// this moment. By default, it never is.
    fn is_too_late(&self, done_by: Deadline) -> bool {
        let _ = done_by;
        false
    }
}

/// The position of an entry without a deadline.
const ABSENT: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    deadline: Deadline,
    entry: u32,
}

pub(super) struct Heap {
    nodes: Vec<Node>,
    /// The position in `nodes` of each queue entry.
    positions: Vec<u32>,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), positions: Vec::new() }
    }

    /// Returns the earliest deadline and its entry.
    pub(super) fn earliest(&self) -> Option<(Deadline, u32)> {
        self.nodes.first().map(|first| (first.deadline, first.entry))
    }

    /// Returns the deadline of `entry`, or `None` without one.
    pub(super) fn get(&self, entry: u32) -> Option<Deadline> {
        self.position(entry).map(|position| self.nodes[position].deadline)
    }

    /// Sets or replaces the deadline of `entry`.
    #[allow(clippy::cast_possible_truncation, reason = "entries are counted in 32 bits")]
    pub(super) fn set(&mut self, entry: u32, deadline: Deadline) {
        let position = self.position(entry).unwrap_or_else(|| {
            let position = self.nodes.len();
            if self.positions.len() <= entry as usize {
                self.positions.resize(entry as usize + 1, ABSENT);
            }
            self.positions[entry as usize] = position as u32;
            self.nodes.push(Node { deadline, entry });
            position
        });
        self.nodes[position].deadline = deadline;
        self.sift(position);
    }

    /// Removes the deadline of `entry`, if it has one.
    pub(super) fn remove(&mut self, entry: u32) {
        let Some(position) = self.position(entry) else { return };
        self.positions[entry as usize] = ABSENT;
        self.nodes.swap_remove(position);
        if position < self.nodes.len() {
            self.sift(position);
        }
    }

    fn position(&self, entry: u32) -> Option<usize> {
        let position = *self.positions.get(entry as usize)?;
        (position != ABSENT).then_some(position as usize)
    }

    /// Moves the node at `position` up or down until the heap is in order.
    fn sift(&mut self, mut position: usize) {
        while let Some(parent) = position.checked_sub(1).map(|above| above / 2) {
            if self.nodes[parent].deadline <= self.nodes[position].deadline {
                break;
            }
            self.exchange(position, parent);
            position = parent;
        }
        loop {
            let (left, right) = (2 * position + 1, 2 * position + 2);
            let child = match (self.nodes.get(left), self.nodes.get(right)) {
                (Some(one), Some(other)) if other.deadline < one.deadline => right,
                (Some(_), _) => left,
                (None, _) => break,
            };
            if self.nodes[position].deadline <= self.nodes[child].deadline {
                break;
            }
            self.exchange(position, child);
            position = child;
        }
        self.record(position);
    }

    fn exchange(&mut self, one: usize, other: usize) {
        self.nodes.swap(one, other);
        self.record(one);
        self.record(other);
    }

    #[allow(clippy::cast_possible_truncation, reason = "entries are counted in 32 bits")]
    fn record(&mut self, position: usize) {
        self.positions[self.nodes[position].entry as usize] = position as u32;
    }
}
