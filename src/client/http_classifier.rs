use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    AsError, Attempts, PlainError, RequestHead, ResponseHead,
    error_type::error_type,
    failure::{Failure, may_be_of_redirect},
    hints::{Demands, HttpHints},
    statuses::Statuses,
};
use crate::{
    rejected::Rejected,
    retry::{Classify, ErrorType, Verdict},
    settings::{InvalidSetting, literal},
};

const RETRIED: [u16; 14] = [408, 421, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529];

/// Returns the statuses that [`HttpClassifier`] retries by default.
///
/// 408, 421, 425, 429, 500, 502, 503, 504; 520 to 524, by which Cloudflare says that the origin
/// fails or does not respond; and 529, by which Anthropic and others say that they are overloaded.
#[must_use]
pub fn default_retried_statuses() -> &'static [StatusCode] {
    static STATUSES: LazyLock<Vec<StatusCode>> = LazyLock::new(|| {
        RETRIED.into_iter().filter_map(|status| StatusCode::from_u16(status).ok()).collect()
    });
    &STATUSES
}

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Retries HTTP failures that are likely to pass, where repeating the request does no harm.
///
/// | outcome | is retried |
/// | --- | --- |
/// | a status of [`default_retried_statuses`], or of the [set ones](Self::statuses) | if the request is repeatable, not before the time that the server demands by its [hints](super::hints) |
/// | an [ambiguous status](HttpHints::ambiguous_statuses) (403, 418, 420) with a hint | the same; without a hint never |
/// | another status from 400 to 599 with `x-should-retry: true` | the same |
/// | any of these with `x-should-retry: false` | never: [`Verdict::Never`] |
/// | an error that says the connection failed, or the time was up | if the request is repeatable |
/// | an error that says the request [never reached the server](super#did-the-request-reach-the-server) | always, unless its cause is [permanent](super#permanent-failures) |
/// | a [`Rejected`] of this crate's limits | always, not before its time; never if the limit is closed |
/// | anything else | never |
///
/// A request is *repeatable* if its method is idempotent (GET, HEAD, OPTIONS, TRACE, PUT, DELETE:
/// RFC 9110, 9.2.2), if it has an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), or
/// with [`any_method`](Self::any_method). With
/// [`any_method_if_rejected`](Self::any_method_if_rejected), it also is if the server says that it
/// did not carry it out. `x-should-retry: true` does not make a request repeatable.
///
/// Errors are inspected down their whole `source()` chain: those of hyper, hyper-util and h2, and
/// with the feature `reqwest` reqwest's. A client that turns statuses into errors hides them:
/// classify the response.
///
/// The response carries the number of its [`Attempts`], and so does an error that is a `BoxError`.
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
///
/// # Misdirected requests
///
/// A 421 says that the server does not serve this host on this connection, so the retry needs
/// another one (RFC 9110, 15.5.20). A classifier has no hold of connections. The pool of
/// hyper-util's client takes an open connection of HTTP/2 again, and the retry gets the same
/// response, unless a service inside the retry poisons the connection:
///
/// ```
/// use http::{Request, StatusCode};
/// use hyper_util::client::legacy::{
///     Client, Error,
///     connect::{HttpConnector, capture_connection},
/// };
/// use tower::service_fn;
///
/// # fn service(client: Client<HttpConnector, String>) {
/// let service = service_fn(move |mut request: Request<String>| {
///     let connection = capture_connection(&mut request);
///     let response = client.request(request);
///     async move {
///         let response = response.await?;
///         if response.status() == StatusCode::MISDIRECTED_REQUEST {
///             if let Some(connection) = &*connection.connection_metadata() {
///                 connection.poison();
///             }
///         }
///         Ok::<_, Error>(response)
///     }
/// });
/// # let _ = service;
/// # }
/// ```
///
/// reqwest has no such method. Its pool has connections of its own for each host and port, as
/// hyper-util's has, so a 421 comes from a proxy or a wrong `Host` rather than from a connection
/// shared by several hosts; a retry is of use if the proxy has another server for it.
pub struct HttpClassifier<M = PlainError> {
    hints: HttpHints,
    statuses: Statuses,
    any_method: bool,
    any_method_if_rejected: bool,
    assume_no_redirects: bool,
    attempt_header: Option<Arc<HeaderName>>,
    errors: PhantomData<fn() -> M>,
}

