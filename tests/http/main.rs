//! HTTP and gRPC messages that the crate reads and writes, under paused time and without a network.

#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod any_response;
mod attempts;
mod axum;
mod bad_input;
mod classifier;
mod dialects;
mod exempt;
mod failure;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "grpc")]
mod grpc_trailers;
mod headers;
mod hints;
mod hints_property;
#[path = "../support/hold.rs"]
mod hold;
mod nested;
mod rate_limit_headers;
mod read_body;
#[cfg(feature = "grpc")]
mod rejections;
mod replay;
#[path = "../support/reports.rs"]
mod reports;
#[cfg(feature = "grpc")]
mod servers;
mod until_body_ends;

use std::time::Duration;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A header map that is full.
fn full() -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for number in 0.. {
        let name = http::HeaderName::try_from(format!("n{number}")).unwrap();
        if headers.try_insert(name, http::HeaderValue::from(number)).is_err() {
            break;
        }
    }
    headers
}
