//! CORE: the log of issues, which tells when the places they hold come back.
//!
//! Issues are counted for ever. Now and then somebody notes an *observation*: "by this time, so many
//! had been issued". The time is read after the count, so every issue below the count happened no
//! later than the time noted. That alone makes the log safe: whoever gives the places below a count
//! back after a whole window has passed since its time gives back none too early. When observations
//! are made, by whom, and how many are left out only decides how late places come back.
//!
//! Observations stand in a ring, oldest first, with growing counts. The ring is a bounded queue of
//! many writers and many readers in which every slot carries the sequence number of its entry (the
//! idea of D. Vyukov's bounded MPMC queue), so that a slot needs no clearing and a half-written one is
//! told from a whole one.
//!
//! ```text
//!  newest: | number of the next slot to write | issues observed |   one step claims a slot and
//!  oldest: | number of the next slot to read  | issues retired  |   says how far it reaches
//!  slot:   | its number | issues |   and   | time |
//! ```
//!
//! [Counts](Count) have 48 bits and numbers 16, and both wrap. Numbers that are compared are less than twice the
//! size of the ring apart. Both begin shortly before they wrap: the third issue goes across.
//!
//! # Races, and why they are none
//!
//! - *Two observe at once.* The slots are claimed in the order of their counts: whoever finds a count
//!   at or beyond its own noted leaves it at that. The other's time was read after the other's count,
//!   so it holds for the issues of both.
//! - *A slot is claimed and not yet written* (its writer was preempted). Its number is not yet there,
//!   so nothing is read from it or from any behind it: places come back late.
//! - *A slot is written over while it is read.* A writer waits for the reader's step on `oldest`; a
//!   reader that finds `oldest` moved throws away what it read. (One that only estimates may see the
//!   later time: it covers the earlier issues, too.)
//! - *Two retire at once.* The step on `oldest` names the slot and how far has been retired, so each
//!   place comes back by one of them.
//! - *A reader with an old time.* It finds less to be due. Nothing moves backwards.
//! - *The log is thinned out while somebody observes or retires.* Before an entry is changed, `oldest` is changed to a
//!   number that no slot carries. A step of retiring that has read an entry before fails then, and the next one
//!   finds nothing; to those who observe the log is full. Whoever claimed a slot before, and has not written it,
//!   makes the thinning give way.
//!
//! # Thinning out
//!
//! Observations are left over when the stride changes with the limit: a thousand changes in a window leave a
//! thousand. A log without room would leave out observations up to a whole window, so it is thinned out first: an
//! observation may be left out for a later one, which covers its issues, too, and its places come back with the
//! later one's. Of each cell of a grid the latest stays, and the grid is as fine as there is room for: no place comes
//! back later by more than the 190th of a window, however often the log is thinned out.

use std::time::Duration;

use crate::{
    clock::{Nanos, nanos},
    count::Count,
    sync::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

/// A number and a count in one word. Both wrap.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pair {
    slot: u16,
    issues: Count,
}

impl Pair {
    const fn unpack(word: u64) -> Self {
        Self { slot: (word >> Count::BITS) as u16, issues: Count::of(word) }
    }

    const fn pack(self) -> u64 {
        (self.slot as u64) << Count::BITS | self.issues.get()
    }
}

/// Where numbers and counts begin.
const BEGIN: Pair = Pair { slot: 0_u16.wrapping_sub(3), issues: Count::below(3) };

/// While the log is thinned out, the number of its oldest entry is so far away: no slot carries it, and the
/// ring is full by it. A multiple of the size of the ring.
const AWAY: u16 = 1 << 15;

/// How many slots are claimed between the two.
fn used(oldest: Pair, newest: Pair) -> usize {
    newest.slot.wrapping_sub(oldest.slot).into()
}

#[repr(C)] // what every call changes last: see `Window`
pub(super) struct Log {
    slots: Box<[Slot]>,
    oldest: AtomicU64,
    newest: AtomicU64,
    /// A [`Count`] in its low bits.
    issued: AtomicU64,
}

struct Slot {
    mark: AtomicU64,
    time: AtomicU64,
}

/// What is noted about an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It had happened by this time.
    At(Nanos),
    /// A slot is claimed for its time, which is not yet written.
    Soon,
    /// Nothing: it has just happened, or is still to come.
    Not,
}

/// What the log holds at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// How many are issued and not yet observed.
    pub(super) open: u32,
    /// Is the ring nearly full?
    pub(super) is_tight: bool,
}

