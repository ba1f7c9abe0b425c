//! CORE: makes room in a full [log](super).
//!
//! Checkpoints accumulate when the stride changes with the limit: a thousand changes in a window
//! record a thousand. A full log would record nothing for up to a window, so it is thinned first. A
//! checkpoint may be left out for a later one: its permits then expire by the later time.
//!
//! ```text
//!                     expired
//!          ◄────────────────────────►
//!  before   (4, 10) (8, 26) (12, 31) │ (13, 64)  (14, 66) (15, 67) │ (16, 90) │
//!  after                    (12, 31) │                    (15, 67) │ (16, 90) │
//!                                    └─────── cell 64 to 71 ────────┘
//! ```
//!
//! Of the expired checkpoints, the latest stays. The time axis of the others is cut into cells of
//! 2^k nanoseconds, as small as there is room for, and the latest checkpoint of each cell stays. No
//! permit expires later by more than the 190th of a window, however often the log is thinned.
//!
//! # Races
//!
//! Before an entry changes, `oldest` is moved to a number that no slot carries. To a thread that
//! expires permits, the log is empty then, and to a thread that records, it is full.
//!
//! - *Another thread has read an entry before.* Its step on `oldest` fails, because `oldest` has
//!   moved, and its next reading finds no entry.
//! - *A slot is claimed and not yet written.* The log is left as it is, because that entry would
//!   have to be moved.

use std::time::Duration;

use super::{AWAY, Log, Pair, used};
use crate::{
    sync::Ordering::{Relaxed, Release},
    time::{Nanos, nanos},
};

impl Log {
    /// Leaves out checkpoints for later ones, until a quarter of the ring is free. Returns true if
    /// there is room.
    ///
    /// `is_expired` tells whether the permits of a checkpoint have expired by now, `is_same`
    /// whether those of two checkpoints that lie close together expire at nearly the same time.
    /// Called by one thread at a time.
    pub(in super::super) fn thin(
        &self,
        window: Duration,
        is_expired: impl Fn(Nanos) -> bool,
        is_same: impl Fn(Nanos, Nanos) -> bool,
    ) -> bool {
        let (oldest, newest) = self.ends();
        let away = Pair { slot: oldest.slot.wrapping_add(AWAY), ..oldest };
        // From this step on, no permit expires: a thread that has read the old `oldest` replaces
        // the same value, and only one of the two steps succeeds. A slot that is claimed later has
        // a number of at least `newest`, which is not written here. Relaxed: a thread that sees one
        // of the entries changed below sees this step too, by the Release of its mark.
        if self.oldest.compare_exchange(oldest.pack(), away.pack(), Relaxed, Relaxed).is_err() {
            return true; // another thread has just made room
        }
        let first = self.leave_out(oldest.slot, newest.slot, window, is_expired, is_same);
        // Release: a reader of this number reads the entries as they were left.
        let left = Pair { slot: first, ..oldest };
        self.oldest.store(left.pack(), Release);
        used(left, newest) < self.slots.len()
    }

    /// Returns the number of the oldest entry that is left.
    fn leave_out(
        &self,
        oldest: u16,
        newest: u16,
        window: Duration,
        is_expired: impl Fn(Nanos) -> bool,
        is_same: impl Fn(Nanos, Nanos) -> bool,
    ) -> u16 {
        let used = newest.wrapping_sub(oldest);
        let numbers = || (1..=used).map(|back| newest.wrapping_sub(back));
        if numbers().any(|number| self.entry(number).is_none()) {
            return oldest; // one is not written yet
        }
        // From the newest on, the entries that stay: the latest of each cell, and the latest of
        // all that are over.
        let (is_expired, is_same) = (&is_expired, &is_same);
        let latest = |cell: u32| {
            let mut newer: Option<Nanos> = None;
            let entries = numbers().filter_map(|number| self.entry(number));
            entries.filter(move |&(_, time)| {
                let is_in = |newer: Nanos| newer.get() >> cell == time.get() >> cell;
                let is_covered =
                    |newer| is_expired(newer) || (is_in(newer) && is_same(time, newer));
                let stays = !newer.is_some_and(is_covered);
                newer = Some(time);
                stays
            })
        };
        let most = self.slots.len() * 3 / 4;
        // The size of a cell is a power of two, so each cell lies within one of the next size,
        // whatever the window: a checkpoint that was left out for a later one is in the same cell.
        // The largest size is the smallest of which a window has no more cells than entries stay.
        let cells = most.saturating_sub(2).max(1) as u64;
        let largest = nanos(window).div_ceil(cells).next_power_of_two().trailing_zeros();
        let mut sizes = [0].into_iter().chain(largest.saturating_sub(3)..largest);
        let cell = sizes.find(|&cell| latest(cell).count() <= most).unwrap_or(largest);
        // Entries move only towards newer slots, so each is read before it is overwritten.
        let mut slot = newest;
        for (issues, time) in latest(cell) {
            slot = slot.wrapping_sub(1);
            self.write(slot, issues, time);
        }
        slot
    }
}
