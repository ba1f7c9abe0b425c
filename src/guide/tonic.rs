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
//!     ConcurrencyBackpressureLayer, DeadlineLayer, ExemptLayer, WindowRateLimitLayer,
//!     deadline::GrpcTimeout, server::grpc_rejection,
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
//!     // Waits in the queue count against the `grpc-timeout` of a call, too.
//!     let deadline = DeadlineLayer::from_request(GrpcTimeout).reject_with(grpc_rejection);
//!
//!     Server::builder()
//!         .layer(deadline)
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
//! - A limit that may reject and has no reject policy fails the call with the `Rejected`, of which
//!   tonic makes a response with the code of `grpc_rejection` and without its pushback. That takes
//!   tonic 0.14: another version resets the stream, which its clients read as `INTERNAL`.
//! - To shut down, close each limit by its handle, wait until the concurrency limit has
//!   `drained()`, and stop the server, as [with axum](crate::guide::axum#shutting-down).
//!   `drained()` waits for streams; a method that streams ends its stream itself after `closed()`.
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
//!     DeadlineLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
//!     WindowRateLimitLayer,
//!     client::{
//!         Attempts, ByReplay, GrpcClassifier, GrpcCode, GrpcHints, GrpcTrailersLayer, ReplayBody,
//!         ReplayLayer, send_grpc_timeout,
//!     },
//!     deadline::GrpcTimeout,
//!     server::grpc_rejection,
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let policy = ExponentialRetry::new(5).clone_with(ByReplay).classify(
//!         GrpcClassifier::new().codes_with_pushback([GrpcCode::ResourceExhausted]),
//!     );
//!     let rate = WindowRateLimitLayer::new(100, Duration::from_secs(1));
//!     let pause = PauseOnHintLayer::new(rate.handle(), GrpcHints);
//!     // All attempts and waits together end within the `grpc-timeout` of a call, or 30 s.
//!     let deadline = DeadlineLayer::from_request(GrpcTimeout)
//!         .at_most(Duration::from_secs(30))
//!         .reject_with(grpc_rejection);
//!     let channel = ServiceBuilder::new()
//!         .layer(deadline)
//!         .layer(ReplayLayer::new())
//!         .layer(ExponentialRetryLayer::new(policy))
//!         .layer(rate)
//!         .layer(pause)
//!         .map_request(send_grpc_timeout) // the time that is left for the attempt
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
//! - Clone the generated client for each call. A cancelled call of a client keeps its permit, or
//!   its position in the queue, until that client calls again or is dropped.
//! - At its deadline, a call fails with `DEADLINE_EXCEEDED` by the layer. Without it, the channel
//!   fails with `CANCELLED` at the time that `set_timeout` names.
//! - A pushback is the time of one permit. Size the limit of the client like that of the server, or
//!   all callers come again at that time.
//! - Repeating a call must do no harm: see [`GrpcClassifier`](crate::client::GrpcClassifier).
//! - A server with [`grpc_rejection`](crate::server::grpc_rejection()) responds with
//!   `RESOURCE_EXHAUSTED` and a pushback at a rate limit. A message that is too large has the same
//!   code without one, and would fail at each attempt. Therefore the code is retried
//!   [only with a pushback](crate::client::GrpcClassifier::codes_with_pushback).
//! - A rejection by a limit of the client is a status with the code that a server would respond
//!   with, and the `Rejected` as its cause. With `.reject_with(grpc_rejection)` it has a pushback,
//!   too.
