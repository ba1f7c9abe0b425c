//! Limits and retries, seen from outside.

mod limits;
mod snapshot;

pub use self::{
    limits::{Handle, Limits},
    snapshot::Snapshot,
};
pub use crate::{
    backpressure::ConcurrencySnapshot, rate_limit::WindowSnapshot,
    retry::{RetryBudgetSnapshot, RetrySnapshot},
};
