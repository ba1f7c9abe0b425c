//! CORE: the measured requests of a half round, counted without a lock.
//!
//! # State
//!
//! ```text
//!  63              48   47            34   33                                            0
//! +-------------------+-----------------+-------------------------------------------------+
//! | half round        | n               | sum of log2 of the times, in 1 / 2^13           |   sum
//! +-------------------+-----------------+-------------------------------------------------+
//! | half round        | 24 bits: short ones         | 24 bits: long ones                  |  lost
//! +-------------------+-------------------------------------------------------------------+
//! ```
//!
//! A half round has a number from 1 to 65,535, and they wrap: a request in flight for exactly
//! 65,535 half rounds is taken for one of this half round. With n = [`CLAIMED`], the half round
//! measures no more.
//!
//! | step | condition | `sum` | `lost` |
//! | --- | --- | --- | --- |
//! | *measure* | same half round, not claimed | n + 1, sum + log2; with n + 1 = need: n = CLAIMED | – |
//! | *lose* | same half round | if more long ones are lost than served, or all together are enough, and not claimed: n = CLAIMED | long or short + 1 |
//! | *begin* (by the lock of the limiter) | – | next half round, n = sum = 0 | the same, lost = 0 |
//! | *stop* (by the lock of the limiter) | – | next half round, n = CLAIMED | the same, lost = 0 |
//!
//! Each condition and its change of a word are one compare-exchange. The sum cannot run over: it
//! has at most 16,382 logarithms of less than 2^19 each.
//!
//! # Lost requests
//!
//! A request that an overloaded server rejects is a *long* one, and so is one that is abandoned
//! after more than the time in which most are served: the server took too long. One that is
//! abandoned sooner is a *short* one: it had too little time left, because it waited in the queue.
//! That is no overload of the server, and most of all not if the limit is too low. So only long
//! ones lower the limit by being more than the served ones. But short ones used their permits in
//! vain, like the others, and the search compares by how many. If they are most, few are served:
//! then they end the half round, too, or it would last for minutes.
//!
//! Before a half round is complete, the time in which most are served is not known. A half of the
//! longest time of those that were abandoned takes its place: those that were abandoned much sooner
//! than others had less time.
//!
//! # Races
//!
//! - *Two requests complete the half round.* The compare-exchange of one of them writes CLAIMED.
//!   The other one fails, reads CLAIMED, and is not measured.
//! - *A request is measured while another half round begins.* Its compare-exchange fails, because
//!   the number of the half round has changed. The same holds for a request that is lost.
//! - *A request is lost while the half round is completed.* Its number may be read before or after.
//!   The search tolerates a difference of one.
//! - *A stop comes between a claim and its step.* The step finds another half round than that of
//!   its claim, and has no effect.
//!
//! # Memory ordering
//!
//! Every change of a word is a read-modify-write.
//!
//! **`sum`.** A *begin* is a `Release`: the limit was set before, and so were the words that belong
//! to the half round. The reading of the [present half round](Samples::present) is an `Acquire`. So
//! a request that reads a number and takes a permit then has one of the limit of that half round,
//! or of a later one; and where it ends, it finds the other words of that half round, or of a later
//! one. All other orderings are `Relaxed`. `need` and `least_lost` change only after the half round
//! has been claimed or stopped, by which the compare-exchange of *measure* and *lose* fails. The
//! lock of the limiter orders the steps that follow a claim.
//!
//! **`lost`, `need`, `least_lost`, `stride`, `number`, `typical`, `longest`** guard no other
//! memory, so all of their orderings are `Relaxed`.

use std::num::NonZeroU16;

use super::{
    log2,
    search::{HalfRound, LEAST_SERVED, MAX_NEED, Search},
};
use crate::sync::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The logarithm of a time, less that of its half.
const HALF: u32 = 1 << log2::SAMPLE_BITS;

/// The position of the number of a half round.
pub(super) const HALF_ROUND: u32 = 48;
const N: u32 = 34;
const SUM: u64 = (1 << N) - 1;
/// In `lost`, one long and one short request, and the most of each.
const LONG: u64 = 1;
const SHORT: u64 = 1 << 24;
const COUNT: u64 = (1 << 24) - 1;
/// The least measured requests by which a limit is lowered, at any stride.
const LEAST_LONG: u32 = 4;

/// The number of a half round that measures no more.
const CLAIMED: u32 = MAX_NEED + 1;

/// The number of a half round, as it is carried by a request that took the last permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(NonZeroU16);

