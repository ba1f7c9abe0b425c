//! Bodies of responses that are read inside the retry.
//!
//! A client responds with the head, and leaves the body to its caller. Inside a retry, nothing
//! reads the body of an attempt that is not the last one. Two layers do, each of them into memory
//! and up to a bound. Neither spawns a task.
//!
//! | layer | reads the bodies of | so that |
//! | --- | --- | --- |
//! | [`ReadFailuresLayer`] | responses with a status of 400 or above, but 421 | the next attempt finds the connection idle |
//! | [`CollectLayer`] | the others | a body that breaks off is an error, which is retried |
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http_body_util::Empty;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower::ServiceBuilder;
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer,
//!     client::{CollectLayer, HttpClassifier, ReadFailuresLayer},
//! };
//! # use tower_floodgate::{PauseOnHintLayer, WindowRateLimitLayer, client::HttpHints};
//!
//! # let rate = WindowRateLimitLayer::new(100, Duration::from_secs(1));
//! # let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
//! let policy = ExponentialRetry::new(5).classify(HttpClassifier::new());
//! let client = ServiceBuilder::new()
//!     .layer(ExponentialRetryLayer::new(policy))
//!     .layer(rate)
//!     .layer(CollectLayer::new().max_bytes(1024 * 1024))
//!     .layer(ReadFailuresLayer::new())
//!     .layer(pause)
//!     .service(Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
//! # fn is_service_of<Request>(_: &impl tower::Service<Request>) {}
//! # is_service_of::<http::Request<Empty<Bytes>>>(&client);
//! ```
//!
//! # Connections
//!
//! A connection of HTTP/1 carries one response at a time. A response that is dropped before its end
//! closes it, and the next attempt connects again, with TLS by a handshake. `ReadFailuresLayer`
//! reads the body before it passes the response on. A body that was read, in full or in part, is
//! yielded with its trailers and its error by [`ReadBody`], so the caller of the last attempt
//! misses nothing.
//!
//! If a bound is reached, the rest of the body follows the part that was read. If the retry drops
//! that, the connection closes: a body that does not end costs more than a connection.
//!
//! On HTTP/2, responses share a connection, and the layer only delays them.
//!
//! A 421 says that its connection does not lead to the right server. Its body is not read, so that
//! a connection of HTTP/1 with the rest of it closes.
//!
//! # Bodies that break off
//!
//! A response whose connection fails after the head is a success to the retry, and its body fails
//! at the caller. Read by a `CollectLayer`, it is a [`CollectError`], an error of the attempt.
//! [`HttpClassifier`](crate::client::HttpClassifier) judges it as *may have reached the server*,
//! whatever its cause: it retries requests that are repeatable.
//!
//! hyper takes a stream of HTTP/2 that is reset with `CANCEL` for one that has ended, so that body
//! does not break off.
//!
//! The error type is then `BoxError`, and [`find_cause`](crate::find_cause) finds the client's own
//! error in it.
//!
//! # Order of the layers
//!
//! - A [`PauseOnHintLayer`](crate::PauseOnHintLayer) stands inside, so that a hint holds back other
//!   callers before the body is read.
//! - A timeout stands outside, so that it covers the bodies.
//!
//! # Costs
//!
//! A response whose status a layer does not read passes untouched: it allocates nothing, and its
//! [`ReadBody`] only adds a check to each frame. Any other allocates the state of its reading, and
//! keeps its frames without copying the data. A reqwest response that is read is converted, which
//! puts its body in a box, and keeps its URL, version and extensions.
//!
//! # Caveats
//!
//! - The caller receives the head of a failed response after its body, up to `max_wait` later. For
//!   responses that are not retried, and whose head is of use before,
//!   [`only_if`](ReadFailuresLayer::only_if) excludes them.
//! - A frame of less than 128 bytes counts as 128, the memory for keeping it. The frame that
//!   exceeds `max_bytes` is kept, too.
//! - A body that is always ready is read 32 frames at a time. Other tasks run in between, which
//!   counts as a wait.
//! - Timers need a tokio runtime. One is started when a failed body has to be waited for.
//! - The body must be `Unpin`. Box any other before:
//!   `map_response(|response: Response<_>| response.map(Box::pin))`.

mod body;
mod collect;
mod failures;
pub mod future;
mod reading;

pub use self::{
    body::ReadBody,
    collect::{Collect, CollectError, CollectLayer},
    failures::{ReadFailures, ReadFailuresLayer},
};

/// Returns true for the statuses of failed requests (RFC 9110, 15.5 and 15.6), less 421: its
/// connection is the wrong one, and must not be used again.
fn is_failure(status: http::StatusCode) -> bool {
    status.as_u16() >= 400 && status != http::StatusCode::MISDIRECTED_REQUEST
}
