//! Limits and retries, seen from outside.

#[cfg(feature = "metrics")]
mod gauges;
mod limits;
mod snapshot;

pub use self::{
    limits::{Handle, Limits},
    snapshot::Snapshot,
};
pub use crate::{
    backpressure::ConcurrencySnapshot,
    limiter::LimitCounts,
    rate_limit::WindowSnapshot,
    retry::{RetryBudgetSnapshot, RetrySnapshot},
};
