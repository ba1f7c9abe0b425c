//! x
#![forbid(unsafe_code)]
pub mod answer;
pub mod backpressure;
mod cause;
mod clock;
mod gate;
mod macros;
mod per_service;
pub mod rate_limit;
mod rejected;
pub mod retry;
mod seat;
mod settings;
mod sync;
pub use self::{
    backpressure::{
        ConcurrencyBackpressure, ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    },
    cause::caused_by,
    per_service::PerService,
    rate_limit::{WindowRateLimit, WindowRateLimitHandle, WindowRateLimitLayer},
    rejected::Rejected,
    retry::{ExponentialRetry, ExponentialRetryLayer},
    seat::RejectedCounts,
    settings::InvalidSetting,
};
