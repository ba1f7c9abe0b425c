//! The key table, with small sizes.

pub(crate) mod lanes;
#[path = "../../../src/keyed/table/mod.rs"]
pub(crate) mod table;
