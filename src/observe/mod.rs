//! Limits and retries, seen from outside.

#[cfg(feature = "metrics")]
mod gauges;
mod limits;
#[cfg(feature = "axum")]
pub mod page;
mod snapshot;

pub use self::{
    limits::{Handle, Limits},
    snapshot::Snapshot,
};
pub use crate::{
    backpressure::ConcurrencySnapshot, limiter::LimitCounts, rate_limit::WindowSnapshot,
};
