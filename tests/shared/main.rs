//! A quota that processes share, through a store that a test controls, under paused time.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../support/hold.rs"]
mod hold;
#[path = "../support/paused_runtime.rs"]
mod paused_runtime;
#[allow(dead_code, reason = "scenes sleep")]
#[path = "../support/paused_time.rs"]
mod paused_time;
#[path = "../support/shared_store/mod.rs"]
mod shared_store;

mod flapping;
mod fleet;
mod judge;
mod load;
mod quota;

mod away;
mod clocks;
mod handle;
#[cfg(feature = "shared-keys")]
mod keyed;
mod leases;
mod lost;
mod order;
mod replies;
mod runtimes;
mod schedules;
mod used;
