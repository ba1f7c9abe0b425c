//! Some requests go past a layer: health checks should be answered while the limit is full.
//!
//! [`ExemptLayer`] puts any Tower layer (or a stack of them) on a service, and sends the requests for which a
//! predicate holds straight to the service itself.
//!
//! ```
//! use tower::{Layer, Service, service_fn};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, ExemptLayer, Rejected};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let limit = ConcurrencyBackpressureLayer::new(1)
//!     .max_waiting(0)
//!     .respond(|_: Rejected| "503".to_owned());
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
//! # What it means
//!
//! `poll_ready` is asked before there is a request, so it can't know which way that will go. Hence:
//!
//! - **It is always ready, and the waiting is in the call.** The future of a call makes a clone of the inner
//!   service, or of the layered one, ready, and then calls that very clone: a request that isn't exempt waits for
//!   its place there.
//! - **The caller isn't slowed down.** Backpressure ends here: whoever calls on and on piles up futures, and
//!   nothing makes it pause. Servers make one call for each request anyway; bound the line (`max_waiting`, `max_wait`), so that it
//!   can't grow without end.
//! - **The inner service is `Clone`**, as servers want it, and an error of its readiness is one of the call.
//! - An exempt request isn't counted, waits for nobody, and isn't turned away by a layer that is closed.
//!
//! A call that is dropped drops the clone it is driving, with what that has: its place in the line, or in flight.
//!
//! # Types
//!
//! Both ways answer with one type of response. Where the layer changes it, change it back outside the layer:
//! [`ServiceBuilder`](tower::ServiceBuilder)`::new().map_response(...).layer(...)` is a layer, too (for axum,
//! `map_response(IntoResponse::into_response)`; [`http`](crate::http) shows it). The error type is the layered
//! service's, into which the inner one's is made by `From`.

pub mod future;
mod layer;
mod service;

pub use self::{layer::ExemptLayer, service::Exempt};
