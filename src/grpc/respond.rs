use std::time::Duration;

use http::{HeaderValue, Response, header::CONTENT_TYPE};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::rejected::Rejected;

/// What a `grpc-message` can't hold as it is, beside what isn't ASCII (gRPC over HTTP/2, *Responses*:
/// `Percent-Encoded`).
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Answers a call that was turned away: `.respond(grpc::respond)`, on either limiting layer.
///
/// | turned away by | `grpc-status` | `grpc-retry-pushback-ms` |
/// | --- | --- | --- |
/// | a rate limit | 8, RESOURCE_EXHAUSTED | milliseconds until there is room, rounded up, at most 2<sup>31</sup> - 1 (gRFC A6) |
/// | a concurrency limit, full or closed | 14, UNAVAILABLE | none: nobody knows the time, and the client's own backoff counts |
///
/// The answer is *trailers only* (gRPC over HTTP/2, *Responses*): status 200, an empty body, all fields at
/// once. `grpc-message` says why. For gRPC-Web put its translating layer outside.
///
/// ```
/// use tonic::{Code, body::Body};
/// use tower::{Service, ServiceExt, Layer, service_fn};
/// use tower_floodgate::{ConcurrencyBackpressureLayer, grpc};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// let layer = ConcurrencyBackpressureLayer::new(1).max_waiting(0).respond(grpc::respond);
/// let mut service = layer.layer(service_fn(|_: http::Request<Body>| async {
///     Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
/// }));
///
/// let _first = service.ready().await?.call(http::Request::default());
/// let second = service.ready().await?.call(http::Request::default()).await?;
/// let status = tonic::Status::from_header_map(second.headers()).unwrap();
/// assert_eq!(status.code(), Code::Unavailable);
/// assert_eq!(status.message(), "too many requests in flight, and no more may wait");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn respond<B: Default>(rejected: Rejected) -> Response<B> {
    let mut response = Response::new(B::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let status = if rejected.is_rate_limited() { "8" } else { "14" };
    headers.insert("grpc-status", HeaderValue::from_static(status));
    let message = utf8_percent_encode(&rejected.to_string(), ENCODED).to_string();
    let message = HeaderValue::try_from(message).expect("percent-encoded text is visible ASCII");
    headers.insert("grpc-message", message);
    if let Some(wait) = rejected.retry_after() {
        headers.insert("grpc-retry-pushback-ms", pushback(wait).into());
    }
    response
}

/// Whole milliseconds. A number that is no signed 32-bit one would mean *never*.
fn pushback(wait: Duration) -> i32 {
    i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}
