//! A server of hyper, and the client of hyper-util.
//!
//! # A server
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::body::Incoming;
//! use hyper_util::{
//!     rt::{TokioExecutor, TokioIo},
//!     server::conn::auto,
//!     service::TowerToHyperService,
//! };
//! use tokio::net::TcpListener;
//! use tower::{BoxError, ServiceBuilder, service_fn};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, WindowRateLimitLayer,
//!     server::{RateLimitHeadersLayer, http_rejection},
//! };
//!
//! async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let in_flight =
//!         ConcurrencyBackpressureLayer::new(100).max_queue(100).reject_with(http_rejection);
//!     let rate = WindowRateLimitLayer::new(1_000, Duration::from_secs(60))
//!         .max_queue(0)
//!         .reject_with(http_rejection);
//!     let service = ServiceBuilder::new()
//!         .layer(in_flight.until_body_ends())
//!         .layer(RateLimitHeadersLayer::new("hello", rate.handle()))
//!         .layer(rate)
//!         .service(service_fn(hello));
//!
//!     let listener = TcpListener::bind("127.0.0.1:3000").await?;
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         // A clone for each connection: clones share the limits.
//!         let service = TowerToHyperService::new(service.clone());
//!         tokio::spawn(async move {
//!             let server = auto::Builder::new(TokioExecutor::new());
//!             if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
//!                 eprintln!("connection failed: {error}");
//!             }
//!         });
//!     }
//! }
//! ```
//!
//! - Build the stack once and clone it. A stack that is built for each connection has a limit for
//!   each connection.
//!
//! # A client
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExponentialRetry, WindowRateLimitLayer,
//!     client::{Attempts, HttpClassifier, HttpRetryLayer},
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let policy = ExponentialRetry::new(5).classify(HttpClassifier::new());
//!     let client = ServiceBuilder::new()
//!         .layer(ConcurrencyBackpressureLayer::new(10))
//!         .layer(HttpRetryLayer::new(policy))
//!         .layer(WindowRateLimitLayer::new(100, Duration::from_secs(1)))
//!         .service(Client::builder(TokioExecutor::new()).build_http());
//!
//!     let request = Request::put("http://127.0.0.1:3000/").body(Full::<Bytes>::from("hello"))?;
//!     let response = client.oneshot(request).await?;
//!     println!("{} at attempt {}", response.status(), Attempts::from_response(&response).get());
//!     Ok(())
//! }
//! ```
//!
//! - A POST is repeated if it has an `Idempotency-Key`, or if it never reached the server.
//!   [`any_method`](crate::client::HttpClassifier::any_method) repeats it in any case.
//! - [`HttpRetryLayer`](crate::client::HttpRetryLayer) sends bodies again, and reads those of
//!   failed responses, so that attempts share a connection. The client's body type is inferred: a
//!   `ReplayBody` of the request's.
//! - A permit ends with the response head. `until_body_ends()` on the limit holds it to the end of
//!   the body.
//! - A body that breaks off after its head is not retried. Collecting it inside the retry makes it
//!   so: `.layer(CollectLayer::new())` below the line of the retry. The error type is then
//!   `BoxError`. See [`read_body`](crate::client::read_body).
//! - `.map_err(BoxError::from)` next to the client lets an error tell its attempts:
//!   [`Attempts::from_error`](crate::client::Attempts::from_error).
//! - These limits reject nothing, so the error type is still that of hyper-util.
