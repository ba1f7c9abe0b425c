//! The key table, with small sizes.

#![allow(clippy::modulo_one, reason = "sets of one lane")]

pub(crate) mod lanes;
#[path = "../../../src/keyed/table/mod.rs"]
pub(crate) mod table;
