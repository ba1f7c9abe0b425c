use http::Request;

use crate::{current_deadline, headers::grpc_timeout, time};

/// Sets the `grpc-timeout` of a request to the time left of the [deadline](crate::deadline).
///
/// For `map_request`, between the retry and the client, so that each attempt is told the time that
/// is left once it has waited for queue, window, and earlier attempts with their backoffs. The time
/// is rounded down, to no less than a nanosecond. Without a current deadline, or with a timeout
/// that is no longer, the request is left as it is. Not behind a `Buffer`, whose worker has no
/// current deadline.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::{
///     DeadlineLayer, WindowRateLimitLayer, client::send_grpc_timeout, deadline::GrpcTimeout,
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let channel = ServiceBuilder::new()
///     .layer(DeadlineLayer::from_request(GrpcTimeout))
///     .layer(WindowRateLimitLayer::new(1, Duration::from_secs(1)))
///     .map_request(send_grpc_timeout)
///     .service(service_fn(|request: Request<()>| async move {
///         let timeout = request.headers()["grpc-timeout"].clone();
///         Ok::<_, std::convert::Infallible>(Response::new(timeout))
///     }));
///
/// let request = || Request::builder().header("grpc-timeout", "5S").body(()).unwrap();
/// assert_eq!(channel.clone().oneshot(request()).await?.body(), "5S");
/// // The second request waits a second for the window.
/// assert_eq!(channel.oneshot(request()).await?.body(), "4000000u");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn send_grpc_timeout<B>(mut request: Request<B>) -> Request<B> {
    if let Some(deadline) = current_deadline::current() {
        let left = deadline.saturating_duration_since(time::now());
        grpc_timeout::shorten(request.headers_mut(), left);
    }
    request
}
