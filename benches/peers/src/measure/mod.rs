//! Measurement of the contenders of a comparison, in rounds.

pub(crate) mod allocations;
pub(crate) mod caller;
pub(crate) mod crowd;
pub(crate) mod instructions;
pub(crate) mod pair;
pub(crate) mod per_call;
mod round_trip;
pub(crate) mod rounds;
pub(crate) mod runtimes;
