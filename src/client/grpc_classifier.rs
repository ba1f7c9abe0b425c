use std::{fmt, marker::PhantomData};

use http::{HeaderName, HeaderValue, Request, Response};

use super::{
    AsError, Attempts, GrpcCode, PlainError,
    error_type::error_type,
    failure::Failure,
    grpc_code::Codes,
    grpc_headers::{self, RetryHint},
    hints::retry_wait,
    http_classifier::rejected_verdict,
};
use crate::{
    retry::{Classify, ErrorType, Verdict},
    settings::{InvalidSetting, literal},
};

pub(super) static PREVIOUS_ATTEMPTS: HeaderName =
    HeaderName::from_static("grpc-previous-rpc-attempts");

/// Retries gRPC calls by their code, as gRFC A6 has it: [`GrpcCode::Unavailable`] by default.
///
/// | outcome | verdict |
/// | --- | --- |
/// | `grpc-status` among the headers, a retried code | retry, as the server's hint says |
/// | the same, a code that is retried [with a pushback](Self::codes_with_pushback) | retry, if the server gives a hint |
/// | no `grpc-status`, an HTTP status other than 200 (from a proxy) | by the code that gRPC maps it to: 429, 502, 503 and 504 are `UNAVAILABLE`; not before `Retry-After`, which is the hint |
/// | a failed connection, a timeout of tokio's or tower's (not of tonic's `Endpoint::timeout`), or an error that says the server was [never reached](super#did-the-request-reach-the-server) | as `UNAVAILABLE`, unless the cause is [permanent](super#permanent-failures) |
/// | a [`Rejected`](crate::Rejected) of this crate's limits | retry, not before its time; never if the limit is closed |
/// | anything else | done |
///
/// A pushback is the hint, or else the longest of the other two:
///
/// | header | another attempt |
/// | --- | --- |
/// | `grpc-retry-pushback-ms` | after exactly that time; never if it is negative, unreadable, or given twice |
/// | `google.rpc.RetryInfo` in `grpc-status-details-bin` | not before its `retry_delay`; without effect if that is negative or unreadable |
/// | `Retry-After`, or the reset of a quota of which nothing remains ([hints](super::hints)) | not before that time: gateways such as Kong reject calls of gRPC with it |
///
/// Repeating a call must do no harm: gRPC has no methods that are idempotent by name. A server that
/// fails with `UNAVAILABLE` usually has done nothing, but it may have.
///
/// Retries carry the number of earlier attempts in `grpc-previous-rpc-attempts`, and so does the
/// response to a retry. The number of all of them is stored in the response, and around an error
/// that is a `BoxError`: [`Attempts`].
///
/// Only the head of a response is read. A server or a proxy may send the `grpc-status` of a failure
/// in trailers directly after the head: a [`GrpcTrailersLayer`](super::GrpcTrailersLayer) inside
/// the retry moves it into the head. A `grpc-status` in the trailers of a response that has begun
/// is not seen; A6 does not retry it either.
///
/// `M` is inferred from the error type of the service: any [`Error`](std::error::Error), or a
/// `BoxError`.
pub struct GrpcClassifier<M = PlainError> {
    codes: Codes,
    codes_with_pushback: Codes,
    errors: PhantomData<fn() -> M>,
}