impl Stamp {
    const FIRST: Self = Self(NonZeroU16::MIN);

    pub(super) const fn of(word: u64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation, reason = "the upper 16 bits")]
        match NonZeroU16::new((word >> HALF_ROUND) as u16) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    pub(super) const fn bits(self) -> u64 {
        (self.0.get() as u64) << HALF_ROUND
    }

    /// Returns the number of the next half round, which is never 0.
    const fn next(self) -> Self {
        Self(match self.0.checked_add(1) {
            Some(number) => number,
            None => NonZeroU16::MIN,
        })
    }
}

/// The right to make the step that ends a half round.
#[derive(Clone, Copy, Debug)]
#[must_use = "the search stands still until the step is made"]
pub(crate) struct Claim {
    stamp: Stamp,
    half: HalfRound,
    step: Step,
}

/// The step that ends a half round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It has enough requests.
    Complete,
    /// More requests were lost than served, although they had time.
    Fall,
    /// It has enough requests, of which none was served: most had too little time left.
    Rise,
}

impl Claim {
    pub(crate) fn half(&self) -> HalfRound {
        self.half
    }

    pub(crate) fn step(&self) -> Step {
        self.step
    }
}

pub(crate) struct Samples {
    sum: AtomicU64,
    lost: AtomicU64,
    /// The number of measured requests that completes the half round.
    need: AtomicU32,
    /// The number of lost requests that ends it, if they are most.
    least_lost: AtomicU32,
    /// Of the requests that take the last permit, every n-th is measured: a power of two.
    stride: AtomicU32,
    /// The number of requests that took the last permit, as long as the stride is above 1.
    number: AtomicU32,
    /// The mean of the latest half round that was complete, as a logarithm like those of `sum`; 0
    /// before.
    typical: AtomicU32,
    /// The longest time of an abandoned request, as such a logarithm; for as long as `typical` is
    /// 0.
    longest: AtomicU32,
}

impl Samples {
    /// Creates the samples of the first half round, or of one that measures nothing.
    pub(crate) fn new(search: &Search) -> Self {
        let n = if search.is_fixed() { CLAIMED } else { 0 };
        Self {
            sum: AtomicU64::new(word(Stamp::FIRST, n, 0)),
            lost: AtomicU64::new(Stamp::FIRST.bits()),
            need: AtomicU32::new(search.need()),
            least_lost: AtomicU32::new(search.least_lost()),
            stride: AtomicU32::new(1),
            number: AtomicU32::new(0),
            typical: AtomicU32::new(0),
            longest: AtomicU32::new(0),
        }
    }

    /// Returns the half round that measures now.
    #[inline]
    pub(crate) fn present(&self) -> Option<Stamp> {
        // Acquire: to the Release of `begin`. A permit that is taken after this is one of the limit
        // of this half round, or of a later one.
        let sum = self.sum.load(Acquire);
        if n_of(sum) == CLAIMED { None } else { Stamp::of(sum) }
    }

    /// Returns true if a request that has taken the last permit is measured. Called once for it.
    pub(crate) fn is_chosen(&self) -> bool {
        let stride = self.stride.load(Relaxed);
        stride == 1 || self.number.fetch_add(1, Relaxed) & (stride - 1) == 0
    }

    /// Measures a request of `stamp`. Returns the claim if it completes the half round.
    pub(crate) fn measure(&self, stamp: Stamp, nanos: u64) -> Option<Claim> {
        let log = log2::of_sample(nanos);
        let mut before = self.sum.load(Relaxed);
        loop {
            if Stamp::of(before) != Some(stamp) || n_of(before) == CLAIMED {
                return None;
            }
            let (n, sum) = (n_of(before) + 1, (before & SUM) + log);
            let is_complete = n >= self.need.load(Relaxed);
            let after = word(stamp, if is_complete { CLAIMED } else { n }, sum);
            match self.sum.compare_exchange_weak(before, after, Relaxed, Relaxed) {
                Ok(_) if !is_complete => return None,
                Ok(_) => {
                    let mean = u32::try_from(sum / u64::from(n)).unwrap_or(u32::MAX);
                    self.typical.store(mean, Relaxed);
                    // If a stop comes before this load, the claim has no effect.
                    let lost = lost_of(self.lost.load(Relaxed));
                    let half = HalfRound { n, sum, lost };
                    return Some(Claim { stamp, half, step: Step::Complete });
                }
                Err(newer) => before = newer,
            }
        }
    }

