//! Servers of HTTP and gRPC: responses to rejected requests, rate-limit headers, permits that
//! last until a body ends.
//!
//! With the feature `server` (on by default); `into_response` with `axum`, `grpc_rejection` with
//! `grpc`. The [guide](crate::guide) has complete servers of axum, hyper and tonic.
//!
//! | item | effect |
//! | --- | --- |
//! | [`http_rejection`](http_rejection()) | responds to rejected requests with 429 or 503, and `Retry-After` |
//! | [`problem_rejection`](problem_rejection()) | the same, with a body of `application/problem+json` |
//! | `into_response` | responds to rejected requests as a handler of axum would |
//! | `grpc_rejection` | responds to rejected calls with `RESOURCE_EXHAUSTED` or `UNAVAILABLE`, and a pushback |
//! | [`RateLimitHeadersLayer`] | adds the state of a rate limit to each response |
//! | [`rate_limit_headers`](crate::keyed::KeyedLimitLayer::rate_limit_headers) | adds the state of the request's keys to each response |
//! | [`until_body_ends`] | holds a permit, or a request of a key in flight, until the response's body has ended |
//! | [`ExemptLayer`](crate::ExemptLayer) | lets health checks bypass a limit |
//!
//! None of them fails or boxes, so an axum `Router` takes them without a `HandleErrorLayer`. The
//! limit is shared by all routes that the layer is put on.
//!
//! ```
//! use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse, routing::get};
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExemptLayer, WindowRateLimitLayer,
//!     server::{RateLimitHeadersLayer, http_rejection, http_rejection_with_fallback},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! // Up to a hundred requests in flight, their bodies included; twenty more wait up to two seconds.
//! let in_flight = ConcurrencyBackpressureLayer::new(100)
//!     .max_queue(20)
//!     .max_wait(Duration::from_secs(2))
//!     .reject_with(http_rejection_with_fallback(Duration::from_secs(5)));
//! // Two in any minute; any other is rejected with the time of the next permit.
//! let rate = WindowRateLimitLayer::new(2, Duration::from_secs(60))
//!     .max_wait(Duration::ZERO)
//!     .reject_with(http_rejection);
//! let shutdown = in_flight.handle();
//!
//! let limits = ServiceBuilder::new()
//!     .map_response(IntoResponse::into_response) // one response type for `ExemptLayer`
//!     .layer(in_flight.until_body_ends())
//!     .layer(RateLimitHeadersLayer::new("per-minute", rate.handle()))
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
//! shutdown.close().expect("each service of the limit can reject");
//! assert_eq!(get("/").await?.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(get("/health").await?.status(), StatusCode::OK);
//! shutdown.drained().await;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "grpc")]
mod grpc_rejection;
mod http_rejection;
#[cfg(feature = "axum")]
mod into_response;
pub mod keyed_rate_limit_headers;
mod problem_rejection;
pub mod rate_limit_headers;
pub mod until_body_ends;

#[cfg(feature = "grpc")]
pub use self::grpc_rejection::grpc_rejection;
#[cfg(feature = "axum")]
pub use self::into_response::into_response;
pub use self::{
    http_rejection::{
        http_rejection, http_rejection_with_body, http_rejection_with_fallback, retry_after_header,
    },
    keyed_rate_limit_headers::KeyedRateLimitHeadersLayer,
    problem_rejection::{problem_rejection, problem_rejection_with_policy},
    rate_limit_headers::RateLimitHeadersLayer,
    until_body_ends::{PermitBody, UntilBodyEndsLayer},
};
pub use crate::wrap_body::{HttpResponse, WrapBody};
