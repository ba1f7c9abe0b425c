//! CORE: counts that wrap.

/// The low 48 bits of a count, which wrap.
///
/// 16 bits of a word are left for a number beside it. Counts that are compared are less than 2^47
/// apart: half a year of ten millions a second. Counts begin shortly [below zero](Self::below), so
/// that wrapping is no rare case, in tests as in production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(u64);

impl Count {
    pub(crate) const BITS: u32 = 48;

    /// The count with these low bits.
    pub(crate) const fn of(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    /// Returns the count that is `zero` before it wraps to zero.
    pub(crate) const fn below(zero: u64) -> Self {
        Self::of(zero.wrapping_neg())
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn after(self, more: u32) -> Self {
        Self::of(self.0 + more as u64)
    }

    /// Returns the difference to `earlier`; at most 2^32 - 1.
    #[allow(clippy::cast_possible_truncation, reason = "not above what it is bounded by")]
    pub(crate) const fn since(self, earlier: Self) -> u32 {
        let more = Self::of(self.0.wrapping_sub(earlier.0)).0;
        if more < u32::MAX as u64 { more as u32 } else { u32::MAX }
    }

    /// Returns true for a multiple of a power of two; `mask` is that power less one.
    pub(crate) const fn is_multiple(self, mask: u32) -> bool {
        self.0 & mask as u64 == 0
    }

    /// Is it more than `other`?
    pub(crate) const fn beyond(self, other: Self) -> bool {
        // The difference, moved up to where its sign is that of an i64.
        ((self.0.wrapping_sub(other.0) << (u64::BITS - Self::BITS)) as i64) > 0
    }
}
