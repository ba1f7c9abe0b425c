//! Hints: how long a server wants no other request, by the headers of its responses.
//!
//! [`HttpHints`] reads them: for [`PauseOnHintLayer`](crate::PauseOnHintLayer), which holds back
//! all callers, and for [`HttpClassifier`](super::HttpClassifier), which holds back one request.
//! Two rules come before all others:
//!
//! - A wait is never shorter than the demand that counts.
//! - Nothing pauses without evidence. A *reset* counts only for a quota of which nothing remains.
//!   The rest of a quota that cannot be read is not the same as one that is absent: its reset never
//!   counts.
//!
//! # Dialects
//!
//! Names are matched by their words, so that a header of a server that is not listed is understood
//! if it is formed like one that is. `*` is any text, also none.
//!
//! | header | meaning | plain number | sent by |
//! | --- | --- | --- | --- |
//! | `Retry-After`, `*-retry-after` | wait | [`Seconds`](Unit::Seconds) | RFC 9110, 10.2.3; a date is as good (Zoom's is of RFC 3339) |
//! | `retry-after-ms`, `x-ms-retry-after-ms`; `x-amz-retry-after` | wait | [`Millis`](Unit::Millis) | Azure, OpenAI; AWS |
//! | `*limit*-after`, `x-retry-in` | wait | [`Seconds`](Unit::Seconds) | tower_governor, actix-governor; Traefik (`996.9ms`) |
//! | `x-sentry-rate-limits: 60:error:key, 9::org` | waits, each before a colon | [`Seconds`](Unit::Seconds) | Sentry |
//! | `RateLimit: "day";r=0;t=30` (`*ratelimit`) | rest and reset of each policy | seconds from now | draft-ietf-httpapi-ratelimit-headers-10; Cloudflare, Hugging Face, Atlassian (`Beta-RateLimit`) |
//! | `RateLimit: limit=9, remaining=0, reset=30` | the same, of one policy | seconds from now | the same draft up to 07; Zendesk, by endpoint (`zendesk-ratelimit-*`) |
//! | `*limit*-remaining`, `*quota*-remaining`; `-remain`, `-left` | rest of a quota | | the same draft up to 06, and nearly all servers |
//! | `*limit*-reset`, `*quota*-reset` | reset of a quota | [`BySize`](Unit::BySize) | seconds: Reddit, Kong, Envoy; Unix time: GitHub, GitLab, X, Okta, Twitch; in milliseconds: Linear, Mailgun; RFC 3339: Anthropic, Atlassian, Vimeo; HTTP date: GoCardless, Cloudinary; `6m0s`: OpenAI, Groq |
//! | `*limit*-reset-after`, `-resets-in`, `-reset-seconds` | reset of a quota | [`Seconds`](Unit::Seconds) | Discord, Azure Resource Graph (`00:00:03`) |
//! | `*limit*-reset-ms`, `-reset-after-ms` | reset of a quota | [`Millis`](Unit::Millis) | BigCommerce |
//! | `*limit*-resettime`, `-reset-at`, `-reset-timestamp`, `-next` | reset of a quota | [`BySize`](Unit::BySize) | GitLab and Yelp, Gate, Akamai (`-next`) |
//! | `x-bapi-limit-status`, `gw-ratelimit-reset` | rest; reset in milliseconds | | Bybit, KuCoin |
//! | `x-should-retry`, `stripe-should-retry` (`*should-retry`) | whether a retry makes sense | `true`, `false` | OpenAI, Anthropic, Stripe |
//! | `Date`, `Age` | the server's time | | RFC 9110, 6.6.1; RFC 9111, 5.1 |
//!
//! **Quotas.** Rest and reset belong together if the rest of their names is equal:
//! `x-ratelimit-remaining-tokens` and `x-ratelimit-reset-tokens`, or
//! `anthropic-ratelimit-tokens-remaining` and `anthropic-ratelimit-tokens-reset`. A reset without a
//! header of the same name for the rest is explained by one with a longer or a shorter name, or
//! another spelling of it: `x-ratelimit-reset` by `x-ratelimit-remaining-second` or by
//! `ratelimit-remaining`. Up to 16 quotas of a response are read.
//!
//! **Values.** Each header may have several lines, and several values joined by commas; parameters
//! (`76;w=21600`) and quotes are ignored. Numbers may have decimals, an exponent (`1.7e+09`) and a
//! plus. A negative number is unreadable: some servers mean *spent* by it, others *unlimited*. In
//! any header, a value with its own unit (`6m0s`, `1.5h`, `250ms`, `30 seconds`), of ISO 8601
//! (`PT30S`) or in the form of a clock (`00:00:03`, `1.02:03:04`, `1 day, 2:03:04`) is a duration.
//! Dates are those of HTTP and its cookies, of RFC 3339 or ISO 8601 (with any offset, with or
//! without seconds), of RFC 5322, and the usual ones of C, Go, Java, JavaScript and Ruby. Without
//! an offset they are UTC. A leap second is the first one of the next minute.
//!
//! **The server's time.** Dates and Unix times count from the response's own `Date`, so that an
//! error of the local clock has no effect, plus its `Age` if a cache has stored it. The local clock
//! is read only without a `Date`. A time in the past is zero. Seconds from now count from the
//! receipt of the response, without regard to its `Age`: RFC 9110 has it so for `Retry-After`, and
//! a proxy may have added the header to a stored response. So a stored wait can be late, never
//! early.
//!
//! Bodies are not read.
//!
//! # Precedence
//!
//! 1. Of several values of a header, the longest wait and the smallest rest count.
//! 2. Of two headers for the *same* demand, the more precise one counts: `retry-after-ms` before
//!    `Retry-After`, `X-RateLimit-Reset-After` before `X-RateLimit-Reset`. If it is unreadable, the
//!    other one does.
//! 3. Of *different* demands, the longest counts: `Retry-After`, and the reset of each quota that
//!    is spent.
//! 4. A reset of which no header states the rest counts only on a status that says that the client
//!    sends too much ([`statuses`](HttpHints::statuses)), and not beside a `Retry-After`, which the
//!    draft gives precedence.
//! 5. Without any demand, a 429 has the [`default_wait`](HttpHints::default_wait), if one is set.
//!
//! # By status
//!
//! | status | counts |
//! | --- | --- |
//! | 429, 503, 529, or the set [`statuses`](HttpHints::statuses) | all demands |
//! | 403, 418, 420, or the set [`ambiguous_statuses`](HttpHints::ambiguous_statuses) | `Retry-After`, and resets of spent quotas |
//! | any other | resets of spent quotas: a client that uses up its quota pauses before it is rejected |
//!
//! GitHub rejects by 403 as well as 429, Binance by 418, and EVE by 420. A 403 without such a
//! header says that a request is forbidden, and demands nothing.
//!
//! # One handle for each quota
//!
//! A pause holds back every request of the limit. Servers count in buckets, and one may be spent
//! while others are not: GitHub names it in `x-ratelimit-resource`, Discord in
//! `x-ratelimit-bucket`. Requests that are counted apart need a limit, with a handle and a
//! `PauseOnHintLayer`, for each bucket.
//!
//! # Costs
//!
//! One pass over the headers of a response: one search in each name, and for a hint the reading of
//! its value. Nothing is allocated. `HttpClassifier` does it only for statuses from 400 to 599.

