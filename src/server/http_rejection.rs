use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};

use crate::{rejected::Rejected, time::whole_secs};

/// Makes the HTTP response to a rejected request: `.reject_with(http_rejection)`, on each layer.
///
/// | rejected by | status | `Retry-After` |
/// | --- | --- | --- |
/// | a rate limit | 429 Too Many Requests (RFC 6585, 4) | whole seconds until the next permit, rounded up, never 0 (RFC 9110, 10.2.3) |
/// | a full concurrency limit, or a closed limit | 503 Service Unavailable (RFC 9110, 15.6.4) | none: the time is unknown |
/// | a concurrency limit, by a [predicted wait](crate::backpressure#predicted-waits) | 503 | as of a rate limit, until the wait would fit, if it ever would |
/// | a [deadline](crate::deadline) | 504 Gateway Timeout (RFC 9110, 15.6.5) | none |
///
/// The body is empty and of the inner service's type, which is inferred. It needs a `Default`, as
/// servers' bodies have; for other types there is [`http_rejection_with_body`].
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode, header::RETRY_AFTER}, routing::get};
/// use std::time::Duration;
/// use tower::ServiceExt;
/// use tower_floodgate::{WindowRateLimitLayer, server::http_rejection};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// let limit = WindowRateLimitLayer::new(1, Duration::from_secs(10)).max_queue(0);
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(limit.reject_with(http_rejection)); // no `HandleErrorLayer`
///
/// let get = || app.clone().oneshot(Request::new(Body::empty()));
/// assert_eq!(get().await?.status(), StatusCode::OK);
/// let response = get().await?;
/// assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
/// assert_eq!(response.headers()[RETRY_AFTER], "10");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn http_rejection<B: Default>(rejected: Rejected) -> Response<B> {
    http_rejection_with_body(&rejected, B::default())
}

/// Makes an [`http_rejection`](http_rejection()) with a `Retry-After` of `fallback` where the time
/// is unknown.
///
/// It is unknown at a full concurrency limit, unless it has predicted the wait, and at a closed
/// limit. `fallback` is rounded up to
/// whole seconds.
///
/// ```
/// use axum::body::Body;
/// use std::time::Duration;
/// use tower_floodgate::{ConcurrencyBackpressureLayer, server::http_rejection_with_fallback};
///
/// let layer = ConcurrencyBackpressureLayer::new(100)
///     .max_queue(50)
///     .reject_with(http_rejection_with_fallback::<Body>(Duration::from_secs(5)));
/// # let _ = layer;
/// ```
pub fn http_rejection_with_fallback<B: Default>(
    fallback: Duration,
) -> impl Fn(Rejected) -> Response<B> + Copy + Send + Sync {
    move |rejected| {
        let wait = rejected.retry_after().unwrap_or(fallback);
        response(&rejected, Some(wait), B::default())
    }
}

/// Makes an [`http_rejection`](http_rejection()) with this body.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::{Rejected, WindowRateLimitLayer, server::http_rejection_with_body};
///
/// let layer = WindowRateLimitLayer::new(100, Duration::from_secs(1)).max_queue(10).reject_with(
///     |rejected: Rejected| http_rejection_with_body(&rejected, rejected.to_string()),
/// );
/// # let _ = layer;
/// ```
#[must_use]
pub fn http_rejection_with_body<B>(rejected: &Rejected, body: B) -> Response<B> {
    response(rejected, rejected.retry_after(), body)
}

/// Makes the value of a `Retry-After` header, for responses of your own.
///
/// Whole seconds, rounded up, never 0 (RFC 9110, 10.2.3). `None` if the time is unknown.
#[must_use]
pub fn retry_after_header(rejected: &Rejected) -> Option<HeaderValue> {
    rejected.retry_after_secs().map(HeaderValue::from)
}

fn response<B>(rejected: &Rejected, wait: Option<Duration>, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = if rejected.is_rate_limited() {
        StatusCode::TOO_MANY_REQUESTS
    } else if rejected.is_deadline_exceeded() {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if let Some(wait) = wait {
        response.headers_mut().insert(RETRY_AFTER, whole_secs(wait).into());
    }
    response
}
