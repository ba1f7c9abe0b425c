//! CORE: the log of issues, which tells when their permits expire.
//!
//! Issues are counted. From time to time a *checkpoint* is recorded: a count, and a time that was
//! read after it, by which so many requests had been issued. A sliding window of 100 ms, with a
//! checkpoint (count, ms) at each *stride* of 4 issues, is refilled at 130 ms:
//!
//! ```text
//!                           now - 100                                           now
//!  issues        12 34  5 67 8      9    10  11  12                    13   14
//!               ┴─────────┴────┼────┴─────────┴─────────┴─────────┴─────────┴────┼──► time
//!               0         20        40        60        80        100       120 130 ms
//!  checkpoints       (4, 10) (8, 26)             (12, 66)
//!  permits      ◄── expired ──► ◄──────────────────── held ─────────────────────►
//! ```
//!
//! - **Expired** are checkpoints whose time is a window ago or more. The permits of issues 1 to 8
//!   are released, once.
//! - **Never early**: each issue up to a count happened no later than the recorded time. That alone
//!   makes the log safe. Which thread records a checkpoint, when, and how many are left out decides
//!   only how late permits expire.
//! - **Late at most by the time in which a stride fills**: the permit of issue 9 expires with the
//!   checkpoint (12, 66), at 166 ms and not at 140 ms.
//! - **An open stride**: issues 13 and 14 have no checkpoint. The refill at 130 ms records
//!   (14, 130), and their permits expire at 230 ms.
//! - **Expected**: by [`record_of`](Log::record_of), the next four permits were issued by 66 ms and
//!   the two after them by 130 ms, so they expire at 166 ms and at 230 ms. A seventh has no record.
//! - **A full log is [thinned](thinning)**: checkpoints are left out for later ones.
//!
//! # Ring
//!
//! Checkpoints stand in a ring, oldest first, with increasing counts. The ring is a bounded queue
//! for many writers and readers in which every slot carries the sequence number of its entry (the
//! idea of D. Vyukov's bounded MPMC queue). A slot needs no clearing, and a reader stops at one
//! that is claimed and not complete. With the values after the refill above:
//!
//! ```text
//!  issued: | issues counted |                                        14
//!  newest: | number of the next slot to write | issues recorded |    4, 14
//!  oldest: | number of the next slot to read  | issues expired  |    2, 8
//!  slot:   | its number | issues |   and   | time |                  2, 12 and 66 ms
//!                                                                    3, 14 and 130 ms
//! ```
//!
//! A step on `newest` claims a slot, and a step on `oldest` releases permits. Both words pair a
//! slot number with a count, so one compare-exchange moves both.
//!
//! [Counts](Seq48) have 48 bits and slot numbers 16, and both wrap. Slot numbers that are compared
//! are less than twice the size of the ring apart, except while the log is thinned. Both begin
//! shortly before they wrap: the third issue crosses it.
//!
//! # Races
//!
//! - *Two threads record at once.* Slots are claimed in the order of their counts. If a thread
//!   finds that its count or a later one is recorded, then it records nothing, because the recorded
//!   time was read after the later count, and so holds for both.
//! - *A slot is claimed and not yet written*, because its writer was preempted. The slot does not
//!   have its number yet, so neither it nor any slot behind it is read: permits expire late.
//! - *A slot is overwritten while it is read.* A writer finds the ring full until the reader's step
//!   on `oldest`, and a reader that finds `oldest` moved discards its reading. `record_of`, which
//!   only estimates, may see the later time, which covers the earlier issues too.
//! - *Two threads expire permits at once.* The step on `oldest` names the slot and how far the
//!   permits have expired, so each permit is released by one thread.
//! - *A thread was preempted after it read the time.* By the older time, fewer checkpoints have
//!   expired. Nothing moves backwards.
//! - *The log is [thinned](thinning) while other threads record or expire.* It is full to a thread
//!   that records, and empty to one that expires.
//!
//! # Memory ordering
//!
//! An issue happens before the next acquisition of its permit. The chain is: the issue, its count
//! in `issued`, the `mark` of the checkpoint that covers it, the refill that reads the mark, and
//! the semaphore's state.
//!
//! - `issued` is changed by read-modify-writes only, each a `Release` of the issue. So an `Acquire`
//!   of it synchronises with all issues that it counts. An issue acquires too, because it may
//!   record a checkpoint for the others.
//! - `newest` is `Relaxed`: a claim publishes nothing, the mark does. It is never seen behind
//!   `oldest`, which is read first: see `ends`.
//! - `oldest` is stored by `Release` and loaded by `Acquire`. If a writer reuses a slot, then it
//!   has acquired the step that freed it, so the reader's loads from the slot come before the
//!   writer's stores. The one exception is the first step of a [thinning].
//! - `mark` is stored by `Release` and loaded by `Acquire`, for the `time` beside it, which is
//!   `Relaxed`.

