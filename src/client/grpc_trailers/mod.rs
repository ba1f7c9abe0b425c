//! A gRPC status in trailers that directly follow the head, moved into the head.
//!
//! A call that fails before its first message is answered by headers alone, with the `grpc-status`
//! among them (gRPC's `PROTOCOL-HTTP2.md`: Trailers-Only). Some servers and proxies send two blocks
//! in their place, the headers and then trailers, and so does tonic for a stream that fails before
//! its first message. A retry sees only the head of a response, and takes such a failure for a
//! success.
//!
//! A [`GrpcTrailersLayer`] looks at the first frame of the body. If it is trailers with a
//! `grpc-status` other than 0, the response becomes Trailers-Only: the trailers become headers, in
//! the place of headers of the same names, and the body ends. Any other frame stays the first of
//! the body, including the trailers of a call that succeeded.
//!
//! The layer stands inside everything that reads a status: the retry and
//! [`PauseOnHintLayer`](crate::PauseOnHintLayer).
//!
//! ```
//! use std::convert::Infallible;
//! use bytes::Bytes;
//! use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
//! use http_body_util::{BodyExt, Empty};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::client::GrpcTrailersLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Responds with a head, and then with trailers.
//! let server = service_fn(|_: Request<()>| async {
//!     let status = (HeaderName::from_static("grpc-status"), HeaderValue::from(14));
//!     let trailers = async { Some(Ok::<_, Infallible>(HeaderMap::from_iter([status]))) };
//!     let body = Box::pin(Empty::<Bytes>::new().with_trailers(trailers));
//!     Response::builder().header("content-type", "application/grpc").body(body)
//! });
//! let client = ServiceBuilder::new().layer(GrpcTrailersLayer::new()).service(server);
//!
//! let response = client.oneshot(Request::new(())).await?;
//! assert_eq!(response.headers()["grpc-status"], "14");
//! # Ok(())
//! # }
//! ```
//!
//! # The wait for the first frame
//!
//! A frame that is sent with the head may be read a moment later, by another task or from another
//! packet. The layer waits for it, by default up to 10 ms
//! ([`max_wait`](GrpcTrailersLayer::max_wait)). Trailers that arrive later stay trailers, and the
//! call is not retried.
//!
//! - A call with one response is not delayed: its client needs the first frame anyway.
//! - A stream whose first message takes longer begins up to `max_wait` later, once. Its messages
//!   are not delayed.
//! - Responses that have a `grpc-status` in the head, or whose `content-type` is not
//!   `application/grpc`, are passed on at once.
//!
//! # Costs
//!
//! The first frame is kept in the body, without a box. A wait allocates its timer.
//!
//! # Caveats
//!
//! - The response has another type of body, [`PeekedBody`]. tonic's generated clients take any.
//! - The body must be `Unpin`, as tonic's, hyper's and axum's are. Box any other:
//!   `map_response(|response: Response<_>| response.map(Box::pin))`.
//! - Frames of data without bytes are no messages. Up to 16 of them at once are dropped in front of
//!   the first frame.

mod body;
pub mod future;
mod layer;
mod service;

pub use self::{body::PeekedBody, layer::GrpcTrailersLayer, service::GrpcTrailers};
