//! What is particular to HTTP. With the feature `http`, which is on by default.

pub mod replay;

use http::HeaderValue;

use crate::rejected::Rejected;

/// The value of a `Retry-After` header for a rejection: whole seconds, rounded up, never 0 (RFC 9110,
/// 10.2.3). `None` if nobody knows the time.
///
/// ```
/// use std::time::Duration;
/// use http::{Response, StatusCode, header::RETRY_AFTER};
/// use tower_floodgate::{Rejected, WindowRateLimitLayer, http::retry_after};
///
/// let layer = WindowRateLimitLayer::new(100, Duration::from_secs(1)).max_waiting(10).respond(
///     |rejected: Rejected| {
///         let mut response = Response::new(rejected.to_string());
///         *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
///         response.headers_mut().extend(retry_after(&rejected).map(|value| (RETRY_AFTER, value)));
///         response
///     },
/// );
/// # let _ = layer;
/// ```
#[must_use]
pub fn retry_after(rejected: &Rejected) -> Option<HeaderValue> {
    rejected.retry_after_secs().map(HeaderValue::from)
}
