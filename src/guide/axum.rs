//! A server of axum: 503 and 429 without a `HandleErrorLayer`, and health checks that bypass the
//! limits.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, extract::Request, response::IntoResponse, routing::get};
//! use tower::ServiceBuilder;
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExemptLayer, WindowRateLimitLayer,
//!     server::{RateLimitHeadersLayer, http_rejection, http_rejection_with_fallback},
//! };
//!
//! fn app() -> Router {
//!     // Up to a hundred requests in flight, their bodies included, and twenty more in the queue.
//!     let in_flight = ConcurrencyBackpressureLayer::new(100)
//!         .max_queue(20)
//!         .max_wait(Duration::from_secs(2))
//!         .reject_with(http_rejection_with_fallback(Duration::from_secs(5)));
//!     // Up to 1,000 in any minute.
//!     let rate = WindowRateLimitLayer::new(1_000, Duration::from_secs(60))
//!         .max_queue(0)
//!         .reject_with(http_rejection);
//!
//!     let limits = ServiceBuilder::new()
//!         .map_response(IntoResponse::into_response) // one response type for `ExemptLayer`
//!         .layer(in_flight.until_body_ends())
//!         .layer(RateLimitHeadersLayer::new("app", rate.handle()))
//!         .layer(rate);
//!     let is_health = |request: &Request| request.uri().path() == "/health";
//!     Router::new()
//!         .route("/", get(async || "hello"))
//!         .route("/health", get(async || "fine"))
//!         .layer(ExemptLayer::new(is_health, limits))
//! }
//! # use tower::ServiceExt;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! # let response = runtime.block_on(app().oneshot(Request::<axum::body::Body>::default())).unwrap();
//! # assert_eq!(response.headers()["ratelimit"], r#""app";r=999;t=60"#);
//! ```
//!
//! - Without an exemption, `map_response` is not needed.
//! - `Router::layer`, `Router::route_layer` and `MethodRouter::layer` each share one limit among
//!   their routes. `Router::layer` covers the fallback too: a request for an unknown path acquires
//!   a permit, or is rejected. `route_layer` lets it bypass the limit.
//! - `per_service()` on a `Router` creates a limit for each method of each route, because axum puts
//!   the layer on each of them. Call `with_state(())` after it: `axum::serve` builds a `Router`
//!   without state anew for each connection, with new limits. For a limit of a single route, create
//!   a second layer.
//! - To shut down, take a handle of the limit, `close()` it, wait until it has `drained()`, and
//!   stop the server.
