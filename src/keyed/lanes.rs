//! The number of states in a set of the key table. The models have fewer.

/// A line of the cache: eight words of eight bytes.
pub(crate) const LANES: usize = 8;
