use std::time::Duration;

use super::{
    ResponseHead,
    http_headers::{is_overload, parse_rate_limit_reset, parse_retry_after},
};
use crate::{pause_on_hint::ReadHint, time};

/// Reads from HTTP responses for how long the server wants no requests: for
/// [`PauseOnHintLayer`](crate::PauseOnHintLayer).
///
/// - On a 429 or 503: [`Retry-After`](parse_retry_after), or else the
///   [reset](parse_rate_limit_reset) of a rate limit.
/// - On any other status: the reset of a rate limit of which nothing remains. So a client that
///   uses up its quota pauses before it is rejected.
///
/// A response without any of these headers costs three lookups in its header map.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::{PauseOnHintLayer, WindowRateLimitLayer, client::HttpHints};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = WindowRateLimitLayer::new(100, Duration::from_secs(1));
/// let handle = limit.handle();
/// let mut service = ServiceBuilder::new()
///     .layer(limit)
///     .layer(PauseOnHintLayer::new(handle.clone(), HttpHints))
///     .service(service_fn(|_: Request<()>| async {
///         Response::builder().header("ratelimit", r#""hourly";r=0;t=40"#).body(())
///     }));
///
/// service.ready().await?.call(Request::new(())).await?;
/// assert_eq!(handle.estimated_wait(), Duration::from_secs(40)); // for all callers
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpHints;

impl<R: ResponseHead, E> ReadHint<R, E> for HttpHints {
    fn read_hint(&self, result: &Result<R, E>) -> Option<Duration> {
        let response = result.as_ref().ok()?;
        let status = response.status();
        if is_overload(status) {
            retry_wait(response)
        } else {
            parse_rate_limit_reset(status, response.headers(), time::time_of_day)
        }
    }
}

/// The wait before another attempt that the response asks for.
pub(super) fn retry_wait<R: ResponseHead>(response: &R) -> Option<Duration> {
    let headers = response.headers();
    parse_retry_after(headers, time::time_of_day)
        .or_else(|| parse_rate_limit_reset(response.status(), headers, time::time_of_day))
}