impl Log {
    /// A log with room for `slots` observations, a power of two.
    pub(super) fn new(slots: u16) -> Self {
        debug_assert!(slots.is_power_of_two());
        // Marked with the number before the first that it will get.
        let never_written = |index: u16| {
            let first = BEGIN.slot.wrapping_add(index.wrapping_sub(BEGIN.slot) & (slots - 1));
            let mark = Pair { slot: first.wrapping_sub(slots), issues: BEGIN.issues };
            Slot { mark: AtomicU64::new(mark.pack()), time: AtomicU64::new(0) }
        };
        Self {
            issued: AtomicU64::new(BEGIN.issues.get()),
            newest: AtomicU64::new(BEGIN.pack()),
            oldest: AtomicU64::new(BEGIN.pack()),
            slots: (0..slots).map(never_written).collect(),
        }
    }

    /// Counts one issue that has just happened. Returns how many there were, with it.
    #[inline]
    pub(super) fn issue(&self) -> Count {
        // Release: the issue is done before it is counted. Acquire: all that were counted before were
        // done before whatever the caller does next, which may be to read the clock and observe.
        Count::of(self.issued.fetch_add(1, AcqRel)).after(1)
    }

    /// Notes that all `issues` were issued by `time`, which was read after them. False if the ring is full.
    ///
    /// `issues` must come from [`issue`](Self::issue) or [`issued`](Self::issued). Nothing is noted if
    /// somebody has observed as much.
    #[must_use]
    pub(super) fn observe(&self, issues: Count, time: Nanos) -> bool {
        let slot = loop {
            let (oldest, newest) = self.ends();
            if !issues.beyond(newest.issues) {
                return true;
            }
            if used(oldest, newest) >= self.slots.len() {
                return false;
            }
            let claimed = Pair { slot: newest.slot.wrapping_add(1), issues };
            // Relaxed: claims, and tells nothing; the mark does.
            let (from, to) = (newest.pack(), claimed.pack());
            if self.newest.compare_exchange_weak(from, to, Relaxed, Relaxed).is_ok() {
                break newest.slot;
            }
        };
        self.write(slot, issues, time);
        true
    }

    fn write(&self, slot: u16, issues: Count, time: Nanos) {
        let entry = self.slot(slot);
        entry.time.store(time.get(), Relaxed);
        // Release: whoever reads this mark reads this time.
        entry.mark.store(Pair { slot, issues }.pack(), Release);
    }

    /// Makes room by leaving out observations for later ones, until a quarter of the ring is free. `over` says
    /// if the places of one are to come back by now, `same` if those of two that lie close together come back at
    /// nearly the same time. True if there is room.
    ///
    /// To be called by one at a time.
    pub(super) fn thin(
        &self,
        window: Duration,
        over: impl Fn(Nanos) -> bool,
        same: impl Fn(Nanos, Nanos) -> bool,
    ) -> bool {
        let (oldest, newest) = self.ends();
        let away = Pair { slot: oldest.slot.wrapping_add(AWAY), ..oldest };
        // From this step on no entry is retired, and none claimed. Relaxed: it tells nothing, and entries that
        // were claimed since `newest` was read stay as they are.
        if self.oldest.compare_exchange(oldest.pack(), away.pack(), Relaxed, Relaxed).is_err() {
            return true; // another thread has just retired some
        }
        let first = self.leave_out(oldest.slot, newest.slot, window, over, same);
        // Release: whoever reads this reads the entries as they were left.
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
        over: impl Fn(Nanos) -> bool,
        same: impl Fn(Nanos, Nanos) -> bool,
    ) -> u16 {
        let used = newest.wrapping_sub(oldest);
        let numbers = || (1..=used).map(|back| newest.wrapping_sub(back));
        if numbers().any(|number| self.entry(number).is_none()) {
            return oldest; // one is not written yet
        }
        // From the newest on, those that stay: the latest of each cell, and of all that are over.
        let (over, same) = (&over, &same);
        let latest = |cell: u32| {
            let mut last: Option<Nanos> = None;
            let entries = numbers().filter_map(|number| self.entry(number));
            entries.filter(move |&(_, time)| {
                let is_in = |last: Nanos| last.get() >> cell == time.get() >> cell;
                let covered = |last| over(last) || (is_in(last) && same(time, last));
                let stays = !last.is_some_and(covered);
                last = Some(time);
                stays
            })
        };
        let most = self.slots.len() * 3 / 4;
        // Cells are powers of two, so that each lies within one of the next size, whatever the window: what
        // has been left out for a later one is still in its cell. The largest is the smallest of which a window
        // has no more than are to stay.
        let cells = most.saturating_sub(2).max(1) as u64;
        let largest = nanos(window).div_ceil(cells).next_power_of_two().trailing_zeros();
        let mut sizes = [0].into_iter().chain(largest.saturating_sub(3)..largest);
        let cell = sizes.find(|&cell| latest(cell).count() <= most).unwrap_or(largest);
        // Each into the slot behind the last: none is read after it was written over.
        let mut slot = newest;
        for (issues, time) in latest(cell) {
            slot = slot.wrapping_sub(1);
            self.write(slot, issues, time);
        }
        slot
    }

