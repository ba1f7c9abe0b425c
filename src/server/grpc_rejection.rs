use http::{HeaderValue, Response, header::CONTENT_TYPE};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    headers::grpc::{GRPC_STATUS, Pushback},
    rejected::Rejected,
};

/// The ASCII characters that a `grpc-message` holds only percent-encoded (gRPC over HTTP/2,
/// *Responses*: `Percent-Encoded`).
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Makes the gRPC response to a rejected call: `.reject_with(grpc_rejection)`, on each layer.
///
/// | rejected by | `grpc-status` | `grpc-retry-pushback-ms` |
/// | --- | --- | --- |
/// | a rate limit | 8, RESOURCE_EXHAUSTED | milliseconds until the next permit, rounded up, at most 2<sup>31</sup> - 1 (gRFC A6) |
/// | a concurrency limit, full or closed | 14, UNAVAILABLE | none: the time is unknown, and the client's own backoff applies |
/// | a [deadline](crate::deadline) | 4, DEADLINE_EXCEEDED | none |
///
/// The response is *trailers only* (gRPC over HTTP/2, *Responses*): status 200, an empty body, all
/// headers at once. `grpc-message` tells the reason. A translating layer for gRPC-Web goes outside.
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
    let mut response = Response::new(B::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let status = match () {
        () if rejected.is_rate_limited() => "8",
        () if rejected.is_deadline_exceeded() => "4",
        () => "14",
    };
    headers.insert(&GRPC_STATUS, HeaderValue::from_static(status));
    let message = utf8_percent_encode(&rejected.to_string(), ENCODED).to_string();
    let message = HeaderValue::try_from(message).expect("percent-encoded text is visible ASCII");
    headers.insert("grpc-message", message);
    if let Some(wait) = rejected.retry_after() {
        Pushback::write(wait, headers);
    }
    response
}
