//! What the layers promise, promise by promise. `tests/README.md` lists which test holds us to which.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod reports;
mod support;

mod all_layers;
mod allocations;
mod backpressure;
mod changing;
mod hold;
mod nested;
mod no_runtime;
mod oracle;
mod outage;
mod rate_limit;
mod readiness;
mod retry;
mod settings;
mod traits;
mod wake_ups;
