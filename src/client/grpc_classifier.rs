use std::{fmt, marker::PhantomData};

use http::{HeaderName, HeaderValue, Request, Response};

use super::{
    AsError, Attempts, GrpcCode, PlainError, failure::Failure, grpc_code::Codes, grpc_headers,
    hints::retry_wait, http_classifier::rejected_verdict,
};
use crate::{
    headers::grpc::Pushback,
    retry::{Classify, Verdict},
    settings::{InvalidSetting, literal},
};

pub(super) static PREVIOUS_ATTEMPTS: HeaderName =
    HeaderName::from_static("grpc-previous-rpc-attempts");

/// Retries gRPC calls by their code, as gRFC A6 has it: [`GrpcCode::Unavailable`] by default.
///
/// | outcome | verdict |
/// | --- | --- |
/// | `grpc-status` among the headers, a retried code | retry; with `grpc-retry-pushback-ms` after exactly that time, or never if it is negative or unreadable |
/// | no `grpc-status`, an HTTP status other than 200 (from a proxy) | by the code that gRPC maps it to: 429, 502, 503 and 504 are `UNAVAILABLE`; not before `Retry-After` |
/// | a failed connection, a timeout of tokio's or tower's (not of tonic's `Endpoint::timeout`), or an error that says the server was [never reached](super#did-the-request-reach-the-server) | as `UNAVAILABLE`, unless the cause is [permanent](super#permanent-failures) |
/// | a [`Rejected`](crate::Rejected) of this crate's limits | retry, not before its time; never if the limit is closed |
/// | anything else | done |
///
/// Repeating a call must do no harm: gRPC has no methods that are idempotent by name. A server that
/// fails with `UNAVAILABLE` usually has done nothing, but it may have.
///
/// Retries carry the number of earlier attempts in `grpc-previous-rpc-attempts`, and so does the
/// response to a retry. The number of all of them is stored in the response, and around an error
/// that is a `BoxError`: [`Attempts`].
///
/// Only the head of a response is read. Not seen are a `grpc-status` in the trailers of a response
/// that has begun (which A6 does not retry either), and `google.rpc.RetryInfo` in
/// `grpc-status-details-bin`.
///
/// `M` is inferred from the error type of the service: any [`Error`](std::error::Error), or a
/// `BoxError`.
pub struct GrpcClassifier<M = PlainError> {
    codes: Codes,
    errors: PhantomData<fn() -> M>,
}

impl<M> GrpcClassifier<M> {
    /// Retries [`GrpcCode::Unavailable`].
    #[must_use]
    pub fn new() -> Self {
        Self { codes: Codes::from_codes([GrpcCode::Unavailable]), errors: PhantomData }
    }

    /// Retries exactly these codes.
    ///
    /// ```
    /// use tower_floodgate::client::{GrpcClassifier, GrpcCode};
    ///
    /// let classify: GrpcClassifier =
    ///     GrpcClassifier::new().codes([GrpcCode::Unavailable, GrpcCode::ResourceExhausted]);
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
        self.codes = Codes::from_codes(codes);
        if self.codes.contains(GrpcCode::Ok) {
            return Err(InvalidSetting::new("codes", self.codes, "codes of failures, without Ok"));
        }
        Ok(self)
    }

    fn verdict<B>(&self, response: &Response<B>) -> Verdict {
        let retried = |code| self.codes.contains(code);
        match grpc_headers::code(response.headers()) {
            Some(code) if retried(code) => match Pushback::from_headers(response.headers()) {
                None => Verdict::Retry,
                Some(Pushback::After(wait)) => Verdict::RetryExactly(wait),
                Some(Pushback::Never) => Verdict::Never,
            },
            None if grpc_headers::code_of_http(response.status()).is_some_and(retried) => {
                retry_wait(response).map_or(Verdict::Retry, Verdict::RetryAfter)
            }
            _ => Verdict::Done,
        }
    }
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

    fn prepare(&self, request: &mut Request<B>, attempts: u32) {
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
        f.debug_struct("GrpcClassifier").field("codes", &self.codes).finish()
    }
}
