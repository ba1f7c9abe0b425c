use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, LazyLock},
};

use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    AsError, Attempts, PlainError, RequestHead, ResponseHead,
    failure::{Failure, may_be_of_redirect},
    http_hints::retry_wait,
};
use crate::{
    rejected::Rejected,
    retry::{Classify, Verdict},
    settings::{InvalidSetting, literal},
};

/// The statuses that [`HttpClassifier`] retries by default: 408, 425, 429, 500, 502, 503, 504.
pub static DEFAULT_RETRIED_STATUSES: LazyLock<Vec<StatusCode>> = LazyLock::new(|| {
    // By number: `http` has had a constant for 425 since 1.2 only.
    let statuses = [408, 425, 429, 500, 502, 503, 504];
    statuses.into_iter().filter_map(|status| StatusCode::from_u16(status).ok()).collect()
});

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Retries HTTP failures that are likely to pass, where repeating the request does no harm.
///
/// | outcome | is retried |
/// | --- | --- |
/// | a status of [`DEFAULT_RETRIED_STATUSES`], or of the [set ones](Self::statuses) | if the request is repeatable; not before [`Retry-After`](super::parse_retry_after) or the [reset](super::parse_rate_limit_reset) of a rate limit |
/// | an error that says the connection failed, or the time was up | if the request is repeatable |
/// | an error that says the request [never reached the server](super#did-the-request-reach-the-server) | always |
/// | a [`Rejected`] of this crate's limits | always, not before its time; never if the limit is closed |
/// | anything else | never |
///
/// A request is *repeatable* if its method is idempotent (GET, HEAD, OPTIONS, TRACE, PUT, DELETE:
/// RFC 9110, 9.2.2), if it has an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), or
/// with [`any_method`](Self::any_method).
///
/// Errors are inspected down their whole `source()` chain: those of hyper, hyper-util and h2, and
/// with the feature `reqwest` reqwest's. A client that turns statuses into errors hides them:
/// classify the response.
///
/// The response carries the number of its [`Attempts`].
///
/// Requests and responses are those of the `http` crate, and with the feature `reqwest` reqwest's.
/// `M` is inferred from the error type of the service: any [`Error`](std::error::Error), or a
/// `BoxError`.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use http::{Request, Response, StatusCode};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::{
///     ExponentialRetry, ExponentialRetryLayer,
///     client::{Attempts, HttpClassifier},
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// # static CALLS: AtomicU32 = AtomicU32::new(0);
/// # let client = service_fn(|_: Request<String>| async {
/// #     let mut response = Response::new(());
/// #     if CALLS.fetch_add(1, Ordering::Relaxed) == 0 {
/// #         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
/// #     }
/// #     Ok::<_, BoxError>(response)
/// # });
/// let policy = ExponentialRetry::new(3).classify(HttpClassifier::new());
/// let service = ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(client);
///
/// let response = service.oneshot(Request::get("/").body(String::new())?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// assert_eq!(Attempts::from_response(&response).get(), 2);
/// # Ok(())
/// # }
/// ```
pub struct HttpClassifier<M = PlainError> {
    statuses: Statuses,
    any_method: bool,
    assume_no_redirects: bool,
    attempt_header: Option<Arc<HeaderName>>,
    errors: PhantomData<fn() -> M>,
}

impl<M> HttpClassifier<M> {
    /// Retries [`DEFAULT_RETRIED_STATUSES`] and failed connections of repeatable requests.
    #[must_use]
    pub fn new() -> Self {
        Self {
            statuses: literal(Statuses::try_from_iter(DEFAULT_RETRIED_STATUSES.iter().copied())),
            any_method: false,
            assume_no_redirects: false,
            attempt_header: None,
            errors: PhantomData,
        }
    }

