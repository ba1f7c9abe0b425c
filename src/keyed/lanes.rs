//! The sizes of the key table that the models have smaller.

/// The states of a set. A line of the cache has eight words of eight bytes.
pub(crate) const LANES: usize = 8;

/// Looks at a state that another task is claiming, before a request counts as refused.
pub(crate) const LOOKS: u32 = 128;

/// Decisions about one request behind the lock of the queue, while others change its state.
pub(crate) const DECISIONS: u32 = 16;
