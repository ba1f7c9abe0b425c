//! Settings of the layers as values: from a file, and for running limits.
//!
//! | settings | new | running |
//! | --- | --- | --- |
//! | [`ConcurrencyConfig`] | [`try_layer`](ConcurrencyConfig::try_layer) | [`apply`](ConcurrencyConfig::apply) |
//! | [`WindowConfig`] | [`try_layer`](WindowConfig::try_layer) | [`apply`](WindowConfig::apply) |
//! | [`SharedWindowConfig`] of a [shared limit](crate::shared) | [`try_layer`](SharedWindowConfig::try_layer), [`try_quota`](SharedWindowConfig::try_quota) | [`apply`](SharedWindowConfig::apply) |
//! | [`RetryConfig`] | [`try_policy`](RetryConfig::try_policy) | [`apply`](RetryConfig::apply) |
//! | [`RuleConfig`] of a [keyed limit](crate::keyed) | [`try_rule`](RuleConfig::try_rule), [`try_rule_with_plans`](RuleConfig::try_rule_with_plans), [`try_global`](RuleConfig::try_global) | [`apply`](RuleConfig::apply), for a dry run |
//! | [`KeyedQueueConfig`] | [`layer`](KeyedQueueConfig::layer) | |
//! | `ClientIpConfig` (feature `server`) | `try_key` | |
//!
//! `apply` is all or nothing: each value is checked before any is changed, and then all change in
//! one step. No request sees a part of the change, and no reading shows one. The exceptions are the
//! budget of a retry, which several policies may share, and the bounds of a shared limit: they
//! change one by one, right after the other settings. Requests in progress keep their terms: those
//! in flight end as usual, those that wait keep their position and their deadline.
//!
//! `check` has the errors of `apply`, and changes nothing. So several limits are changed together
//! or not at all: each is checked, and then each is applied.
//!
//! # Files
//!
//! With the feature `serde`, the settings are deserialized from any format whose text describes
//! itself, such as TOML, YAML and JSON, and serialized so that they are read as the same:
//!
//! ```toml
//! [requests]
//! max_in_flight = 10
//! max_queue = 20
//! max_wait = "1s 500ms"
//!
//! [quota]
//! quota = "100/1m" # or { limit = 100, window = "1m" }
//! shape = "sliding" # or "fixed"
//!
//! [shared]
//! name = "github:search"
//! quota = "1000/1s"
//! away = { share = 8 } # or "closed", or "open"
//! max_share = 750
//!
//! [retry]
//! max_attempts = 5
//! max_hint = "2m"
//! backoff = { base = "100ms", max = "10s", factor = 2, jitter = "full" }
//! budget = { ratio = 0.2, floor_per_second = 5 }
//!
//! [clients]
//! networks = ["10.0.0.0/8"] # of the reverse proxies
//! header = "x-forwarded-for" # or "forwarded"
//!
//! [client]
//! quotas = "10/s; 1000/h" # or ["10/s", "1000/h"]
//! max_in_flight = 4
//! plans.paid = "50/s; 20000/h"
//! dry_run = true
//!
//! [queue]
//! max_wait = "30s"
//! max_queue_per_key = 20
//! ```
//!
//! - A duration is text with units: `"250ms"`, `"1h 30m"`, `"1.5s"`. A bare number is an error,
//!   because its unit is unknown. The units are those of a [quota](crate::Quota#as-text).
//! - An unknown field is an error, so that a misspelled bound does not go unnoticed.
//! - Values are checked as they are read, and those of a rule and its plans together, too. The
//!   error names the field, the value and the valid range; the format adds the line.
//!
//! The page [settings of a file](crate::guide::settings) reloads such a file at run time.

mod apply_error;
#[cfg(feature = "serde")]
mod away;
#[cfg(feature = "serde")]
mod backoff;
#[cfg(feature = "server")]
mod client_ip;
mod concurrency;
#[cfg(feature = "serde")]
mod fields;
mod keyed_queue;
mod plan;
mod retry;
mod rule;
#[cfg(feature = "serde")]
mod rule_of_serde;
mod shared_window;
mod window;

#[cfg(feature = "server")]
pub use self::client_ip::{ClientIpConfig, ClientIpHeader};
pub use self::{
    apply_error::ApplyError,
    concurrency::ConcurrencyConfig,
    keyed_queue::KeyedQueueConfig,
    plan::PlanConfig,
    retry::{BudgetConfig, RetryConfig},
    rule::RuleConfig,
    shared_window::SharedWindowConfig,
    window::{WindowConfig, WindowShape},
};
