//! Clients of HTTP and gRPC: retry classification, hints, replayable request bodies.
//!
//! With the feature `client` (on by default); the items for gRPC with `grpc`. The
//! [guide](crate::guide) has complete stacks for hyper, reqwest and tonic.
//!
//! | task | write |
//! | --- | --- |
//! | retry HTTP failures that are likely to pass, not before the server allows it | [`ExponentialRetry::new(3).classify(HttpClassifier::new())`](HttpClassifier) |
//! | retry other statuses, or any method | [`HttpClassifier::statuses`], [`HttpClassifier::any_method`] |
//! | retry gRPC calls by code, and obey the server's pushback | `.classify(GrpcClassifier::new())`, `GrpcClassifier::codes` |
//! | see a gRPC status that follows the head in trailers | `GrpcTrailersLayer`, innermost |
//! | resend bodies that can't be cloned | [`ReplayLayer`], and [`clone_with(ByReplay)`](ByReplay) |
//! | copy reqwest's requests | [`clone_with(reqwest::Request::try_clone)`](crate::ExponentialRetry::clone_with) |
//! | let one 429 or pushback hold back all callers | [`PauseOnHintLayer::new(handle, HttpHints)`](HttpHints), or `GrpcHints` |
//! | learn the number of attempts of a response | [`Attempts::from_response`]; for tonic's [`Attempts::from_extensions`] |
//! | read a hint in a classifier of your own | [`parse_retry_after`], [`parse_rate_limit_reset`] |
//!
//! ```
//! use std::{
//!     sync::atomic::{AtomicU32, Ordering},
//!     time::Duration,
//! };
//! use http::{Request, Response, StatusCode};
//! use tokio::time::Instant;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer,
//!     client::{Attempts, HttpClassifier},
//!     retry::Jitter,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! // Responds to two requests with 503 and `Retry-After: 5`, then with 200.
//! # let client = service_fn(|_: Request<String>| async {
//! #     let unavailable = CALLS.fetch_add(1, Ordering::Relaxed) < 2;
//! #     let status = if unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
//! #     let response = Response::builder().status(status).header("retry-after", "5").body(());
//! #     Ok::<_, BoxError>(response?)
//! # });
//! let policy = ExponentialRetry::new(4).classify(HttpClassifier::new());
//! let service = ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(client);
//!
//! let start = Instant::now();
//! let response = service.oneshot(Request::get("/").body(String::new())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(Attempts::from_response(&response).get(), 3);
//! assert!(start.elapsed() >= Duration::from_secs(10)); // jitter comes on top
//! # Ok(())
//! # }
//! ```
//!
//! # Where other layers go
//!
//! - **Redirects** are followed outside the retry. Inside, a POST that was carried out and answered
//!   with a redirect would be sent again if the request that follows fails.
//! - **Timeouts** (tower's `TimeoutLayer`) go inside the retry. Otherwise a server that never
//!   responds holds a permit as long as the client waits.
//!
//! # Did the request reach the server?
//!
//! | error | never reached it | may have reached it |
//! | --- | --- | --- |
//! | [`Rejected`](crate::Rejected) of this crate | always | |
//! | [`std::io::Error`] | connection refused | reset, aborted, broken, timed out; host or network not reachable |
//! | tokio's and tower's `Elapsed` | | always |
//! | hyper-util's legacy client | `is_connect` | |
//! | hyper | `is_canceled` (but not of an upgrade), `is_closed` | `is_incomplete_message`, `is_timeout`; an upgrade that was not completed |
//! | h2 | a stream refused by the server (`REFUSED_STREAM`) | reset by the server with `INTERNAL_ERROR` or `ENHANCE_YOUR_CALM`; a `GOAWAY` of the server |
//! | reqwest (feature `reqwest`) | see `HttpClassifier::assume_no_redirects` | `is_timeout` |
//!
//! Any other error is not retried: an error of the request's own body or construction, of parsing,
//! and an unknown one. The second column follows from the sources of these crates:
//!
//! - hyper 1 calls a request canceled if its connection was not ready for it, or was lost while the
//!   request was still queued for it: none of it was written. It calls a connection closed if that
//!   happened before the request was passed to it. (It also calls an upgrade canceled if the
//!   connection was lost after the server had agreed to it.)
//! - h2 0.4 gives the error of a `REFUSED_STREAM` to the refused stream: the request was not
//!   processed (RFC 9113, 8.7).
//!
//! A `GOAWAY` is in the third column although h2 gives its error to streams above the last one that
//! the server may have processed, which would be conclusive (RFC 9113, 6.8). hyper polls the
//! connection once more after passing a request to h2. If a `GOAWAY` has arrived in between, it
//! fails the request with the same error, although a server that shuts down gracefully responds to
//! that request.

mod attempts;
mod failure;
#[cfg(feature = "grpc")]
mod grpc_classifier;
#[cfg(feature = "grpc")]
mod grpc_code;
#[cfg(feature = "grpc")]
mod grpc_headers;
#[cfg(feature = "grpc")]
mod grpc_hints;
#[cfg(feature = "grpc")]
mod grpc_retry_info;
#[cfg(feature = "grpc")]
pub mod grpc_trailers;
mod http_classifier;
mod http_headers;
mod http_hints;
mod message;
pub mod replay;

pub use self::{
    attempts::Attempts,
    failure::{AsError, BoxedError, PlainError},
    http_classifier::{DEFAULT_RETRIED_STATUSES, HttpClassifier},
    http_headers::{parse_rate_limit_reset, parse_retry_after},
    http_hints::HttpHints,
    message::{RequestHead, ResponseHead},
    replay::{ByReplay, ReplayBody, ReplayError, ReplayLayer},
};
#[cfg(feature = "grpc")]
pub use self::{
    grpc_classifier::GrpcClassifier, grpc_code::GrpcCode, grpc_hints::GrpcHints,
    grpc_trailers::GrpcTrailersLayer,
};
