//! A place in flight is held until the response's body has ended.
//!
//! A response future is done when the head of the response is there. Whoever streams (a download, an event
//! stream, a gRPC stream) is at work long after that. A layer made by
//! [`until_body_ends`](crate::ConcurrencyBackpressureLayer::until_body_ends) counts a request as in flight until
//! its answer's body
//!
//! - has **ended**, or says that it has no more frames (`is_end_stream`), be it from the start: servers may not
//!   ask again then;
//! - has **failed**;
//! - or is **dropped**, as it is when the client goes away.
//!
//! An answer to a request that was turned away holds no place. [`handle`](HoldBodyLayer::handle), bounds, the
//! line and [`drained`](crate::ConcurrencyBackpressureHandle::drained) work as ever, and count bodies, too.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_floodgate::ConcurrencyBackpressureLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let layer = ConcurrencyBackpressureLayer::new(10).until_body_ends();
//! let handle = layer.handle();
//! let service = layer.layer(service_fn(|_: Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("hello")))
//! }));
//!
//! let response = service.oneshot(Request::new(())).await?;
//! assert_eq!(handle.in_flight(), 1);
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
//! assert_eq!(handle.in_flight(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Caveats
//!
//! - The response has another type, [`HeldBody`]. What passes it on as a body (axum, hyper, tonic) takes it as
//!   it is; a layer outside that must answer by itself makes one by `Default`, which holds no place.
//! - A client that reads slowly holds its place as long. Bound that where it can be seen: by a timeout for
//!   writing, at the server.
//! - What a connection is used for after an upgrade is no body, and is not counted.

mod body;
pub mod future;
mod layer;
mod service;

pub use self::{body::HeldBody, layer::HoldBodyLayer, service::HoldBody};
