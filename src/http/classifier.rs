use std::{fmt, marker::PhantomData, sync::Arc};

use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    AsError, Attempts, Plain, RequestHead, ResponseHead,
    failure::{Failure, may_be_of_another},
    hints,
};
use crate::{
    rejected::Rejected,
    retry::{Classify, Verdict},
    settings::{InvalidSetting, literal},
};

/// The statuses that an [`HttpClassifier`] retries unless told otherwise: 408, 425, 429, 500, 502, 503 and 504.
pub const RETRIED_STATUSES: [StatusCode; 7] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says what is retried of HTTP: what trying again may mend, if doing it twice does no harm.
///
/// | outcome | is retried |
/// | --- | --- |
/// | a status of [`RETRIED_STATUSES`] or those that are [set](Self::statuses) | if the request may be repeated; not before the time that [`Retry-After`](super::fields::retry_after) or the [reset](super::fields::reset) of a rate limit tells |
/// | an error that says the connection failed, or the time was up | if the request may be repeated |
/// | an error that says the request [never reached the server](super#did-it-reach-the-server) | always |
/// | a [`Rejected`] of one of this crate's limits | always, not before the time it tells; never if the limit is closed |
/// | anything else | never |
///
/// A request *may be repeated* if its method is idempotent (GET, HEAD, OPTIONS, TRACE, PUT, DELETE: RFC 9110, 9.2.2),
/// if it carries an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), or if [any may](Self::any_method).
///
/// Errors are looked at down their whole `source()` chain. What hyper, h2 and reqwest say is understood with the
/// features of their names. A client that makes errors of statuses hides them: classify the response.
///
/// It notes in the response how many [`Attempts`] it took.
///
/// For requests and responses of the `http` crate, and with the feature `reqwest` of reqwest's. `M` is inferred from
/// the error type of the service, which is any [`Error`](std::error::Error) or a `BoxError`.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use http::{Request, Response, StatusCode};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::{
///     ExponentialRetry, ExponentialRetryLayer,
///     http::{Attempts, HttpClassifier},
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
/// assert_eq!(Attempts::of(&response).get(), 2);
/// # Ok(())
/// # }
/// ```
pub struct HttpClassifier<M = Plain> {
    statuses: Statuses,
    any_method: bool,
    without_redirects: bool,
    attempt_header: Option<Arc<HeaderName>>,
    errors: PhantomData<fn() -> M>,
}

impl<M> HttpClassifier<M> {
    /// Retries [`RETRIED_STATUSES`] and failed connections, where the request may be repeated.
    #[must_use]
    pub fn new() -> Self {
        Self {
            statuses: literal(Statuses::try_of(RETRIED_STATUSES)),
            any_method: false,
            without_redirects: false,
            attempt_header: None,
            errors: PhantomData,
        }
    }

    /// Retries these statuses, and no others.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_floodgate::http::{HttpClassifier, RETRIED_STATUSES};
    ///
    /// let classify: HttpClassifier =
    ///     HttpClassifier::new().statuses(RETRIED_STATUSES.into_iter().chain([StatusCode::CONFLICT]));
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

    /// [`statuses`](Self::statuses) for values that are read from somewhere.
    ///
    /// # Errors
    ///
    /// Where `statuses` panics.
    pub fn try_statuses(
        mut self,
        statuses: impl IntoIterator<Item = StatusCode>,
    ) -> Result<Self, InvalidSetting> {
        self.statuses = Statuses::try_of(statuses)?;
        Ok(self)
    }

    /// Repeats requests of any method: the server is known to do nothing twice that must not be.
    #[must_use]
    pub fn any_method(mut self) -> Self {
        self.any_method = true;
        self
    }

    /// Believes reqwest's errors that say that a request never reached the server: the client follows no redirects.
    ///
    /// reqwest follows redirects unless told otherwise (`redirect::Policy::none()`), and a server may answer a POST
    /// that it has carried out with one. If the request that follows fails, its error looks as if it were the POST's. So
    /// unless told of it by this, such an error has a request retried only if it may be repeated.
    #[cfg(feature = "reqwest")]
    #[must_use]
    pub fn without_redirects(mut self) -> Self {
        self.without_redirects = true;
        self
    }

    /// Tells the server in this field, on retries, how many attempts were made before.
    #[must_use]
    pub fn attempt_header(mut self, name: HeaderName) -> Self {
        self.attempt_header = Some(Arc::new(name));
        self
    }

    fn may_repeat<R: RequestHead>(&self, request: &R) -> bool {
        self.any_method
            || request.method().is_idempotent()
            || request.fields().contains_key(&IDEMPOTENCY_KEY)
    }
}

/// When to try again what a limit of this crate has turned away.
pub(crate) fn of_rejected(rejected: &Rejected) -> Verdict {
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
            Ok(_) if !self.may_repeat(request) => return Verdict::Done,
            Ok(response) => {
                return hints::wait(response).map_or(Verdict::Retry, Verdict::RetryAfter);
            }
            Err(error) => error.as_error(),
        };
        let retry = match Failure::of(error) {
            Failure::Rejected(rejected) => return of_rejected(rejected),
            Failure::Unreached if self.without_redirects || !may_be_of_another(error) => true,
            Failure::Unreached | Failure::Interrupted => self.may_repeat(request),
            Failure::Other => false,
        };
        if retry { Verdict::Retry } else { Verdict::Done }
    }

    fn prepare(&self, request: &mut Req, attempts: u32) {
        if let Some(name) = &self.attempt_header {
            let name = HeaderName::clone(name);
            // Left out if it doesn't fit into a map that is full.
            let _ = request.fields_mut().try_insert(name, HeaderValue::from(attempts));
        }
    }

    fn settled(&self, _: &Req, attempts: u32, result: &mut Result<Res, E>) {
        if let Ok(response) = result {
            Attempts::note(attempts, response);
        }
    }

    fn needs_settled(&self, attempts: u32) -> bool {
        Attempts::are_noted(attempts)
    }
}

impl<M> Default for HttpClassifier<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whatever `M` is.
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
            .field("without_redirects", &self.without_redirects)
            .field("attempt_header", &self.attempt_header)
            .finish()
    }
}

/// A set of statuses from 400 to 599, a bit for each: it is copied for every request.
#[derive(Clone, Copy)]
struct Statuses([u64; 4]);

impl Statuses {
    fn try_of(statuses: impl IntoIterator<Item = StatusCode>) -> Result<Self, InvalidSetting> {
        let mut set = Self([0; 4]);
        for status in statuses {
            let Some((word, bit)) = Self::place(status) else {
                let expected = "between 400 and 599";
                return Err(InvalidSetting::new("statuses", status.as_u16(), expected));
            };
            set.0[word] |= bit;
        }
        Ok(set)
    }

    fn contains(self, status: StatusCode) -> bool {
        Self::place(status).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }

    fn place(status: StatusCode) -> Option<(usize, u64)> {
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
