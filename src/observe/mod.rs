//! Limits and retries, seen from outside.

mod limits;
mod snapshot;

pub use self::{
    limits::{Handle, Limits},
    snapshot::Snapshot,
};
#[cfg(feature = "metrics")]
pub use crate::retry::{RETRY_ATTEMPTS_BUCKETS, RETRY_BACKOFF_BUCKETS};
pub use crate::{
    backpressure::ConcurrencySnapshot,
    rate_limit::WindowSnapshot,
    retry::{RetryBudgetSnapshot, RetrySnapshot},
};
