//! What the crate reads off HTTP and gRPC messages and writes into them, under paused time and without a network.
//! `tests/README.md` lists which test holds us to which promise.

#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod any_answer;
mod axum;
mod classifier;
mod exempt;
mod failure;
#[cfg(feature = "grpc")]
mod grpc;
mod headers;
mod hints;
mod nested;
mod rate_limit_headers;
#[cfg(feature = "grpc")]
mod rejections;
mod replay;
#[path = "../promises/reports.rs"]
mod reports;
#[cfg(feature = "grpc")]
mod servers;
mod until_body_ends;

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
