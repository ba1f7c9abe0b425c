//! What is particular to HTTP. With the feature `http`, which is on by default.
//!
//! In a file that uses the `http` crate, too, give this module another name: `use tower_floodgate::http as limits;`.
//!
//! # A server
//!
//! | | |
//! | --- | --- |
//! | [`respond`](respond()) | answers requests that are turned away with 429 or 503, and `Retry-After` |
//! | [`RateLimitFieldsLayer`] | tells on every response what is left of a rate limit |
//! | [`until_body_ends`](crate::ConcurrencyBackpressureLayer::until_body_ends) | holds a place in flight until the response's body has been sent |
//! | [`ExemptLayer`](crate::ExemptLayer) | lets health checks past a limit |
//!
//! None of them fails or boxes, so they go on an axum `Router` without a `HandleErrorLayer`. The limit is one
//! for all routes that they are put on.
//!
//! ```
//! use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse, routing::get};
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExemptLayer, WindowRateLimitLayer,
//!     http::{self, RateLimitFieldsLayer},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! // At most a hundred requests at a time, their bodies included; twenty more wait, up to two seconds.
//! let in_flight = ConcurrencyBackpressureLayer::new(100)
//!     .max_waiting(20)
//!     .max_wait(Duration::from_secs(2))
//!     .respond(http::respond_or_after(Duration::from_secs(5)));
//! // At most two in any minute; what can't go at once is told when it could.
//! let rate = WindowRateLimitLayer::new(2, Duration::from_secs(60))
//!     .max_wait(Duration::ZERO)
//!     .respond(http::respond);
//! let shutdown = in_flight.handle();
//!
//! let limits = ServiceBuilder::new()
//!     .map_response(IntoResponse::into_response) // of one type again, for the exempted
//!     .layer(in_flight.until_body_ends())
//!     .layer(RateLimitFieldsLayer::new("per-minute", rate.handle()))
//!     .layer(rate);
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .route("/health", get(|| async { "fine" }))
//!     .layer(ExemptLayer::new(|request: &Request| request.uri().path() == "/health", limits));
//!
//! let get = |path| app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
//! let response = get("/").await?;
//! assert_eq!(response.headers()["ratelimit-policy"], r#""per-minute";q=2;w=60"#);
//! assert_eq!(response.headers()["ratelimit"], r#""per-minute";r=1;t=60"#);
//! drop(response); // or read to its end: until then it is in flight
//!
//! drop(get("/").await?);
//! let response = get("/").await?;
//! assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(response.headers()["retry-after"], "60");
//! drop(response);
//!
//! shutdown.close();
//! assert_eq!(get("/").await?.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(get("/health").await?.status(), StatusCode::OK);
//! shutdown.drained().await;
//! # Ok(())
//! # }
//! ```
//!
//! # A client
//!
//! | to | write |
//! | --- | --- |
//! | retry what may succeed and may be repeated, not before the server allows it | [`ExponentialRetry::new(3).classify(HttpClassifier::new())`](HttpClassifier) |
//! | retry other statuses, or any method | [`HttpClassifier::statuses`], [`HttpClassifier::any_method`] |
//! | send bodies again that can't be cloned | [`ReplayBodyLayer`], and [`clone_with(ByReplay)`](ByReplay) |
//! | copy reqwest's requests | [`clone_with(reqwest::Request::try_clone)`](crate::ExponentialRetry::clone_with) |
//! | let one "too many requests" hold back everybody | [`PauseOnHintLayer::new(handle, http::ServerHints)`](ServerHints) |
//! | learn how many attempts an answer took | [`Attempts::of`] |
//! | read when to come again in a classifier of your own | [`fields`] |
//!
//! What hyper's clients and reqwest say of failures is understood with the features `hyper` and `reqwest`. Without
//! them much of it is unknown, and an unknown error is not retried.
//!
//! Put a layer that follows redirects outside the retry: inside, a POST that was carried out and answered with one
//! would be sent again if the request that follows fails.
//!
//! Put a timeout (tower's `TimeoutLayer`) inside the retry: a server that never answers holds a place in flight as long as
//! the client waits.
//!
//! # Did it reach the server?
//!
//! | told by | never reached it | may have |
//! | --- | --- | --- |
//! | [`Rejected`](crate::Rejected) of this crate | always | |
//! | [`std::io::Error`] | connection refused | reset, aborted, broken, timed out; host or network not reachable |
//! | tokio's and tower's `Elapsed` | | always |
//! | hyper-util's legacy client | `is_connect` | |
//! | hyper | `is_canceled` (but not of an upgrade), `is_closed` | `is_incomplete_message`, `is_timeout`; an upgrade that was not completed |
//! | h2 | a stream refused by the server (`REFUSED_STREAM`) | reset by the server with `INTERNAL_ERROR` or `ENHANCE_YOUR_CALM`; a `GOAWAY` of the server |
//! | reqwest | see [`HttpClassifier`]`::without_redirects` | `is_timeout` |
//!
//! The sources of these crates bear out the second column:
//!
//! - hyper 1 calls a request canceled if its connection was not ready for it, or was lost while the request still
//!   stood in line for it: nothing of it was written. It calls a connection closed if it was before it was handed the
//!   request. (It also calls an upgrade canceled whose connection was lost after the server had agreed to it.)
//! - h2 0.4 gives the error of a `REFUSED_STREAM` to the stream that was refused: the request was not processed
//!   (RFC 9113, 8.7).
//!
//! A `GOAWAY` is in the third one. h2 gives its error to streams above the last that the server says it may have
//! processed, which would make it certain (RFC 9113, 6.8). But hyper asks once more, after it has handed a request to h2, if
//! the connection is ready, and if a `GOAWAY` has come in between fails the request with it: though a server that shuts
//! down gracefully answers that one. The two errors are the same.
//!
//! Errors of the request's own body, of its making, of parsing, and unknown ones are neither: trying again
//! wouldn't mend them.

mod attempts;
mod classifier;
pub(crate) mod failure;
pub mod fields;
mod hints;
pub mod hold_body;
mod message;
pub mod rate_limit_fields;
pub mod replay;
mod respond;

pub use self::{
    attempts::Attempts,
    classifier::{HttpClassifier, RETRIED_STATUSES},
    failure::{AsError, Boxed, Plain},
    hints::ServerHints,
    hold_body::HoldBodyLayer,
    message::{RequestHead, ResponseHead},
    rate_limit_fields::RateLimitFieldsLayer,
    replay::{ByReplay, ReplayBodyLayer},
    respond::{respond, respond_or_after, respond_with, retry_after_value},
};
#[cfg(feature = "grpc")]
pub(crate) use self::{classifier::of_rejected, hints::wait};
