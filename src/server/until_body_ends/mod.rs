//! Permits that are held until the body of the response has ended.
//!
//! A response future completes with the head of the response. A streamed body (a download, an event
//! stream, a gRPC stream) takes far longer. A layer made by `until_body_ends` of
//! [`ConcurrencyBackpressureLayer`](crate::ConcurrencyBackpressureLayer::until_body_ends) or of
//! [`KeyedLimitLayer`](crate::keyed::KeyedLimitLayer::until_body_ends) holds the permit until the
//! body
//!
//! - has **ended**, or has no more frames (`is_end_stream`), possibly from the start: servers may
//!   not poll it again then;
//! - has **failed**;
//! - or is **dropped**, as when the client disconnects.
//!
//! The response to a rejected request holds no permit. [`handle`](UntilBodyEndsLayer::handle),
//! bounds, the queue and [`drained`](crate::ConcurrencyBackpressureHandle::drained) work as usual,
//! and count bodies.
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
//! # Requests of a key
//!
//! A keyed limit counts a request [in flight](crate::keyed::Rule::max_in_flight) of its keys in the
//! same way. This bounds the downloads of each client:
//!
//! ```
//! use axum::{Router, body::Body, extract::Request, http::StatusCode, routing::get};
//! use tower::ServiceExt;
//! use tower_floodgate::{
//!     keyed::{BearerToken, KeyedLimitLayer, Rule},
//!     server::http_rejection,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let limit = KeyedLimitLayer::new(Rule::new("downloads", BearerToken).max_in_flight(1));
//! let app: Router = Router::new()
//!     .route("/film", get(|| async { "a long one" }))
//!     .layer(limit.reject_with(http_rejection).until_body_ends());
//!
//! let get = |token: &str| {
//!     let request = Request::get("/film").header("authorization", format!("Bearer {token}"));
//!     app.clone().oneshot(request.body(Body::empty()).unwrap())
//! };
//! let first = get("a").await?;
//! assert_eq!(get("a").await?.status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(get("b").await?.status(), StatusCode::OK); // another client
//! drop(first); // or read to its end
//! assert_eq!(get("a").await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! With [`wait`](crate::keyed::KeyedLimitLayer::wait), the next request of a client waits for the
//! end of the body in the place of a rejection:
//! [`KeyedQueueLayer::until_body_ends`](crate::keyed::KeyedQueueLayer::until_body_ends).
//!
//! A permit of a window is issued by the call, and a cost is settled with the head of the response:
//! the body prolongs neither. A key takes a slot of the table as long as one of its bodies.
//!
//! # Caveats
//!
//! - The response has another type, [`PermitBody`]. axum, hyper and tonic pass it on as it is; an
//!   outer layer that responds by itself makes one by `Default`, or of a `String`, which holds no
//!   permit.
//! - reqwest's response keeps its type, its URL and its extensions. Its body is put in a box.
//! - A client that reads slowly holds its permit as long. Bound that at the server, by a timeout
//!   for writing.
//! - The use of a connection after an upgrade is not counted: it has no body.

mod body;
pub mod future;
mod layer;
mod permit;
mod service;

pub use self::{
    body::PermitBody,
    layer::UntilBodyEndsLayer,
    permit::{BodyPermit, ConcurrencyBodyPermit, KeyedBodyPermit, LimitedFuture, TermsBodyPermit},
    service::UntilBodyEnds,
};
