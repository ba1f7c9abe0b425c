//! Retry.
mod backoff;
mod budget;
mod classify;
pub mod future;
mod layer;
mod policy;

pub use self::{
    backoff::{Backoff, Jitter},
    budget::RetryBudget,
    classify::{AnyError, ByClone, Classify, CloneRequest, Verdict},
    layer::ExponentialRetryLayer,
    policy::{Decision, ExponentialRetry, GiveUp},
};
