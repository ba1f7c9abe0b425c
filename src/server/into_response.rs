use axum::response::{IntoResponse, Response};

use crate::rejected::Rejected;

/// Makes axum's response of any type that a handler may return:
/// `.reject_with(into_response(|rejected| ...))`, on each layer.
///
/// The function returns a tuple, a `Json`, a type of your own: any [`IntoResponse`]. Without this,
/// `reject_with` takes functions that return the response of the inner service itself.
///
/// ```
/// use axum::{Json, Router, body::Body, http::{Request, StatusCode}, routing::get};
/// use std::time::Duration;
/// use tower::ServiceExt;
/// use tower_floodgate::{WindowRateLimitLayer, server::into_response};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// let limit = WindowRateLimitLayer::new(1, Duration::from_secs(10)).max_queue(0);
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(limit.reject_with(
///     into_response(|rejected| {
///         let seconds = rejected.retry_after_secs();
///         (StatusCode::TOO_MANY_REQUESTS, Json(serde_json::json!({ "retry_in": seconds })))
///     }),
/// ));
///
/// let get = || app.clone().oneshot(Request::new(Body::empty()));
/// assert_eq!(get().await?.status(), StatusCode::OK);
/// let response = get().await?;
/// assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
/// assert_eq!(response.headers()["content-type"], "application/json");
/// # Ok(())
/// # }
/// ```
pub fn into_response<R: IntoResponse>(
    respond: impl Fn(Rejected) -> R + Clone,
) -> impl Fn(Rejected) -> Response + Clone {
    move |rejected| respond(rejected).into_response()
}
