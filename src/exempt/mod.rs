//! Some requests bypass a layer, such as health checks of a server at its limit.
//!
//! [`ExemptLayer`] puts any Tower layer (or a stack of them) on a service, and sends the requests
//! that a predicate selects straight to the service itself.
//!
//! ```
//! use tower::{Layer, Service, service_fn};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, ExemptLayer, Rejected};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let limit = ConcurrencyBackpressureLayer::new(1)
//!     .max_queue(0)
//!     .reject_with(|_: Rejected| "503".to_owned());
//! let layer = ExemptLayer::new(|path: &&str| *path == "/health", limit);
//! let mut service = layer.layer(service_fn(|path: &'static str| async move {
//!     if path == "/slow" {
//!         std::future::pending::<()>().await;
//!     }
//!     Ok::<_, std::convert::Infallible>(format!("200 {path}"))
//! }));
//!
//! let mut slow = std::pin::pin!(service.call("/slow")); // always ready
//! assert!(futures::poll!(&mut slow).is_pending());
//! assert_eq!(service.call("/").await?, "503");
//! assert_eq!(service.call("/health").await?, "200 /health");
//! # Ok(())
//! # }
//! ```
//!
//! # Readiness
//!
//! `poll_ready` is called before there is a request, so it can't know which way the request will
//! go. Hence:
//!
//! - **The service is always ready, and requests wait in the call.** The future of a call drives a
//!   clone of the inner service or of the layered one to readiness, then calls that very clone. A
//!   request that is not exempt waits for its permit there.
//! - **Backpressure ends here.** A caller that calls without pause accumulates futures. Servers
//!   make one call for each request in any case; bound the queue (`max_queue`, `max_wait`).
//! - **The inner service is `Clone`**, as servers want it, and an error of its readiness is an
//!   error of the call.
//! - An exempt request is not counted, does not wait, and is not rejected by a closed layer.
//!
//! Dropping a call drops the clone that it drives, with its position in the queue or its permit.
//!
//! # Types
//!
//! Both ways respond with one type. Where the layer changes it, change it back outside the layer:
//! [`ServiceBuilder`](tower::ServiceBuilder)`::new().map_response(...).layer(...)` is a layer too
//! (for axum, `map_response(IntoResponse::into_response)`; the [guide](crate::guide::axum) shows
//! it). The error type is the layered service's, made from the inner one's by `From`.

pub mod future;
mod layer;
mod service;

pub use self::{layer::ExemptLayer, service::Exempt};
