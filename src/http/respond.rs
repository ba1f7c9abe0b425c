use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};

use crate::{clock::whole_secs, rejected::Rejected};

/// Answers a request that was turned away: `.respond(http::respond)`, on either limiting layer.
///
/// | turned away by | status | `Retry-After` |
/// | --- | --- | --- |
/// | a rate limit | 429 Too Many Requests (RFC 6585, 4) | whole seconds until there is room, rounded up, never 0 (RFC 9110, 10.2.3) |
/// | a concurrency limit, full or closed | 503 Service Unavailable (RFC 9110, 15.6.4) | none: nobody knows the time |
///
/// The body is empty, and of the inner service's type, which is inferred: one with a `Default`, as servers' bodies have.
/// ([`respond_with`] is for others.)
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode, header::RETRY_AFTER}, routing::get};
/// use std::time::Duration;
/// use tower::ServiceExt;
/// use tower_floodgate::{WindowRateLimitLayer, http};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// let limit = WindowRateLimitLayer::new(1, Duration::from_secs(10)).max_waiting(0);
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(limit.respond(http::respond)); // no `HandleErrorLayer`
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
pub fn respond<B: Default>(rejected: Rejected) -> Response<B> {
    respond_with(&rejected, B::default())
}

/// [`respond()`] with a `Retry-After` of `fallback`, rounded up to whole seconds, where nobody knows the
/// time: at a concurrency limit, whether it is full or closed.
///
/// ```
/// use axum::body::Body;
/// use std::time::Duration;
/// use tower_floodgate::{ConcurrencyBackpressureLayer, http};
///
/// let layer = ConcurrencyBackpressureLayer::new(100)
///     .max_waiting(50)
///     .respond(http::respond_or_after::<Body>(Duration::from_secs(5)));
/// # let _ = layer;
/// ```
pub fn respond_or_after<B: Default>(
    fallback: Duration,
) -> impl Fn(Rejected) -> Response<B> + Copy + Send + Sync {
    move |rejected| {
        let wait = rejected.retry_after().unwrap_or(fallback);
        answer(&rejected, Some(wait), B::default())
    }
}

/// [`respond()`] with a body.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::{Rejected, WindowRateLimitLayer, http};
///
/// let layer = WindowRateLimitLayer::new(100, Duration::from_secs(1))
///     .max_waiting(10)
///     .respond(|rejected: Rejected| http::respond_with(&rejected, rejected.to_string()));
/// # let _ = layer;
/// ```
#[must_use]
pub fn respond_with<B>(rejected: &Rejected, body: B) -> Response<B> {
    answer(rejected, rejected.retry_after(), body)
}

/// The value of a `Retry-After` field for a rejection: whole seconds, rounded up, never 0 (RFC 9110,
/// 10.2.3). `None` if nobody knows the time. For answers of your own; [`respond()`] has it.
#[must_use]
pub fn retry_after_value(rejected: &Rejected) -> Option<HeaderValue> {
    rejected.retry_after_secs().map(HeaderValue::from)
}

fn answer<B>(rejected: &Rejected, wait: Option<Duration>, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = if rejected.is_rate_limited() {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if let Some(wait) = wait {
        response.headers_mut().insert(RETRY_AFTER, whole_secs(wait).into());
    }
    response
}
