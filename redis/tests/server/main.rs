//! The store, against a real `redis-server`, which is installed where that is possible.
//!
//! ```text
//! cargo test -p tower-floodgate-redis
//! ```
//!
//! Each test starts servers of its own. Real time passes, and no verdict depends on its speed.

#![allow(clippy::unwrap_used, reason = "a scene that panics has failed")]

mod clock;
mod cluster;
mod connections;
mod errors;
#[path = "../../../tests/support/hold.rs"]
mod hold;
mod loss;
mod model;
mod properties;
mod request;
mod state;
#[path = "../support/mod.rs"]
mod support;
