//! Limits and retries, seen from outside.

mod limits;
#[cfg(feature = "axum")]
pub mod page;
mod snapshot;

pub use self::{
    limits::{Handle, Limits},
    snapshot::Snapshot,
};
pub use crate::{backpressure::ConcurrencySnapshot, rate_limit::WindowSnapshot};
