use std::{sync::Arc, time::Duration};

use super::{ExponentialRetryHandle, GiveUpCounts, RetryBudget, RetrySettings};

/// The settings and the counts of a named retry policy at one moment.
///
/// Returned by [`snapshot`](ExponentialRetryHandle::snapshot) of the handle. Serialized (feature
/// `serde`), each duration is a number of seconds, in a field whose name ends in `_seconds`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetrySnapshot {
    /// The name of the policy.
    pub name: Arc<str>,
    /// The attempts of one request, the first one included.
    pub max_attempts: u32,
    /// True if the policy waits by its own [`waits`](super::ExponentialRetry::waits), for which
    /// neither `backoff_base` nor `backoff_max` holds.
    pub has_waits: bool,
    /// The shortest ceiling of a wait, that of the first retry. Without effect if `has_waits`.
    #[cfg_attr(feature = "serde", serde(rename = "backoff_base_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub backoff_base: Duration,
    /// The longest wait, unless a server asks for a longer one. Without effect if `has_waits`.
    #[cfg_attr(feature = "serde", serde(rename = "backoff_max_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub backoff_max: Duration,
    /// The longest wait that a server may ask for.
    #[cfg_attr(feature = "serde", serde(rename = "max_hint_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub max_hint: Duration,
    /// The time after the beginning of a request by which its waits end; `None` without a bound.
    #[cfg_attr(feature = "serde", serde(rename = "max_elapsed_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub max_elapsed: Option<Duration>,
    /// The budget; `None` without one.
    pub budget: Option<RetryBudgetSnapshot>,
    /// The number of requests that have begun.
    pub requests: u64,
    /// The number of retries that were decided on.
    pub retries: u64,
    /// The number of failed requests that were not retried, by reason.
    pub give_ups: GiveUpCounts,
}

/// The settings and the balance of a [`RetryBudget`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetryBudgetSnapshot {
    /// The retries per request.
    pub ratio: f64,
    /// The retries per second that need no deposit.
    pub floor_per_second: u32,
    /// The bound of the balance, in retries.
    pub max_saved: u32,
    /// The whole retries that the balance pays for, without those of the floor.
    pub saved: u32,
}

impl RetrySnapshot {
    pub(super) fn of(handle: &ExponentialRetryHandle) -> Self {
        // Before the requests that they belong to: a request that begins meanwhile may be without
        // its give-up, and no give-up is without its request.
        let give_ups = handle.give_ups();
        let retries = handle.retries();
        let requests = handle.requests();
        let RetrySettings { max_attempts, backoff, max_hint, max_elapsed } = handle.settings();
        Self {
            name: Arc::clone(&handle.observation.name),
            max_attempts,
            has_waits: handle.observation.has_waits,
            backoff_base: backoff.base(),
            backoff_max: backoff.max(),
            max_hint,
            max_elapsed,
            budget: handle.budget().map(RetryBudgetSnapshot::of),
            requests,
            retries,
            give_ups,
        }
    }
}

impl RetryBudgetSnapshot {
    fn of(budget: &RetryBudget) -> Self {
        Self {
            ratio: budget.ratio(),
            floor_per_second: budget.floor_per_second(),
            max_saved: budget.max_saved(),
            saved: budget.saved(),
        }
    }
}
