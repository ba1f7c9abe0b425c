//! HTTP and gRPC messages that the crate reads and writes, under paused time and without a network.

#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod adaptive;
mod any_response;
mod attempts;
mod axum;
mod bad_input;
#[path = "../support/busy.rs"]
mod busy;
mod classifier;
mod client_ip;
mod client_ip_property;
mod dialects;
mod error_types;
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
mod keyed_headers;
mod keyed_until_body_ends;
mod keys;
#[cfg(feature = "axum")]
mod limits_page;
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
mod shared;
#[path = "../support/small_store.rs"]
mod small_store;
#[cfg(feature = "grpc")]
mod terms;
mod until_body_ends;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A body that spends the budget of its task at each poll, and has no frame.
struct Busy;

impl Body for Busy {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        busy::spend_budget(cx)
    }
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
