//! What is particular to gRPC. With the feature `grpc`; for tonic, but without depending on it.
//!
//! # A client
//!
//! | to | write |
//! | --- | --- |
//! | retry what failed with `UNAVAILABLE`, and obey the server's pushback | [`ExponentialRetry::new(3).classify(GrpcClassifier::new())`](GrpcClassifier) |
//! | retry other codes, too | [`GrpcClassifier::codes`] |
//! | let one pushback hold back every call | [`PauseOnHintLayer::new(handle, grpc::ServerHints)`](ServerHints) |
//! | learn how many attempts an answer took | [`Attempts::of_extensions`](crate::http::Attempts::of_extensions) of tonic's response |
//!
//! ```
//! use std::{
//!     sync::atomic::{AtomicU32, Ordering},
//!     time::Duration,
//! };
//! use http::{HeaderValue, Request, Response};
//! use tokio::time::Instant;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer,
//!     grpc::{Code, GrpcClassifier},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! // Fails twice, and says when to come again: 250 ms after each.
//! # let channel = service_fn(|request: Request<String>| async move {
//! #     let mut response = Response::new(());
//! #     let fails = CALLS.fetch_add(1, Ordering::Relaxed) < 2;
//! #     let status = if fails { Code::Unavailable } else { Code::Ok };
//! #     response.headers_mut().insert("grpc-status", HeaderValue::from(status as u16));
//! #     response.headers_mut().insert("grpc-retry-pushback-ms", HeaderValue::from(250));
//! #     Ok::<_, BoxError>(response)
//! # });
//! let policy = ExponentialRetry::new(4).classify(GrpcClassifier::new());
//! let service = ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(channel);
//!
//! let start = Instant::now();
//! let response = service.oneshot(Request::new(String::new())).await?;
//! assert_eq!(response.headers()["grpc-status"], "0");
//! assert_eq!(start.elapsed(), Duration::from_millis(500));
//! # Ok(())
//! # }
//! ```

mod answer;
mod classifier;
mod code;
mod hints;
mod respond;

pub use self::{classifier::GrpcClassifier, code::Code, hints::ServerHints, respond::respond};
