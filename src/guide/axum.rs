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
//!   a permit, or is rejected. A nested router without a fallback of its own passes such a request
//!   to the outer one. `route_layer` lets it bypass the limit.
//! - `per_service()` on a `Router` creates a limit for each method of each route, because axum puts
//!   the layer on each of them. Call `with_state(())` after it: `axum::serve` builds a `Router`
//!   without state anew for each connection, with new limits. For a limit of a single route, create
//!   a second layer.
//! - `.reject_with(problem_rejection)` in the place of `http_rejection` adds a body of
//!   [`application/problem+json`](crate::server::problem_rejection()). With the feature `axum`,
//!   `.reject_with(into_response(|rejected| ...))` responds with any type that a handler may
//!   return.
//!
//! # Shutting down
//!
//! A handle closes each limit: requests that wait are responded to at once, with 503, however late
//! their permits would be. `drained()` waits for the requests in flight and, with
//! `until_body_ends`, for their bodies. It waits for streams too, so a stream without an end
//! watches `closed()` and ends itself:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//!
//! use axum::{
//!     Router,
//!     body::{Body, Bytes},
//!     extract::State,
//!     routing::get,
//! };
//! use futures::{StreamExt, stream};
//! use http_body::Frame;
//! use http_body_util::StreamBody;
//! use tower::ServiceBuilder;
//! use tower_floodgate::{
//!     ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, WindowRateLimitLayer,
//!     server::http_rejection,
//! };
//!
//! /// Streams until the client goes away, or the server shuts down.
//! async fn events(State(permits): State<ConcurrencyBackpressureHandle>) -> Body {
//!     let events = stream::repeat("event\n").then(async |event| {
//!         tokio::time::sleep(Duration::from_secs(1)).await;
//!         Ok::<_, Infallible>(Frame::data(Bytes::from(event)))
//!     });
//!     Body::new(StreamBody::new(events.take_until(permits.closed())))
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let in_flight =
//!     ConcurrencyBackpressureLayer::new(100).max_queue(20).reject_with(http_rejection);
//! let rate = WindowRateLimitLayer::new(1_000, Duration::from_secs(60))
//!     .max_queue(100)
//!     .reject_with(http_rejection);
//! let (permits, quota) = (in_flight.handle(), rate.handle());
//! let app: Router = Router::new()
//!     .route("/events", get(events))
//!     .layer(ServiceBuilder::new().layer(in_flight.until_body_ends()).layer(rate))
//!     .with_state(permits.clone());
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let shutdown = async move {
//!     # async fn ctrl_c() {}
//!     ctrl_c().await; // tokio's `signal::ctrl_c`, or the like
//!     permits.close().expect("each service of the limit can reject");
//!     quota.close().expect("each service of the limit can reject");
//!     permits.drained().await;
//! };
//! axum::serve(listener, app).with_graceful_shutdown(shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A time limit around `drained()` bounds the shutdown: `tokio::time::timeout`.
