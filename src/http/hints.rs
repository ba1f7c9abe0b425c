use std::time::Duration;

use super::{ResponseHead, fields};
use crate::{clock, pause_on_hint::ServerHint};

/// Reads off HTTP responses for how long the server wants no requests, for a
/// [`PauseOnHintLayer`](crate::PauseOnHintLayer).
///
/// - On a 429 or 503: by [`Retry-After`](fields::retry_after), or else by the [reset](fields::reset) of a rate limit.
/// - On any status: by the reset of a rate limit of which the answer says that nothing remains. So a client
///   that uses up its quota pauses before it is turned away.
///
/// An answer without any of these fields costs three lookups in its header map.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::{PauseOnHintLayer, WindowRateLimitLayer, http::ServerHints};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = WindowRateLimitLayer::new(100, Duration::from_secs(1));
/// let handle = limit.handle();
/// let mut service = ServiceBuilder::new()
///     .layer(limit)
///     .layer(PauseOnHintLayer::new(handle.clone(), ServerHints))
///     .service(service_fn(|_: Request<()>| async {
///         Response::builder().header("ratelimit", r#""hourly";r=0;t=40"#).body(())
///     }));
///
/// service.ready().await?.call(Request::new(())).await?;
/// assert_eq!(handle.wait(), Duration::from_secs(40)); // for everybody
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerHints;

impl<R: ResponseHead, E> ServerHint<R, E> for ServerHints {
    fn hint(&self, result: &Result<R, E>) -> Option<Duration> {
        let response = result.as_ref().ok()?;
        if fields::is_turned_away(response.status()) {
            wait(response)
        } else {
            fields::reset(response.status(), response.fields(), clock::time_of_day)
        }
    }
}

/// How long to wait before trying again, if the response says so.
pub(crate) fn wait<R: ResponseHead>(response: &R) -> Option<Duration> {
    let fields = response.fields();
    fields::retry_after(fields, clock::time_of_day)
        .or_else(|| fields::reset(response.status(), fields, clock::time_of_day))
}