    /// Counts a request of `stamp` that was abandoned after `nanos`. Returns the claim if it ends
    /// the half round.
    pub(crate) fn abandon(&self, stamp: Stamp, nanos: u64) -> Option<Claim> {
        #[allow(clippy::cast_possible_truncation, reason = "less than 2^19")]
        let log = log2::of_sample(nanos) as u32;
        // Relaxed: an older time does as well.
        let is_long = match self.typical.load(Relaxed) {
            0 => log >= self.longest.fetch_max(log, Relaxed).max(log).saturating_sub(HALF),
            typical => log > typical,
        };
        self.lose(stamp, if is_long { LONG } else { SHORT })
    }

    /// Counts a request of `stamp` that an overloaded server rejected. Returns the claim if it ends
    /// the half round.
    pub(crate) fn reject(&self, stamp: Stamp) -> Option<Claim> {
        self.lose(stamp, LONG)
    }

    fn lose(&self, stamp: Stamp, one: u64) -> Option<Claim> {
        let mut before = self.lost.load(Relaxed);
        let lost = loop {
            if Stamp::of(before) != Some(stamp) {
                return None;
            }
            let after = if has_room(before, one) { before + one } else { before };
            match self.lost.compare_exchange_weak(before, after, Relaxed, Relaxed) {
                Ok(_) => break after,
                Err(newer) => before = newer,
            }
        };
        let mut sum = self.sum.load(Relaxed);
        loop {
            let n = n_of(sum);
            let (long, all) = (count_of(lost, LONG), lost_of(lost));
            let step = if long > n && long >= self.least_lost.load(Relaxed) {
                Some(Step::Fall)
            } else if n + all >= self.need.load(Relaxed) && (n == 0 || n >= LEAST_SERVED) {
                Some(if n >= LEAST_SERVED { Step::Complete } else { Step::Rise })
            } else {
                None
            };
            let step = step.filter(|_| Stamp::of(sum) == Some(stamp) && n != CLAIMED)?;
            let claimed = word(stamp, CLAIMED, 0);
            match self.sum.compare_exchange_weak(sum, claimed, Relaxed, Relaxed) {
                Ok(_) => {
                    let half = HalfRound { n, sum: sum & SUM, lost: all };
                    return Some(Claim { stamp, half, step });
                }
                Err(newer) => sum = newer,
            }
        }
    }

    /// Returns true if no other step has come since the claim. Called under the limiter's lock.
    pub(crate) fn is_current(&self, claim: &Claim) -> bool {
        // Relaxed: the lock orders the steps that change the number.
        Stamp::of(self.sum.load(Relaxed)) == Some(claim.stamp)
    }

    /// Begins the next half round of `search`, once its limit is set. Called under the limiter's
    /// lock.
    pub(crate) fn begin(&self, search: &Search, stride: u32) {
        self.need.store(search.need(), Relaxed);
        let least_lost = (search.least_lost() / stride).max(LEAST_LONG);
        self.least_lost.store(least_lost, Relaxed);
        self.stride.store(stride, Relaxed);
        self.next(0);
    }

    /// Ends this half round, and measures nothing from now on. Called under the limiter's lock.
    pub(crate) fn stop(&self) {
        self.next(CLAIMED);
    }

    fn next(&self, n: u32) {
        let stamp = Stamp::of(self.sum.load(Relaxed)).map_or(Stamp::FIRST, Stamp::next);
        self.lost.swap(stamp.bits(), Relaxed);
        // Release: to the Acquire of `present`, for the limit and the other words.
        self.sum.swap(word(stamp, n, 0), Release);
    }
}

/// Returns the number of lost requests.
fn lost_of(word: u64) -> u32 {
    count_of(word, LONG) + count_of(word, SHORT)
}

#[allow(clippy::cast_possible_truncation, reason = "24 bits")]
const fn count_of(word: u64, one: u64) -> u32 {
    ((word / one) & COUNT) as u32
}

/// Returns false if a count is at its end. More would be as good.
const fn has_room(word: u64, one: u64) -> bool {
    (word / one) & COUNT < COUNT
}

fn word(stamp: Stamp, n: u32, sum: u64) -> u64 {
    debug_assert!(sum <= SUM && n <= CLAIMED);
    stamp.bits() | (u64::from(n) << N) | sum
}

#[allow(clippy::cast_possible_truncation, reason = "14 bits")]
const fn n_of(word: u64) -> u32 {
    ((word >> N) & (CLAIMED as u64)) as u32
}
