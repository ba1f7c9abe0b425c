//! A request body that can be sent again.
//!
//! A retry needs a copy of the request, and a stream can't be copied. A [`ReplayBody`] keeps what goes by while it
//! is being sent; its copies send the same from the beginning, and then go on with the stream where the last one
//! was.
//!
//! It keeps no more than [`max_bytes`](ReplayBodyLayer::max_bytes). Beyond that it gives up *retrying, not sending*: the
//! body goes on untouched, what was kept is freed at once, and a failure is handed on as it is
//! ([`StopReason::NotReplayable`](crate::retry::StopReason::NotReplayable)).
//!
//! The layer stands outside the retry, which makes its copies with [`ByReplay`]:
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer,
//!     http::replay::{ByReplay, ReplayBody, ReplayBodyLayer},
//!     retry::Verdict,
//! };
//!
//! type Body = Full<bytes::Bytes>; // any other is as good: axum's, hyper's, a stream
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! # use std::sync::atomic::{AtomicBool, Ordering};
//! # let failed = AtomicBool::new(false);
//! let policy = ExponentialRetry::new(3).clone_with(ByReplay).classify(
//!     |_: &Request<ReplayBody<Body>>, result: &Result<Response<String>, BoxError>| match result {
//!         Ok(response) if response.status() == 503 => Verdict::Retry,
//!         _ => Verdict::Done,
//!     },
//! );
//! let client = ServiceBuilder::new()
//!     .layer(ReplayBodyLayer::new())
//!     .layer(ExponentialRetryLayer::new(policy))
//!     .service(service_fn(|request: Request<ReplayBody<Body>>| {
//!         // Fails once, after it has read the body.
//!         # let status = if failed.swap(true, Ordering::Relaxed) { 200 } else { 503 };
//!         async move {
//!             let body = request.into_body().collect().await?.to_bytes();
//!             let mut response = Response::new(String::from_utf8(body.into())?);
//!             # *response.status_mut() = http::StatusCode::from_u16(status)?;
//!             Ok::<_, BoxError>(response)
//!         }
//!     }));
//!
//! let response = client.oneshot(Request::new(Body::from("hello"))).await?;
//! assert_eq!((response.status().as_u16(), response.body().as_str()), (200, "hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # Clients with a body type of their own
//!
//! Where the client takes any body, as hyper's do, nothing is to be done. One with a body type of its own gets it made
//! *inside* the retry, out of each copy:
//!
//! ```
//! # use http::{Request, Response};
//! # use tower::{Service, ServiceBuilder};
//! # use tower_floodgate::{
//! #     ExponentialRetry, ExponentialRetryLayer,
//! #     http::replay::{ByReplay, ReplayBody, ReplayBodyLayer},
//! #     retry::Classify,
//! # };
//! # type Body = tonic::body::Body;
//! # fn client<C>(
//! #     policy: ExponentialRetry<C, ByReplay>,
//! #     channel: tonic::transport::Channel,
//! # ) -> impl Service<Request<Body>, Response = Response<Body>>
//! # where
//! #     C: Clone + Classify<Request<ReplayBody<Body>>, Response<Body>, tonic::transport::Error>,
//! # {
//! ServiceBuilder::new()
//!     .layer(ReplayBodyLayer::new())
//!     .layer(ExponentialRetryLayer::new(policy))
//!     .map_request(|request: Request<ReplayBody<_>>| request.map(tonic::body::Body::new))
//!     .service(channel)
//! # }
//! ```
//!
//! For axum's it is `axum::body::Body::new`, for reqwest's `reqwest::Body::wrap`.
//!
//! # Two copies at once
//!
//! A server may answer before it has read the body, and the connection then still sends the first copy when the retry
//! begins. There is one stream, so there is one who reads it: once a retry is decided upon, the copy it will send is the
//! one, and those made before it end with [`ReplayError::Replaced`], an error, for a body that just ended would be
//! taken for complete. They are woken to learn of it.
//!
//! # What it costs
//!
//! A body that is empty, or known to be longer than `max_bytes`, costs nothing. Any other is put behind an `Arc` with a
//! mutex, which is locked for each frame and for each copy that is made, and contended only where two copies are read at
//! once; what is kept stands in a `Vec`. Data that is `Bytes` is not copied. Nothing is kept once nobody is there who
//! could send it again.
//!
//! # Caveats
//!
//! - `Bytes` are counted as long as they are, though they may be a small part of a large buffer that lives as
//!   long as they do. What is shorter than 128 bytes counts as that much, for keeping it takes as much: a body of
//!   very small frames is given up before `max_bytes`.
//! - The body must be `Unpin`, for it moves among the copies. One that isn't is boxed before:
//!   `map_request(|request: Request<_>| request.map(Box::pin))`.
//! - What isn't polled isn't read: a body that the server didn't want (`Expect: 100-continue`) is still whole.
//! - It says nothing about what may be sent twice. That is for the classifier to know.

mod body;
mod layer;
mod request;
mod service;
mod source;

pub use self::{
    body::{ReplayBody, ReplayError},
    layer::ReplayBodyLayer,
    request::ByReplay,
    service::ReplayBodies,
};