impl<M> HttpClassifier<M> {
    /// Retries [`default_retried_statuses`] and failed connections of repeatable requests.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hints: HttpHints::new(),
            statuses: Statuses::of(&RETRIED),
            any_method: false,
            any_method_if_rejected: false,
            assume_no_redirects: false,
            attempt_header: None,
            errors: PhantomData,
        }
    }

    /// Retries exactly these statuses, and those that the server's hints ask for.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_floodgate::client::{HttpClassifier, default_retried_statuses};
    ///
    /// let statuses = default_retried_statuses().iter().copied().chain([StatusCode::CONFLICT]);
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
        self.statuses = Statuses::try_from_iter("statuses", statuses)?;
        Ok(self)
    }

    /// Reads the server's hints by `hints`, which may know other headers and statuses than by
    /// default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::client::{HttpClassifier, HttpHints};
    ///
    /// // The server documents to wait for 30 s after a 429, and does not send it.
    /// let hints = HttpHints::new().default_wait(Duration::from_secs(30));
    /// let classify: HttpClassifier = HttpClassifier::new().hints(hints);
    /// # let _ = classify;
    /// ```
    #[must_use]
    pub fn hints(mut self, hints: HttpHints) -> Self {
        self.hints = hints;
        self
    }

    /// Repeats requests of any method: for servers where repeating does no harm.
    #[must_use]
    pub fn any_method(mut self) -> Self {
        self.any_method = true;
        self
    }

    /// Repeats requests of any method if the server says that it did not carry them out.
    ///
    /// | status | says so |
    /// | --- | --- |
    /// | 421 (RFC 9110, 15.5.20), 425 (RFC 8470, 5.2), 429 | always |
    /// | 503, 529, and other [`statuses`](HttpHints::statuses) of the hints | with a `Retry-After` |
    /// | 403, 418, 420, or the set [`ambiguous_statuses`](HttpHints::ambiguous_statuses) | with a hint |
    ///
    /// A broken connection does not say so: a POST is not repeated then, unlike with
    /// [`any_method`](Self::any_method). The quota of a gateway beside a 503 does not either,
    /// because the server behind it may have begun.
    ///
    /// Off by default.
    #[must_use]
    pub fn any_method_if_rejected(mut self) -> Self {
        self.any_method_if_rejected = true;
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

    /// The verdict on a response with a status from 400 to 599.
    fn verdict_on_failure<R: RequestHead, S: ResponseHead>(
        &self,
        request: &R,
        response: &S,
    ) -> Verdict {
        let status = response.status();
        let demands = self.hints.demands(response.headers());
        let wait = self.hints.wait(status, &demands);
        let is_failure = self.statuses.contains(status)
            || demands.may_retry == Some(true)
            || (wait.is_some() && self.hints.is_ambiguous(status));
        let repeatable = self.is_repeatable(request)
            || (self.any_method_if_rejected && self.is_rejected(status, wait, &demands));
        if !is_failure || !repeatable {
            Verdict::Done
        } else if demands.may_retry == Some(false) {
            Verdict::Never
        } else {
            wait.map_or(Verdict::Retry, Verdict::RetryAfter)
        }
    }

    /// Returns true if the server says that it did not carry the request out.
    fn is_rejected(&self, status: StatusCode, wait: Option<Duration>, demands: &Demands) -> bool {
        matches!(status.as_u16(), 421 | 425 | 429)
            || (self.hints.is_overload(status) && demands.wait.is_some())
            || (self.hints.is_ambiguous(status) && wait.is_some())
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
            Ok(response) if (400..600).contains(&response.status().as_u16()) => {
                return self.verdict_on_failure(request, response);
            }
            Ok(_) => return Verdict::Done,
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

    fn error_type(&self, result: &Result<Res, E>) -> ErrorType {
        match result {
            Ok(response) => ErrorType::status(response.status().as_u16()),
            Err(error) => error_type(error.as_error()),
        }
    }

    fn prepare(&self, request: &mut Req, attempts: u32) {
        #[cfg(feature = "tracing")]
        request.note_resend(attempts);
        if let Some(name) = &self.attempt_header {
            let name = HeaderName::clone(name);
            // A full map has no room for it.
            let _ = request.headers_mut().try_insert(name, HeaderValue::from(attempts));
        }
    }

    fn settled(&self, _: &Req, attempts: u32, result: &mut Result<Res, E>) {
        Attempts::store(attempts, result);
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
        let Self { ref hints, ref attempt_header, .. } = *self;
        Self { hints: hints.clone(), attempt_header: attempt_header.clone(), ..*self }
    }
}

impl<M> fmt::Debug for HttpClassifier<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClassifier")
            .field("statuses", &self.statuses)
            .field("hints", &self.hints)
            .field("any_method", &self.any_method)
            .field("any_method_if_rejected", &self.any_method_if_rejected)
            .field("assume_no_redirects", &self.assume_no_redirects)
            .field("attempt_header", &self.attempt_header)
            .finish()
    }
}
