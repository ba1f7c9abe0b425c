//! The promises of the layers, under paused time. A test is named after the promises that it shows.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../support/busy.rs"]
mod busy;
#[path = "../support/hold.rs"]
mod hold;
#[path = "../support/paused_runtime.rs"]
mod paused_runtime;
#[path = "../support/paused_time.rs"]
mod paused_time;
#[path = "../support/reports.rs"]
mod reports;
#[path = "../support/small_store.rs"]
mod small_store;
#[path = "../support/wake_counter.rs"]
mod wake_counter;

mod support;

mod adaptive;
mod adaptive_losses;
mod all_layers;
mod allocations;
mod backpressure;
mod bounds;
mod changing;
mod closing;
mod deadline;
mod keyed;
mod keyed_allocations;
mod keyed_pauses;
mod keyed_queue;
mod keyed_waiting;
mod nested;
mod no_runtime;
mod observed;
mod oracle;
mod outage;
mod permits;
mod rate_limit;
mod readiness;
mod retry;
#[cfg(all(feature = "client", feature = "tracing"))]
mod retry_attempt_span;
mod retry_changing;
#[cfg(feature = "client")]
mod retry_classes;
mod retry_function;
mod retry_observed;
#[cfg(feature = "tracing")]
mod retry_traces;
mod settings;
#[cfg(feature = "serde")]
mod settings_files;
#[cfg(all(feature = "serde", feature = "server"))]
mod settings_rules;
#[cfg(feature = "serde")]
mod settings_shared;
mod settings_text;
mod terms;
mod traits;
mod wake_ups;
