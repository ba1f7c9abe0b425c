//! What the crate reads off HTTP and gRPC messages and writes into them, under paused time and without a network.
//! `tests/README.md` lists which test holds us to which promise.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod any_answer;
mod axum;
mod classifier;
mod exempt;
mod failure;
mod fields;
#[cfg(feature = "grpc")]
mod grpc;
mod hints;
mod hold_body;
mod nested;
mod rate_limit_fields;
mod replay;
#[path = "../support/reports.rs"]
mod reports;
#[cfg(feature = "grpc")]
mod respond;
#[cfg(feature = "grpc")]
mod servers;

use std::time::Duration;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Fields to which no other can be added.
fn full() -> http::HeaderMap {
    let mut fields = http::HeaderMap::new();
    for number in 0.. {
        let name = http::HeaderName::try_from(format!("n{number}")).unwrap();
        if fields.try_insert(name, http::HeaderValue::from(number)).is_err() {
            break;
        }
    }
    fields
}
