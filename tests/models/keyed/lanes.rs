//! The sizes of the key table of the models: few states, and few looks.

pub(crate) const LANES: usize = 1;
pub(crate) const LOOKS: u32 = 2;
pub(crate) const DECISIONS: u32 = 2;