mod thinning;

use crate::{
    seq48::Seq48,
    sync::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Nanos,
};

/// A slot number and a count in one word. Both wrap.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pair {
    slot: u16,
    issues: Seq48,
}

impl Pair {
    const fn unpack(word: u64) -> Self {
        Self { slot: (word >> Seq48::BITS) as u16, issues: Seq48::of(word) }
    }

    const fn pack(self) -> u64 {
        (self.slot as u64) << Seq48::BITS | self.issues.get()
    }
}

/// The first slot number and the first count.
const BEGIN: Pair = Pair { slot: 0_u16.wrapping_sub(3), issues: Seq48::below(3) };

/// The distance by which `oldest` is moved while the log is thinned: no slot carries such a number,
/// and the ring is full by it. A multiple of the size of the ring.
const AWAY: u16 = 1 << 15;

/// Returns the number of claimed slots between the two.
fn used(oldest: Pair, newest: Pair) -> usize {
    newest.slot.wrapping_sub(oldest.slot).into()
}

#[repr(C)] // the count of issues, which every call changes, last: see `Window`
pub(super) struct Log {
    slots: Box<[Slot]>,
    oldest: AtomicU64,
    newest: AtomicU64,
    /// A [`Seq48`].
    issued: AtomicU64,
}

struct Slot {
    /// The number of the entry, and its issues.
    mark: AtomicU64,
    time: AtomicU64,
}

/// The record of an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It had happened by this time.
    By(Nanos),
    /// A slot is claimed for its time, which is not written yet.
    Soon,
    /// None: it has just happened, or is yet to come.
    Not,
}

/// The contents of the log at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents {
    /// True if an issue has no checkpoint.
    pub(super) has_open: bool,
    /// True if seven eighths of the ring are in use.
    pub(super) is_tight: bool,
}