impl<M> GrpcClassifier<M> {
    /// Retries [`GrpcCode::Unavailable`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            codes: Codes::from_codes([GrpcCode::Unavailable]),
            codes_with_pushback: Codes::from_codes([]),
            errors: PhantomData,
        }
    }

    /// Retries exactly these codes. With none, and
    /// [`codes_with_pushback`](Self::codes_with_pushback), a call is retried only if the server
    /// says when.
    ///
    /// ```
    /// use tower_floodgate::client::{GrpcClassifier, GrpcCode};
    ///
    /// let classify: GrpcClassifier =
    ///     GrpcClassifier::new().codes([GrpcCode::Unavailable, GrpcCode::Aborted]);
    /// # let _ = classify;
    /// ```
    ///
    /// # Panics
    ///
    /// If [`GrpcCode::Ok`] is among them.
    #[must_use]
    #[track_caller]
    pub fn codes(self, codes: impl IntoIterator<Item = GrpcCode>) -> Self {
        literal(self.try_codes(codes))
    }

    /// Does what [`codes`](Self::codes) does, for values read at run time.
    ///
    /// # Errors
    ///
    /// If `codes` would panic.
    pub fn try_codes(
        mut self,
        codes: impl IntoIterator<Item = GrpcCode>,
    ) -> Result<Self, InvalidSetting> {
        self.codes = failures("codes", codes)?;
        Ok(self)
    }

    /// Retries these codes, too, if the server says when: by `grpc-retry-pushback-ms`, by a
    /// `google.rpc.RetryInfo`, or by `Retry-After` or a spent quota. By default none.
    ///
    /// `RESOURCE_EXHAUSTED` from a rate limit comes with a time. Without one, the message may be
    /// too large, or a disk full, and the next attempt would fail alike. A code that is among the
    /// [`codes`](Self::codes) as well is retried either way.
    ///
    /// ```
    /// use std::{convert::Infallible, time::Duration};
    /// use http::{Request, Response};
    /// use tower_floodgate::{
    ///     client::{GrpcClassifier, GrpcCode},
    ///     retry::{Classify, Verdict},
    /// };
    ///
    /// let classify = GrpcClassifier::new().codes_with_pushback([GrpcCode::ResourceExhausted]);
    /// let verdict_of =
    ///     |response| classify.classify(&Request::new(()), &Ok::<_, Infallible>(response));
    ///
    /// let too_large = Response::builder().header("grpc-status", "8");
    /// assert_eq!(verdict_of(too_large.body(())?), Verdict::Done);
    /// let limited = Response::builder()
    ///     .header("grpc-status", "8")
    ///     .header("grpc-retry-pushback-ms", "40");
    /// let wait = Duration::from_millis(40);
    /// assert_eq!(verdict_of(limited.body(())?), Verdict::RetryExactly(wait));
    /// # Ok::<_, http::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If [`GrpcCode::Ok`] is among them.
    #[must_use]
    #[track_caller]
    pub fn codes_with_pushback(self, codes: impl IntoIterator<Item = GrpcCode>) -> Self {
        literal(self.try_codes_with_pushback(codes))
    }

    /// Does what [`codes_with_pushback`](Self::codes_with_pushback) does, for values read at run
    /// time.
    ///
    /// # Errors
    ///
    /// If `codes_with_pushback` would panic.
    pub fn try_codes_with_pushback(
        mut self,
        codes: impl IntoIterator<Item = GrpcCode>,
    ) -> Result<Self, InvalidSetting> {
        self.codes_with_pushback = failures("codes_with_pushback", codes)?;
        Ok(self)
    }

    fn verdict<B>(&self, response: &Response<B>) -> Verdict {
        let headers = response.headers();
        let code = code(response).filter(|&code| self.may_retry(code));
        let Some(code) = code else { return Verdict::Done };
        let hint = match grpc_headers::code(headers) {
            Some(_) => grpc_headers::retry_hint(headers),
            None => retry_wait(response).map(RetryHint::NotBefore),
        };
        match hint {
            Some(RetryHint::Exactly(wait)) => Verdict::RetryExactly(wait),
            Some(RetryHint::NotBefore(wait)) => Verdict::RetryAfter(wait),
            Some(RetryHint::Never) => Verdict::Never,
            None if self.codes.contains(code) => Verdict::Retry,
            None => Verdict::Done,
        }
    }

    fn may_retry(&self, code: GrpcCode) -> bool {
        self.codes.contains(code) || self.codes_with_pushback.contains(code)
    }
}

/// Returns the code that the head tells, or else the one that gRPC maps the status of HTTP to.
fn code<B>(response: &Response<B>) -> Option<GrpcCode> {
    let told = grpc_headers::code(response.headers());
    told.or_else(|| grpc_headers::code_of_http(response.status()))
}

/// Checks that all of `codes` are codes of failures.
fn failures(
    setting: &'static str,
    codes: impl IntoIterator<Item = GrpcCode>,
) -> Result<Codes, InvalidSetting> {
    let codes = Codes::from_codes(codes);
    if codes.contains(GrpcCode::Ok) {
        return Err(InvalidSetting::new(setting, codes, "codes of failures, without Ok"));
    }
    Ok(codes)
}

impl<M, B, C, E: AsError<M>> Classify<Request<B>, Response<C>, E> for GrpcClassifier<M> {
    fn classify(&self, _: &Request<B>, result: &Result<Response<C>, E>) -> Verdict {
        match result {
            Ok(response) => self.verdict(response),
            Err(error) => match Failure::from_error(error.as_error()) {
                Failure::Rejected(rejected) => rejected_verdict(rejected),
                Failure::Unreached | Failure::Interrupted
                    if self.codes.contains(GrpcCode::Unavailable) =>
                {
                    Verdict::Retry
                }
                _ => Verdict::Done,
            },
        }
    }

    fn error_type(&self, result: &Result<Response<C>, E>) -> ErrorType {
        match result {
            Ok(response) => code(response).map_or(ErrorType::RESPONSE, ErrorType::from),
            Err(error) => error_type(error.as_error()),
        }
    }

    fn prepare(&self, request: &mut Request<B>, attempts: u32) {
        #[cfg(feature = "tracing")]
        super::note_resend(request, attempts);
        let name = HeaderName::clone(&PREVIOUS_ATTEMPTS);
        // A full map has no room for it.
        let _ = request.headers_mut().try_insert(name, HeaderValue::from(attempts));
    }

    fn settled(&self, _: &Request<B>, attempts: u32, result: &mut Result<Response<C>, E>) {
        Attempts::store(attempts, result);
        if let Ok(response) = result {
            Attempts::store_in_grpc_headers(attempts, response.headers_mut());
        }
    }

    fn needs_settled(&self, attempts: u32) -> bool {
        Attempts::is_stored(attempts)
    }
}

impl<M> Default for GrpcClassifier<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for GrpcClassifier<M> {
    fn clone(&self) -> Self {
        *self
    }
}

/// For any `M`.
impl<M> Copy for GrpcClassifier<M> {}

impl<M> fmt::Debug for GrpcClassifier<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcClassifier")
            .field("codes", &self.codes)
            .field("codes_with_pushback", &self.codes_with_pushback)
            .finish()
    }
}