mod demands;
mod names;
mod resets;
mod structured;
mod values;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, StatusCode};

pub(super) use self::demands::Demands;
use self::demands::Named;
pub use self::values::Unit;
use super::{ResponseHead, statuses::Statuses};
use crate::{
    pause_on_hint::ReadHint,
    settings::{InvalidSetting, literal},
    time,
};

/// Reads from HTTP responses for how long the server wants no other request. See the
/// [module](self).
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`statuses`](Self::statuses) | 429, 503, 529 | statuses of a server with too many requests |
/// | [`ambiguous_statuses`](Self::ambiguous_statuses) | 403, 418, 420 | statuses that need a header as evidence |
/// | [`default_wait`](Self::default_wait) | none | the wait after a 429 that states none |
/// | [`wait_header`](Self::wait_header), [`quota_headers`](Self::quota_headers), [`should_retry_header`](Self::should_retry_header) | | headers beside those [understood by name](self#dialects) |
///
/// Clones share their settings.
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
///     .layer(PauseOnHintLayer::new(handle.clone(), HttpHints::new()))
///     .service(service_fn(|_: Request<()>| async {
///         Response::builder().header("ratelimit", r#""hourly";r=0;t=40"#).body(())
///     }));
///
/// service.ready().await?.call(Request::new(())).await?;
/// assert_eq!(handle.estimated_wait(), Duration::from_secs(40)); // for all callers
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct HttpHints(Option<Arc<Settings>>);

