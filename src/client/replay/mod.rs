//! Request bodies that can be sent again.
//!
//! A retry needs a copy of the request, and a stream can't be copied. A [`ReplayBody`] keeps its
//! frames while it is being sent. Its copies send the same frames from the beginning, and continue
//! the stream where the last copy stopped.
//!
//! A body keeps up to [`max_bytes`](ReplayLayer::max_bytes). Beyond that, it is *sent but not
//! resent*: the body continues unchanged, the kept frames are freed at once, and a failure is
//! returned as it is ([`StopReason::NotReplayable`](crate::retry::StopReason::NotReplayable)).
//!
//! [`HttpRetryLayer`](crate::client::HttpRetryLayer) contains the layer. Alone, it stands outside
//! the retry, which makes its copies with [`ByReplay`]:
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer,
//!     client::{ByReplay, ReplayBody, ReplayLayer},
//!     retry::Verdict,
//! };
//!
//! type Body = Full<bytes::Bytes>; // or any other: axum's, hyper's, a stream
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
//!     .layer(ReplayLayer::new())
//!     .layer(ExponentialRetryLayer::new(policy))
//!     .service(service_fn(|request: Request<ReplayBody<Body>>| {
//!         // Fails once, after reading the body.
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
//! Clients that take any body, as hyper's do, need nothing else. For a client with its own body
//! type, convert each copy *inside* the retry:
//!
//! ```
//! # use http::{Request, Response};
//! # use tower::{Service, ServiceBuilder};
//! # use tower_floodgate::{
//! #     ExponentialRetry, ExponentialRetryLayer,
//! #     client::{ByReplay, ReplayBody, ReplayLayer},
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
//!     .layer(ReplayLayer::new())
//!     .layer(ExponentialRetryLayer::new(policy))
//!     .map_request(|request: Request<ReplayBody<_>>| request.map(tonic::body::Body::new))
//!     .service(channel)
//! # }
//! ```
//!
//! For axum's type it is `axum::body::Body::new`.
//!
//! # reqwest
//!
//! A request of reqwest's does not name the type of its body. With the feature `reqwest`, the layer
//! makes a `ReplayRequest` of it, which holds a streamed body apart, and
//! [`HttpRetryLayer`](crate::client::HttpRetryLayer) unites the two inside the retry. A body in
//! memory is sent again whatever its length, as reqwest's `try_clone` does.
//!
//! # Two copies at once
//!
//! A server may respond before it has read the body, so the connection may still send the first
//! copy when the retry begins. The stream has one reader. Once the retry is decided, that is the
//! copy of the retry, and copies made before it end with [`ReplayError::Replaced`]. They end with
//! an error because a body that merely ended would be taken for complete. Their tasks are woken.
//!
//! # Costs
//!
//! A body that is empty, or known to be longer than `max_bytes`, costs nothing. Any other is placed
//! behind an `Arc` with a mutex, locked for each frame and for each copy that is made, and
//! contended only while two copies are read at once. Kept frames are stored in a `Vec`; data that
//! is `Bytes` is not copied. Nothing is kept once no copy could send it again.
//!
//! The head of a request is copied whatever its body, because the classifier and the hook read it.
//!
//! # Caveats
//!
//! - `Bytes` count by their length, though they may be a small part of a large buffer that they
//!   keep alive. A frame of less than 128 bytes counts as 128, the memory for keeping it: a body of
//!   very small frames exceeds `max_bytes` sooner.
//! - The body must be `Unpin`, because it moves among the copies. Box any other before:
//!   `map_request(|request: Request<_>| request.map(Box::pin))`.
//! - A body that the server did not want (`Expect: 100-continue`) was not polled, and is still
//!   whole.
//! - Whether repeating a request does harm is for the classifier to decide.

mod body;
mod layer;
#[cfg(feature = "reqwest")]
mod of_reqwest;
mod request;
mod service;
mod source;

#[cfg(feature = "reqwest")]
pub use self::of_reqwest::ReplayRequest;
pub use self::{
    body::{ReplayBody, ReplayError},
    layer::ReplayLayer,
    request::ByReplay,
    service::Replay,
};