impl Log {
    /// Creates a log with room for `slots` checkpoints, a power of two.
    pub(super) fn new(slots: u16) -> Self {
        debug_assert!(slots.is_power_of_two());
        // Each slot carries the number before the first that it will get.
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

    /// Counts an issue that has just happened. Returns the number of issues with it.
    #[inline]
    pub(super) fn issue(&self) -> Seq48 {
        self.issue_many(1)
    }

    /// Counts `issues` that have just happened. Returns the number of issues with them.
    #[inline]
    pub(super) fn issue_many(&self, issues: u32) -> Seq48 {
        // Release: the issues happen before their count. Acquire: all issues counted before happen
        // before the caller's next step, which may be to read the clock and record.
        Seq48::of(self.issued.fetch_add(issues.into(), AcqRel)).after(issues)
    }

    /// Records that all `issues` happened by `time`, which was read after them. Returns false if
    /// the ring is full.
    ///
    /// `issues` must come from [`issue`](Self::issue) or [`issued`](Self::issued). Has no effect if
    /// as much has been recorded.
    #[must_use]
    pub(super) fn record(&self, issues: Seq48, time: Nanos) -> bool {
        let slot = loop {
            let (oldest, newest) = self.ends();
            if !issues.is_after(newest.issues) {
                return true;
            }
            if used(oldest, newest) >= self.slots.len() {
                return false;
            }
            let claimed = Pair { slot: newest.slot.wrapping_add(1), issues };
            // Relaxed: claims a slot, and publishes nothing; the mark does.
            let (from, to) = (newest.pack(), claimed.pack());
            if self.newest.compare_exchange_weak(from, to, Relaxed, Relaxed).is_ok() {
                break newest.slot;
            }
        };
        self.write(slot, issues, time);
        true
    }

    fn write(&self, slot: u16, issues: Seq48, time: Nanos) {
        let entry = self.slot(slot);
        entry.time.store(time.get(), Relaxed);
        // Release: a reader of this mark reads this time.
        entry.mark.store(Pair { slot, issues }.pack(), Release);
    }

    /// Expires the permits of all checkpoints whose time `is_expired`. Returns their number.
    pub(super) fn expire(&self, is_expired: impl Fn(Nanos) -> bool) -> u32 {
        let mut permits = 0;
        // Acquire, here and below: after a thinning, the entries from this number on are read as
        // they were left. With an older one, its count would be subtracted from that of a newer
        // checkpoint. The entry's mark tells whether it is written, and the step on `oldest`
        // whether it still is the oldest.
        let mut word = self.oldest.load(Acquire);
        loop {
            let oldest = Pair::unpack(word);
            let over = self.entry(oldest.slot).filter(|&(_, time)| is_expired(time));
            let Some((issues, _)) = over else {
                // Not expired, or not written yet; unless `oldest` has moved and this was a newer
                // entry.
                let newer = self.oldest.load(Acquire);
                if newer == word {
                    return permits;
                }
                word = newer;
                continue;
            };
            let next = Pair { slot: oldest.slot.wrapping_add(1), issues };
            // Release: to the Acquire in `ends`.
            match self.oldest.compare_exchange_weak(word, next.pack(), Release, Acquire) {
                Ok(_) => {
                    permits += issues.since(oldest.issues);
                    word = next.pack();
                }
                Err(newer) => word = newer,
            }
        }
    }

    /// Returns the number of issues. All of them have happened.
    pub(super) fn issued(&self) -> Seq48 {
        // Acquire: as in `issue`.
        Seq48::of(self.issued.load(Acquire))
    }

    /// Returns the number of issues since the log was created. The word itself never wraps.
    pub(super) fn issued_in_all(&self) -> u64 {
        // Relaxed: a reading, behind which nothing is read.
        self.issued.load(Relaxed) - BEGIN.issues.get()
    }

    /// Returns the number of issues, by a step on their count: all issues that come later see what
    /// the caller did before.
    pub(super) fn issued_so_far(&self) -> Seq48 {
        // Release: to the Acquire in `issue`. Acquire: as in `issue`.
        Seq48::of(self.issued.fetch_add(0, AcqRel))
    }

    /// Returns the number of issues whose permits have expired.
    pub(super) fn expired(&self) -> Seq48 {
        // Relaxed: read after an Acquire of the permits that were released.
        Pair::unpack(self.oldest.load(Relaxed)).issues
    }

    pub(super) fn contents(&self) -> Contents {
        let (oldest, newest) = self.ends();
        Contents {
            has_open: self.issued().is_after(newest.issues),
            is_tight: used(oldest, newest) >= self.slots.len() * 7 / 8,
        }
    }

    /// Returns the record of the issue number `index` of those whose permits have not expired.
    ///
    /// Not to be called while the log is thinned.
    pub(super) fn record_of(&self, index: u32) -> Recorded {
        let (oldest, newest) = self.ends();
        let count = oldest.issues.after(index);
        let end = newest.slot.wrapping_sub(oldest.slot);
        // The first entry whose count is above the index, by bisection: counts increase. Slots that
        // are claimed and not yet written are the newest.
        let (mut low, mut high) = (0, end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(oldest.slot.wrapping_add(middle)) {
                Some((issues, _)) if !issues.is_after(count) => low = middle + 1,
                _ => high = middle,
            }
        }
        match self.entry(oldest.slot.wrapping_add(low)) {
            _ if low == end => Recorded::Not,
            Some((_, time)) => Recorded::By(time),
            None => Recorded::Soon,
        }
    }

    /// Returns the next slot to read and the next to write, which is never behind it.
    fn ends(&self) -> (Pair, Pair) {
        // Acquire, and read first: the thread that moved `oldest` had seen the entries before it
        // written, and so claimed.
        let oldest = Pair::unpack(self.oldest.load(Acquire));
        let newest = Pair::unpack(self.newest.load(Relaxed));
        debug_assert!(
            used(oldest, newest) < 2 * usize::from(AWAY) - self.slots.len(),
            "an entry was read before it was claimed"
        );
        (oldest, newest)
    }

    /// Returns the entry with this number, unless it is not written yet or overwritten.
    fn entry(&self, number: u16) -> Option<(Seq48, Nanos)> {
        let slot = self.slot(number);
        // Acquire: to the Release of the writer, for the time.
        let mark = Pair::unpack(slot.mark.load(Acquire));
        (mark.slot == number).then(|| (mark.issues, Nanos::new(slot.time.load(Relaxed))))
    }

    fn slot(&self, number: u16) -> &Slot {
        &self.slots[number as usize & (self.slots.len() - 1)]
    }
}