    /// Gives up the places of all observations that `due` says are over. Returns their number.
    pub(super) fn retire(&self, due: impl Fn(Nanos) -> bool) -> u32 {
        let mut places = 0;
        // Acquire, here and below: after a thinning, the entry that it names is read as it was left. The entry says
        // by its own mark whether it is written, and the step on `oldest` whether it still is the oldest.
        let mut word = self.oldest.load(Acquire);
        loop {
            let oldest = Pair::unpack(word);
            let over = self.entry(oldest.slot).filter(|&(_, time)| due(time));
            let Some((issues, _)) = over else {
                // Not due, or not written yet; unless `oldest` has moved on, and this was a newer entry.
                let newer = self.oldest.load(Acquire);
                if newer == word {
                    return places;
                }
                word = newer;
                continue;
            };
            let next = Pair { slot: oldest.slot.wrapping_add(1), issues };
            // Release: to the Acquire in `ends`.
            match self.oldest.compare_exchange_weak(word, next.pack(), Release, Acquire) {
                Ok(_) => {
                    places += issues.since(oldest.issues);
                    word = next.pack();
                }
                Err(newer) => word = newer,
            }
        }
    }

    /// How many were issued. All of them had happened by now.
    pub(super) fn issued(&self) -> Count {
        // Acquire: as in `issue`.
        Count::of(self.issued.load(Acquire))
    }

    /// What is held at the moment.
    pub(super) fn held(&self) -> Held {
        let (oldest, newest) = self.ends();
        Held {
            open: self.issued().since(newest.issues),
            is_tight: used(oldest, newest) >= self.slots.len() * 7 / 8,
        }
    }

    /// What is noted about the issue number `index` of those not yet retired. Not while the log is thinned out.
    pub(super) fn time_of(&self, index: u32) -> Noted {
        let (oldest, newest) = self.ends();
        let count = oldest.issues.after(index);
        let end = newest.slot.wrapping_sub(oldest.slot);
        // The first entry whose count is beyond the index, by halving: counts only grow. Those that are
        // claimed and not yet written are the newest.
        let (mut low, mut high) = (0, end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(oldest.slot.wrapping_add(middle)) {
                Some((issues, _)) if !issues.beyond(count) => low = middle + 1,
                _ => high = middle,
            }
        }
        match self.entry(oldest.slot.wrapping_add(low)) {
            _ if low == end => Noted::Not,
            Some((_, time)) => Noted::At(time),
            None => Noted::Soon,
        }
    }

    /// The next slot to read and the next to write, which is never behind it.
    fn ends(&self) -> (Pair, Pair) {
        // Acquire, and read first: whoever moved `oldest` on had seen the entries before it written, and
        // so claimed.
        let oldest = Pair::unpack(self.oldest.load(Acquire));
        let newest = Pair::unpack(self.newest.load(Relaxed));
        debug_assert!(
            used(oldest, newest) < 2 * usize::from(AWAY) - self.slots.len(),
            "an entry was read before it was claimed"
        );
        (oldest, newest)
    }

    /// The entry with this number, if it is written and not written over.
    fn entry(&self, number: u16) -> Option<(Count, Nanos)> {
        let slot = self.slot(number);
        // Acquire: to the Release of the writer, for the time.
        let mark = Pair::unpack(slot.mark.load(Acquire));
        (mark.slot == number).then(|| (mark.issues, Nanos::new(slot.time.load(Relaxed))))
    }

    fn slot(&self, number: u16) -> &Slot {
        &self.slots[number as usize & (self.slots.len() - 1)]
    }
}
