use std::sync::Arc;

use http::{HeaderValue, Response, header::CONTENT_TYPE};

use super::http_rejection_with_body;
use crate::rejected::Rejected;

/// Makes an [`http_rejection`](super::http_rejection()) with a body of `application/problem+json`
/// (RFC 9457): `.reject_with(problem_rejection)`, on each layer.
///
/// | rejected by | `status` | `type`, of [draft-ietf-httpapi-ratelimit-headers][draft], revision 10 |
/// | --- | --- | --- |
/// | a rate limit | 429 | `https://iana.org/assignments/http-problem-types#quota-exceeded` |
/// | a full concurrency limit, or a closed limit | 503 | `https://iana.org/assignments/http-problem-types#temporary-reduced-capacity` |
/// | a [deadline](crate::deadline) | 504 | `about:blank` |
///
/// `title` is that of the type, and `detail` the text of the [`Rejected`], with the time until
/// there is room if that is known. Programs read the time from `Retry-After`.
///
/// The body is of the inner service's type, which is inferred. It is made of a `String`, as those
/// of axum, hyper (`Full<Bytes>`) and reqwest are.
///
/// ```
/// use axum::{Router, body::{Body, to_bytes}, http::Request, routing::get};
/// use std::time::Duration;
/// use tower::ServiceExt;
/// use tower_floodgate::{WindowRateLimitLayer, server::problem_rejection};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let limit = WindowRateLimitLayer::new(1, Duration::from_secs(10)).max_queue(0);
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(limit.reject_with(problem_rejection));
///
/// let get = || app.clone().oneshot(Request::new(Body::empty()));
/// get().await?;
/// let response = get().await?;
/// assert_eq!(response.status(), 429);
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// assert_eq!(response.headers()["retry-after"], "10");
/// let problem: serde_json::Value =
///     serde_json::from_slice(&to_bytes(response.into_body(), 1024).await?)?;
/// assert_eq!(
///     problem,
///     serde_json::json!({
///         "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
///         "title": "Request cannot be satisfied as assigned quota has been exceeded",
///         "status": 429,
///         "detail": "too many requests in this window, and the queue is full; there is room in 10s",
///     }),
/// );
/// # Ok(())
/// # }
/// ```
///
/// [draft]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
#[must_use]
pub fn problem_rejection<B: From<String>>(rejected: Rejected) -> Response<B> {
    respond(&rejected, "")
}

/// Makes a [`problem_rejection`](problem_rejection()) that names the violated policy.
///
/// A rejection by a rate limit has the member `violated-policies` of the draft, with the name that
/// [`RateLimitHeadersLayer`](super::RateLimitHeadersLayer) tells in `RateLimit-Policy`. Others have
/// none. The `detail` of a rejection by a [keyed limit](crate::keyed) names its rule by itself.
///
/// ```
/// use axum::body::Body;
/// use std::time::Duration;
/// use tower_floodgate::{
///     WindowRateLimitLayer,
///     server::{RateLimitHeadersLayer, problem_rejection_with_policy},
/// };
///
/// let limit = WindowRateLimitLayer::new(100, Duration::from_secs(60))
///     .max_queue(10)
///     .reject_with(problem_rejection_with_policy::<Body>("per-minute"));
/// let headers = RateLimitHeadersLayer::new("per-minute", limit.handle());
/// # let _ = headers;
/// ```
pub fn problem_rejection_with_policy<B: From<String>>(
    name: &str,
) -> impl Fn(Rejected) -> Response<B> + Clone + Send + Sync + use<B> {
    let violated: Arc<str> = format!(r#","violated-policies":["{}"]"#, escaped(name)).into();
    move |rejected| respond(&rejected, if rejected.is_rate_limited() { &violated } else { "" })
}

/// `extension` is appended to the members.
fn respond<B: From<String>>(rejected: &Rejected, extension: &str) -> Response<B> {
    let (kind, title) = match () {
        () if rejected.is_rate_limited() => (
            "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
        ),
        () if rejected.is_deadline_exceeded() => ("about:blank", "Gateway Timeout"),
        () => (
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "Request cannot be satisfied due to temporary server capacity constraints",
        ),
    };
    let mut response = http_rejection_with_body(rejected, ());
    // The name of a rule may have any character.
    let detail = escaped(&rejected.to_string());
    let body = format!(
        concat!(r#"{{"type":"{}","title":"{}","#, r#""status":{},"detail":"{}"{}}}"#),
        kind,
        title,
        response.status().as_u16(),
        detail,
        extension,
    );
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response.map(|()| body.into())
}

/// Escapes a text for a string of JSON (RFC 8259, 7).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            '\0'..='\x1f' => escaped.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => escaped.push(character),
        }
    }
    escaped
}
