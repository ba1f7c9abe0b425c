//! CORE: sequence numbers that wrap.

/// The low 48 bits of a sequence number.
///
/// The other 16 bits of a word are free for a number beside it. Numbers that are compared are less
/// than 2^47 apart: half a year at ten million a second. Sequences begin shortly
/// [below zero](Self::below), so that tests and production cross the wrap early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seq48(u64);

impl Seq48 {
    pub(crate) const BITS: u32 = 48;

    /// Returns the number with these low bits.
    pub(crate) const fn of(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    /// Returns the number that is `steps` before zero.
    pub(crate) const fn below(steps: u64) -> Self {
        Self::of(steps.wrapping_neg())
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn after(self, steps: u32) -> Self {
        Self::of(self.0 + steps as u64)
    }

    /// Returns the difference to `earlier`; at most 2^32 - 1.
    #[allow(clippy::cast_possible_truncation, reason = "bounded in the line above")]
    pub(crate) const fn since(self, earlier: Self) -> u32 {
        let steps = Self::of(self.0.wrapping_sub(earlier.0)).0;
        if steps < u32::MAX as u64 { steps as u32 } else { u32::MAX }
    }

    /// Returns true for a multiple of a power of two; `mask` is that power less one.
    pub(crate) const fn is_multiple(self, mask: u32) -> bool {
        self.0 & mask as u64 == 0
    }

    /// Returns true if one of the last `steps` numbers, this one included, is such a multiple.
    pub(crate) const fn has_passed_multiple(self, mask: u32, steps: u32) -> bool {
        (self.0 & mask as u64) < steps as u64
    }

    /// Returns true if this number comes after `other`.
    pub(crate) const fn is_after(self, other: Self) -> bool {
        // The difference, moved up to where its sign is that of an i64.
        ((self.0.wrapping_sub(other.0) << (u64::BITS - Self::BITS)) as i64) > 0
    }
}
