//! CORE: binary logarithms in fixed point (pure).
//!
//! The search compares means of logarithms with the logarithm of a ratio of two limits. The base
//! cancels, so it is the one that integers have.

/// The fraction bits of [`of_sample`].
pub(crate) const SAMPLE_BITS: u32 = 13;
/// The fraction bits of [`of_count`].
pub(crate) const COUNT_BITS: u32 = 21;

/// Returns log2 of a time in nanoseconds, with 13 fraction bits; a time of 0 counts as 1.
///
/// The leading zeros give the whole part. The fraction is a polynomial in the next 16 bits that is
/// exact at 1, 1.5 and 2, and off by less than a thousandth in between. An error that depends on
/// the time alone hardly changes a difference of two means.
#[allow(clippy::cast_sign_loss, reason = "no value is negative")]
pub(crate) const fn of_sample(nanos: u64) -> u64 {
    let nanos = if nanos == 0 { 1 } else { nanos };
    let zeros = nanos.leading_zeros();
    let whole = (u64::BITS - 1 - zeros) as i64;
    // The bits behind the leading one: m in [0, 1), in 1 / 2^16.
    let m = ((nanos << zeros) >> (u64::BITS - 1 - 16) & 0xFFFF) as i64;
    // log2(1 + m) = m + m (1 - m) (0.4427 - 0.2476 m + 0.0836 m²)
    let factor = 29_013 - (((16_227 - ((5_479 * m) >> 16)) * m) >> 16);
    let bend = (((m * (65_536 - m)) >> 16) * factor) >> 16;
    ((whole << SAMPLE_BITS) + ((m + bend) >> (16 - SAMPLE_BITS))) as u64
}

/// Returns log2 of a count that is at least 1, with 21 fraction bits, rounded down.
pub(crate) const fn of_count(count: u32) -> u64 {
    assert!(count > 0, "the logarithm of zero");
    let whole = (u32::BITS - 1 - count.leading_zeros()) as u64;
    // In [1, 2), in 1 / 2^31. Each squaring yields the next bit of the fraction.
    let mut value = (count as u64) << (31 - whole);
    let mut log = whole;
    let mut bit = 0;
    while bit < COUNT_BITS {
        value = (value * value) >> 31;
        log <<= 1;
        if value >= 1 << 32 {
            value >>= 1;
            log |= 1;
        }
        bit += 1;
    }
    log
}
