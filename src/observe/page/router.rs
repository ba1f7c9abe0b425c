use std::{convert::Infallible, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderName, header},
    response::{Html, IntoResponse},
    routing::get,
};
use futures_util::{FutureExt, StreamExt, future::pending};

use super::events::{events, json};
use crate::{
    observe::Limits,
    settings::{self, InvalidSetting, literal},
};

const PAGE: &str = include_str!("page.html");

/// Allows the page's own script and style, by their hashes, and requests to its own server. A test
/// tells the hashes after a change of the page.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-An4UoTbJA0ooWEM+lfF/uwacAC2rJ6ocXJxpQ9oKwNo='; \
    style-src 'sha256-+fx4DYt82Ej5WMhnT7PK4AfWQcMK2cI7AThuuKHG27U='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'self'";

/// nginx keeps back a stream unless this is `no`.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

type Signal = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// An axum `Router` with a page that draws limits live. See the [module](crate::observe::page).
///
/// Clones share the set of limits, and have settings of their own.
#[derive(Clone)]
#[must_use = "`into_router` makes the router"]
pub struct LimitsPage {
    limits: Limits,
    interval: Duration,
    signal: Option<Signal>,
}

impl LimitsPage {
    /// Creates a page of `limits`, which are read once a second.
    ///
    /// Limits that are added to the set later appear on open pages, too.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, interval: Duration::from_secs(1), signal: None }
    }

    /// Sets the time between two readings of a viewer. By default one second.
    ///
    /// tokio's timer resolves 1 ms.
    ///
    /// # Panics
    ///
    /// If `interval` is zero or longer than 100 years.
    #[track_caller]
    pub fn interval(self, interval: Duration) -> Self {
        literal(self.try_interval(interval))
    }

    /// Sets the time as [`interval`](Self::interval) does, for a value that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `interval` panics.
    pub fn try_interval(self, interval: Duration) -> Result<Self, InvalidSetting> {
        Ok(Self { interval: settings::duration("interval", interval)?, ..self })
    }

    /// Ends the streams of all viewers when a future completes, such as at a shutdown.
    ///
    /// `signal` is called for each stream and returns its future. Without it, a stream ends only
    /// with its connection, so a graceful shutdown of the server waits until all viewers have
    /// closed the page. At the end of its stream, a page connects anew if the server still listens.
    ///
    /// ```
    /// use tokio::sync::watch;
    /// use tower_floodgate::observe::{Limits, page::LimitsPage};
    ///
    /// let (shutdown, signal) = watch::channel(false);
    /// let page = LimitsPage::new(Limits::new()).end_streams_when(move || {
    ///     let mut signal = signal.clone();
    ///     async move {
    ///         // An error tells that the sender is gone.
    ///         let _ = signal.wait_for(|is_shutdown| *is_shutdown).await;
    ///     }
    /// });
    /// # let _ = (page, shutdown);
    /// ```
    pub fn end_streams_when<F>(self, signal: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { signal: Some(Arc::new(move || Box::pin(signal()))), ..self }
    }

    /// Makes the router.
    ///
    /// It has three routes: `/`, `/events` and `/snapshot`. The state of the router that it is put
    /// in does not matter.
    pub fn into_router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        Router::new()
            .route("/", get(page))
            .route("/events", get(stream))
            .route("/snapshot", get(snapshot))
            .with_state(self)
    }
}

impl fmt::Debug for LimitsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limits, interval, signal } = self;
        f.debug_struct("LimitsPage")
            .field("limits", limits)
            .field("interval", interval)
            .field("ends_streams", &signal.is_some())
            .finish()
    }
}

async fn page() -> impl IntoResponse {
    let headers = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(PAGE))
}

async fn stream(State(page): State<LimitsPage>) -> impl IntoResponse {
    let end = match page.signal {
        Some(signal) => signal().left_future(),
        None => pending().right_future(),
    };
    let events = events(page.limits, page.interval).take_until(end);
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_TYPE, "text/event-stream"),
        (X_ACCEL_BUFFERING, "no"),
    ];
    (headers, Body::from_stream(events.map(Ok::<_, Infallible>)))
}

async fn snapshot(State(page): State<LimitsPage>) -> impl IntoResponse {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_TYPE, "application/json"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, json(&page.limits))
}
