//! CORE: the begun measurement of a request, in one word (pure).
//!
//! ```text
//!  63              48   47                                                               0
//! +-------------------+-------------------------------------------------------------------+
//! | half round        | start, in nanoseconds, modulo 2^48                                |
//! +-------------------+-------------------------------------------------------------------+
//! ```
//!
//! No half round has the number 0. So a request that is not measured stores 0 in this word of its
//! response future, and no other.

use std::num::NonZeroU64;

use super::samples::{HALF_ROUND, Stamp};
use crate::time::Nanos;

const START: u64 = (1 << HALF_ROUND) - 1;

/// The begun measurement of a request that took the last permit: of its time in service, from its
/// call to the end of its response future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun(NonZeroU64);

impl Begun {
    /// Begins to measure a request of `stamp` that is called at `start`.
    pub(crate) fn new(stamp: Stamp, start: Nanos) -> Self {
        let word = stamp.bits() | (start.get() & START);
        Self(NonZeroU64::new(word).expect("it begins with the number of a half round"))
    }

    pub(crate) fn stamp(self) -> Stamp {
        Stamp::of(self.0.get()).expect("it begins with one")
    }

    /// Returns the nanoseconds since the start; 0 if that is later.
    ///
    /// A time of 39 hours or more loses high bits, or counts as 0.
    pub(crate) const fn nanos_until(self, now: Nanos) -> u64 {
        let nanos = now.get().wrapping_sub(self.0.get()) & START;
        if nanos > START / 2 { 0 } else { nanos }
    }
}