#[derive(Clone, Debug)]
struct Settings {
    statuses: Statuses,
    ambiguous_statuses: Statuses,
    default_wait: Option<Duration>,
    named: Vec<(HeaderName, Named)>,
}

static DEFAULT: Settings = Settings {
    statuses: Statuses::of(&[429, 503, 529]),
    ambiguous_statuses: Statuses::of(&[403, 418, 420]),
    default_wait: None,
    named: Vec::new(),
};

impl HttpHints {
    /// Understands the dialects of the [module](self).
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Takes exactly these statuses for those of a server that has too many requests.
    ///
    /// On them, a reset counts even if no header states the rest of its quota.
    ///
    /// # Panics
    ///
    /// If one of them is not between 400 and 599.
    #[must_use]
    #[track_caller]
    pub fn statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        literal(self.try_statuses(statuses))
    }

    /// Does what [`statuses`](Self::statuses) does, for values read at run time.
    ///
    /// # Errors
    ///
    /// If `statuses` would panic.
    pub fn try_statuses(
        mut self,
        statuses: impl IntoIterator<Item = StatusCode>,
    ) -> Result<Self, InvalidSetting> {
        self.set().statuses = Statuses::try_from_iter("statuses", statuses)?;
        Ok(self)
    }

    /// Takes exactly these statuses for those that reject too many requests among other things.
    ///
    /// On them, a `Retry-After` counts, and the reset of a quota of which nothing remains.
    /// [`HttpClassifier`](super::HttpClassifier) retries them with such a header, and only then.
    ///
    /// # Panics
    ///
    /// If one of them is not between 400 and 599.
    #[must_use]
    #[track_caller]
    pub fn ambiguous_statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        literal(self.try_ambiguous_statuses(statuses))
    }

    /// Does what [`ambiguous_statuses`](Self::ambiguous_statuses) does, for values read at run
    /// time.
    ///
    /// # Errors
    ///
    /// If `ambiguous_statuses` would panic.
    pub fn try_ambiguous_statuses(
        mut self,
        statuses: impl IntoIterator<Item = StatusCode>,
    ) -> Result<Self, InvalidSetting> {
        self.set().ambiguous_statuses = Statuses::try_from_iter("ambiguous_statuses", statuses)?;
        Ok(self)
    }

    /// Waits for `wait` after a 429 that states no time. Off by default.
    ///
    /// For servers that document a wait and do not send it.
    #[must_use]
    pub fn default_wait(mut self, wait: Duration) -> Self {
        self.set().default_wait = Some(wait);
        self
    }

    /// Reads a wait from `name`, as from `Retry-After`. A plain number is in `unit`.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    /// use tower_floodgate::client::hints::{HttpHints, Unit};
    ///
    /// let hints = HttpHints::new()
    ///     .wait_header(HeaderName::from_static("x-backoff"), Unit::Minutes);
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-backoff", HeaderValue::from_static("2"));
    /// let wait = hints.read(StatusCode::TOO_MANY_REQUESTS, &headers, SystemTime::now);
    /// assert_eq!(wait, Some(Duration::from_secs(120)));
    /// ```
    #[must_use]
    pub fn wait_header(mut self, name: HeaderName, unit: Unit) -> Self {
        self.name(name, Named::Wait(unit));
        self
    }

    /// Reads the rest of a quota from the header `remaining`, and its reset from `reset`. A plain
    /// number of the latter is in `unit`.
    ///
    /// A header that is understood by its name may be given another meaning.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    /// use tower_floodgate::client::hints::{HttpHints, Unit};
    ///
    /// let [rest, reset] = ["x-rl", "x-ttl"].map(HeaderName::from_static);
    /// let hints = HttpHints::new().quota_headers(rest, reset, Unit::Seconds);
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-rl", HeaderValue::from_static("0"));
    /// headers.insert("x-ttl", HeaderValue::from_static("42"));
    /// let wait = hints.read(StatusCode::OK, &headers, SystemTime::now);
    /// assert_eq!(wait, Some(Duration::from_secs(42)));
    /// ```
    #[must_use]
    pub fn quota_headers(mut self, remaining: HeaderName, reset: HeaderName, unit: Unit) -> Self {
        self.name(reset, Named::Reset { remaining: remaining.clone(), unit });
        self.name(remaining, Named::Remaining);
        self
    }

    /// Reads from `name` whether the request may be repeated (`true` or `false`), for
    /// [`HttpClassifier`](super::HttpClassifier).
    #[must_use]
    pub fn should_retry_header(mut self, name: HeaderName) -> Self {
        self.name(name, Named::MayRetry);
        self
    }

    /// Returns for how long the server wants no other request, or `None` without a demand that
    /// counts.
    ///
    /// `now` is called only for dates and Unix times of a response without a `Date`.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use http::{HeaderMap, HeaderValue, StatusCode};
    /// use tower_floodgate::client::HttpHints;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:30 GMT"));
    /// headers.insert("retry-after", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
    /// let read = |status| HttpHints::new().read(status, &headers, SystemTime::now);
    /// assert_eq!(read(StatusCode::FORBIDDEN), Some(Duration::from_secs(7)));
    /// assert_eq!(read(StatusCode::NOT_FOUND), None);
    /// ```
    #[must_use]
    pub fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        now: impl Fn() -> SystemTime,
    ) -> Option<Duration> {
        let demands = Demands::read(headers, &self.settings().named, now);
        if self.is_overload(status) || self.is_ambiguous(status) {
            self.wait(status, &demands)
        } else {
            demands.resets.spent
        }
    }

    /// Reads the demands of a response.
    pub(super) fn demands(&self, headers: &HeaderMap) -> Demands {
        Demands::read(headers, &self.settings().named, time::time_of_day)
    }

    /// Returns the wait before a request that failed with `status` may be repeated.
    pub(super) fn wait(&self, status: StatusCode, demands: &Demands) -> Option<Duration> {
        let Demands { wait, resets, .. } = demands;
        let assumed = resets.unexplained.filter(|_| wait.is_none() && self.is_overload(status));
        wait.max(&resets.spent).max(&assumed).or_else(|| {
            self.settings().default_wait.filter(|_| status == StatusCode::TOO_MANY_REQUESTS)
        })
    }

    /// Returns true if the status alone does not say that the server had too many requests.
    pub(super) fn is_ambiguous(&self, status: StatusCode) -> bool {
        self.settings().ambiguous_statuses.contains(status)
    }

    /// Returns true if the status says that the server had too many requests.
    pub(super) fn is_overload(&self, status: StatusCode) -> bool {
        self.settings().statuses.contains(status)
    }

    fn settings(&self) -> &Settings {
        self.0.as_deref().unwrap_or(&DEFAULT)
    }

    fn set(&mut self) -> &mut Settings {
        Arc::make_mut(self.0.get_or_insert_with(|| Arc::new(DEFAULT.clone())))
    }

    /// Gives a header its meaning. The last call for a name counts.
    fn name(&mut self, name: HeaderName, meaning: Named) {
        let named = &mut self.set().named;
        named.retain(|(known, _)| *known != name);
        named.push((name, meaning));
    }
}

impl<R: ResponseHead, E> ReadHint<R, E> for HttpHints {
    fn read_hint(&self, result: &Result<R, E>) -> Option<Duration> {
        let response = result.as_ref().ok()?;
        self.read(response.status(), response.headers(), time::time_of_day)
    }
}

impl fmt::Debug for HttpHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { statuses, ambiguous_statuses, default_wait, named } = self.settings();
        f.debug_struct("HttpHints")
            .field("statuses", statuses)
            .field("ambiguous_statuses", ambiguous_statuses)
            .field("default_wait", default_wait)
            .field("headers", named)
            .finish()
    }
}

/// Returns the wait that the headers of a rejected call demand: a `Retry-After`, or the reset of a
/// quota of which nothing remains.
#[cfg(feature = "grpc")]
pub(super) fn demanded_wait(headers: &HeaderMap) -> Option<Duration> {
    let demands = HttpHints::new().demands(headers);
    demands.wait.max(demands.resets.spent)
}

/// Returns the wait that a response with a retried status asks for.
#[cfg(feature = "grpc")]
pub(super) fn retry_wait<R: ResponseHead>(response: &R) -> Option<Duration> {
    let hints = HttpHints::new();
    hints.wait(response.status(), &hints.demands(response.headers()))
}