    /// Retries exactly these statuses.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_floodgate::client::{DEFAULT_RETRIED_STATUSES, HttpClassifier};
    ///
    /// let statuses = DEFAULT_RETRIED_STATUSES.iter().copied().chain([StatusCode::CONFLICT]);
    /// let classify: HttpClassifier = HttpClassifier::new().statuses(statuses);
    /// # let _ = classify;
    /// ```
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
        self.statuses = Statuses::try_from_iter(statuses)?;
        Ok(self)
    }

    /// Repeats requests of any method: for servers where repeating does no harm.
    #[must_use]
    pub fn any_method(mut self) -> Self {
        self.any_method = true;
        self
    }

    /// Assumes that the reqwest client follows no redirects.
    ///
    /// By default reqwest follows them (see `redirect::Policy::none()`), and a server may respond
    /// with one to a POST that it has carried out. If the request that follows fails to connect,
    /// its error looks as if the POST never reached the server. So without this setting, such an
    /// error of reqwest's is retried only if the request is repeatable.
    #[cfg(feature = "reqwest")]
    #[must_use]
    pub fn assume_no_redirects(mut self) -> Self {
        self.assume_no_redirects = true;
        self
    }

    /// Sends with each retry the number of earlier attempts in the header `name`.
    #[must_use]
    pub fn attempt_header(mut self, name: HeaderName) -> Self {
        self.attempt_header = Some(Arc::new(name));
        self
    }

    fn is_repeatable<R: RequestHead>(&self, request: &R) -> bool {
        self.any_method
            || request.method().is_idempotent()
            || request.headers().contains_key(&IDEMPOTENCY_KEY)
    }
}

/// The verdict on a rejection by a limit of this crate.
pub(super) fn rejected_verdict(rejected: &Rejected) -> Verdict {
    if rejected.is_closed() {
        return Verdict::Never;
    }
    rejected.retry_after().map_or(Verdict::Retry, Verdict::RetryAfter)
}

impl<Req, Res, E, M> Classify<Req, Res, E> for HttpClassifier<M>
where
    Req: RequestHead,
    Res: ResponseHead,
    E: AsError<M>,
{
    fn classify(&self, request: &Req, result: &Result<Res, E>) -> Verdict {
        let error = match result {
            Ok(response) if !self.statuses.contains(response.status()) => return Verdict::Done,
            Ok(_) if !self.is_repeatable(request) => return Verdict::Done,
            Ok(response) => {
                return retry_wait(response).map_or(Verdict::Retry, Verdict::RetryAfter);
            }
            Err(error) => error.as_error(),
        };
        let retry = match Failure::from_error(error) {
            Failure::Rejected(rejected) => return rejected_verdict(rejected),
            Failure::Unreached if self.assume_no_redirects || !may_be_of_redirect(error) => true,
            Failure::Unreached | Failure::Interrupted => self.is_repeatable(request),
            Failure::Other => false,
        };
        if retry { Verdict::Retry } else { Verdict::Done }
    }

    fn prepare(&self, request: &mut Req, attempts: u32) {
        if let Some(name) = &self.attempt_header {
            let name = HeaderName::clone(name);
            // A full map has no room for it.
            let _ = request.headers_mut().try_insert(name, HeaderValue::from(attempts));
        }
    }

    fn settled(&self, _: &Req, attempts: u32, result: &mut Result<Res, E>) {
        if let Ok(response) = result {
            Attempts::store(attempts, response);
        }
    }

    fn needs_settled(&self, attempts: u32) -> bool {
        Attempts::is_stored(attempts)
    }
}

impl<M> Default for HttpClassifier<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// For any `M`.
impl<M> Clone for HttpClassifier<M> {
    fn clone(&self) -> Self {
        Self { attempt_header: self.attempt_header.clone(), ..*self }
    }
}

impl<M> fmt::Debug for HttpClassifier<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClassifier")
            .field("statuses", &self.statuses)
            .field("any_method", &self.any_method)
            .field("assume_no_redirects", &self.assume_no_redirects)
            .field("attempt_header", &self.attempt_header)
            .finish()
    }
}

/// A set of statuses from 400 to 599, as bits because it is copied for each request.
#[derive(Clone, Copy)]
struct Statuses([u64; 4]);

impl Statuses {
    fn try_from_iter(
        statuses: impl IntoIterator<Item = StatusCode>,
    ) -> Result<Self, InvalidSetting> {
        let mut set = Self([0; 4]);
        for status in statuses {
            let Some((word, bit)) = Self::position(status) else {
                let expected = "between 400 and 599";
                return Err(InvalidSetting::new("statuses", status.as_u16(), expected));
            };
            set.0[word] |= bit;
        }
        Ok(set)
    }

    fn contains(self, status: StatusCode) -> bool {
        Self::position(status).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }

    fn position(status: StatusCode) -> Option<(usize, u64)> {
        let index = usize::from(status.as_u16()).checked_sub(400).filter(|&index| index < 200)?;
        Some((index / 64, 1 << (index % 64)))
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (400..600).filter_map(|status| StatusCode::from_u16(status).ok());
        f.debug_set().entries(all.filter(|&status| self.contains(status))).finish()
    }
}
