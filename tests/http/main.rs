//! What the crate reads off HTTP and gRPC messages and writes into them, under paused time and without a network.
//! `tests/README.md` lists which test holds us to which promise.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod classifier;
mod failure;
mod fields;
#[cfg(feature = "grpc")]
mod grpc;
mod hints;
mod replay;

use std::time::Duration;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
