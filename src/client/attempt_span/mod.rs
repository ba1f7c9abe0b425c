//! A span for each attempt of a request of HTTP.
//!
//! With the feature `tracing`. The span of a caller covers a call with all its waits and attempts.
//! An [`AttemptSpanLayer`] inside the retry adds a span for each attempt, so that a trace tells
//! which of them was slow, and on which connection of the layers inside it ran.
//!
//! ```
//! use http::{Request, Response};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer,
//!     client::{AttemptSpanLayer, HttpClassifier},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! # let client = service_fn(|_: Request<String>| async { Ok::<_, BoxError>(Response::new(())) });
//! let policy = ExponentialRetry::new(3).classify(HttpClassifier::new()).name("github");
//! let service = ServiceBuilder::new()
//!     .layer(ExponentialRetryLayer::new(policy))
//!     .layer(AttemptSpanLayer::new()) // inside the retry
//!     .service(client);
//! let response = service.oneshot(Request::get("http://example.com/").body(String::new())?).await?;
//! # assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! # Fields
//!
//! The span is named `attempt`, at the level INFO, with the target `tower_floodgate`. Its fields
//! are those of OpenTelemetry's
//! [spans of HTTP clients](https://opentelemetry.io/docs/specs/semconv/http/http-spans/):
//!
//! | field | value |
//! | --- | --- |
//! | `otel.kind`, `otel.name` | `client`, the method |
//! | `http.request.method` | the method |
//! | `http.request.resend_count` | the number of the resend, from 1; absent of the first attempt |
//! | `url.scheme`, `server.address`, `server.port` | those of the URL, if it has them |
//! | `http.response.status_code` | the status of the response |
//! | `error.type` | of a status from 400, the status; of an error, its [class](crate::retry::ErrorType) |
//! | `otel.status_code` | `ERROR` where `error.type` is set |
//!
//! Neither the path nor the query of the URL is recorded, and no header: they may hold secrets.
//!
//! # The number of the resend
//!
//! | request | its number is known |
//! | --- | --- |
//! | `http::Request` | with [`HttpClassifier`](crate::client::HttpClassifier), `GrpcClassifier`, or a classifier that [notes it](crate::client::note_resend()) |
//! | reqwest's, in an [`HttpRetryLayer`](crate::client::HttpRetryLayer) | the same, if no layer between them delays the call, as a `Buffer` does |
//! | reqwest's, in an [`ExponentialRetryLayer`](crate::ExponentialRetryLayer) | never: its type has no room for it |
//!
//! # Where a span ends
//!
//! With the head of the response, or the error, or the drop of the attempt's future. The body of
//! the response is read outside of it. The wait of the layers inside for their readiness, as that
//! of a limit for a permit, comes before the call, and so before the span.

pub mod future;
mod layer;
pub(super) mod resend;
mod service;

pub use self::{layer::AttemptSpanLayer, service::AttemptSpan};
