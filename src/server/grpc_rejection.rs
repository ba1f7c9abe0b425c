use http::Response;
use tonic::Status;

use crate::rejected::Rejected;

/// Makes the gRPC response to a rejected call: `.reject_with(grpc_rejection)`, on each layer.
///
/// | rejected by | `grpc-status` | `grpc-retry-pushback-ms` |
/// | --- | --- | --- |
/// | a rate limit | 8, RESOURCE_EXHAUSTED | milliseconds until the next permit, rounded up, at most 2<sup>31</sup> - 1 (gRFC A6) |
/// | a full concurrency limit, or a closed limit | 14, UNAVAILABLE | none: the time is unknown, and the client's own backoff applies |
/// | a concurrency limit, by a [predicted wait](crate::backpressure#predicted-waits) | 14, UNAVAILABLE: the call was not begun, and another server may have room | milliseconds until the wait would fit, if it ever would |
/// | a [deadline](crate::deadline) | 4, DEADLINE_EXCEEDED | none |
///
/// The response is *trailers only* (gRPC over HTTP/2, *Responses*): status 200, an empty body, all
/// headers at once. `grpc-message` tells the reason. A translating layer for gRPC-Web goes outside.
///
/// Without a reject policy, the rejection is an error, of which tonic makes a response with the
/// same code and without the pushback. `tonic::Status::from(rejected)` is the status of this
/// response, for methods that reject by themselves.
///
/// ```
/// use tonic::{Code, body::Body};
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// use tower_floodgate::{ConcurrencyBackpressureLayer, server::grpc_rejection};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0).reject_with(grpc_rejection);
/// let mut service = layer.layer(service_fn(|_: http::Request<Body>| async {
///     Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
/// }));
///
/// let _first = service.ready().await?.call(http::Request::default());
/// let second = service.ready().await?.call(http::Request::default()).await?;
/// let status = tonic::Status::from_header_map(second.headers()).unwrap();
/// assert_eq!(status.code(), Code::Unavailable);
/// assert_eq!(status.message(), "too many requests in flight, and the queue is full");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn grpc_rejection<B: Default>(rejected: Rejected) -> Response<B> {
    Status::from(rejected).into_http()
}
