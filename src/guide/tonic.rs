//! A server and a client of tonic.
//!
//! # A server
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use tonic::transport::Server;
//! use tower::BoxError;
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExemptLayer, WindowRateLimitLayer, server::grpc_rejection,
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     // A stream holds its permit until it ends or its client disconnects.
//!     let in_flight = ConcurrencyBackpressureLayer::new(100)
//!         .max_queue(10)
//!         .reject_with(grpc_rejection)
//!         .until_body_ends();
//!     let rate = WindowRateLimitLayer::new(1_000, Duration::from_secs(60))
//!         .max_queue(0)
//!         .reject_with(grpc_rejection);
//!     let is_check =
//!         |request: &http::Request<_>| request.uri().path() == "/grpc.health.v1.Health/Check";
//!
//!     let (_, health) = tonic_health::server::health_reporter();
//!     Server::builder()
//!         .layer(in_flight)
//!         .layer(ExemptLayer::new(is_check, rate)) // checks bypass the rate limit
//!         .add_service(health)
//!         .serve("127.0.0.1:50051".parse()?)
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! - All services and connections share the limit. `Server::concurrency_limit_per_connection` is a
//!   different limit.
//! - Without `until_body_ends`, a call is in flight until its response begins, which for a stream
//!   is at once.
//!
//! # A client
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use http::Request;
//! use tonic::{body::Body, transport::Channel};
//! use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
//! use tower::{BoxError, ServiceBuilder};
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer, WindowRateLimitLayer,
//!     client::{
//!         Attempts, ByReplay, GrpcClassifier, GrpcCode, GrpcHints, GrpcTrailersLayer, ReplayBody,
//!         ReplayLayer,
//!     },
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let policy = ExponentialRetry::new(5).clone_with(ByReplay).classify(
//!         GrpcClassifier::new().codes_with_pushback([GrpcCode::ResourceExhausted]),
//!     );
//!     let rate = WindowRateLimitLayer::new(100, Duration::from_secs(1));
//!     let pause = PauseOnHintLayer::new(rate.handle(), GrpcHints);
//!     let channel = ServiceBuilder::new()
//!         .layer(ReplayLayer::new())
//!         .layer(ExponentialRetryLayer::new(policy))
//!         .layer(rate)
//!         .layer(pause)
//!         .layer(GrpcTrailersLayer::new()) // sees a failure that follows the head
//!         .map_request(|request: Request<ReplayBody<_>>| request.map(Body::new))
//!         .service(Channel::from_static("http://127.0.0.1:50051").connect().await?);
//!     let mut client = HealthClient::new(channel);
//!
//!     let response = client.check(HealthCheckRequest::default()).await?;
//!     println!("at attempt {}", Attempts::from_extensions(response.extensions()).get());
//!     Ok(())
//! }
//! ```
//!
//! - Repeating the calls of the client must do no harm: see
//!   [`GrpcClassifier`](crate::client::GrpcClassifier).
//! - A cancelled call of a generated client keeps its permit until that client calls again or is
//!   dropped: clone the client for each call.
//! - A server with [`grpc_rejection`](crate::server::grpc_rejection()) responds with
//!   `RESOURCE_EXHAUSTED` and a pushback at a rate limit. A message that is too large has the same
//!   code without one, and would fail at each attempt. Therefore the code is retried
//!   [only with a pushback](crate::client::GrpcClassifier::codes_with_pushback).
//! - If a limit of the client may reject, give it `.reject_with(grpc_rejection)` too. Otherwise the
//!   client sees the code `UNKNOWN`, with the `Rejected` as a cause of the status.
