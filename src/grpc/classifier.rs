use std::{fmt, marker::PhantomData};

use http::{HeaderName, HeaderValue, Request, Response};

use super::{
    Code,
    answer::{self, Pushback},
    code::Codes,
};
use crate::{
    http::{AsError, Attempts, Plain, failure::Failure, of_rejected, wait},
    retry::{Classify, Verdict},
    settings::{InvalidSetting, literal},
};

static PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// Says what is retried of gRPC, as gRFC A6 has it: calls that fail with [`Code::Unavailable`], or the codes that
/// are [set](Self::codes).
///
/// | outcome | is judged |
/// | --- | --- |
/// | `grpc-status` in the headers, a retried code | retry; with `grpc-retry-pushback-ms` after exactly that time, or never if it is negative or can't be read |
/// | no `grpc-status`, an HTTP status other than 200 (of a proxy) | by the code that gRPC makes of it: 429, 502, 503 and 504 are `UNAVAILABLE`; `Retry-After` is heeded |
/// | an error of the connection, a timeout of tokio's or tower's (tonic's own, of `Endpoint::timeout`, isn't), or an error that says the server was [never reached](crate::http#did-it-reach-the-server) | as `UNAVAILABLE` |
/// | a [`Rejected`](crate::Rejected) of one of this crate's limits | retry, not before the time it tells; never if the limit is closed |
/// | anything else | done |
///
/// Which calls may be repeated is for you to say: gRPC has no methods that are idempotent by their names. A server
/// that fails with `UNAVAILABLE` usually has done nothing, yet it may have.
///
/// Retries tell in `grpc-previous-rpc-attempts` how many attempts were made before, and the response tells in
/// [`Attempts`] how many it took.
///
/// What stands behind the headers is not seen: a `grpc-status` in the trailers of an answer that has begun (which by
/// A6 isn't retried either), and `google.rpc.RetryInfo`, which is part of a `grpc-status-details-bin` that isn't read.
///
/// `M` is inferred from the error type of the service, which is any [`Error`](std::error::Error) or a `BoxError`.
pub struct GrpcClassifier<M = Plain> {
    codes: Codes,
    errors: PhantomData<fn() -> M>,
}

impl<M> GrpcClassifier<M> {
    /// Retries [`Code::Unavailable`].
    #[must_use]
    pub fn new() -> Self {
        Self { codes: Codes::of([Code::Unavailable]), errors: PhantomData }
    }

    /// Retries these codes, and no others.
    ///
    /// ```
    /// use tower_floodgate::grpc::{Code, GrpcClassifier};
    ///
    /// let classify: GrpcClassifier =
    ///     GrpcClassifier::new().codes([Code::Unavailable, Code::ResourceExhausted]);
    /// # let _ = classify;
    /// ```
    ///
    /// # Panics
    ///
    /// If [`Code::Ok`] is one of them.
    #[must_use]
    #[track_caller]
    pub fn codes(self, codes: impl IntoIterator<Item = Code>) -> Self {
        literal(self.try_codes(codes))
    }

    /// [`codes`](Self::codes) for values that are read from somewhere.
    ///
    /// # Errors
    ///
    /// Where `codes` panics.
    pub fn try_codes(
        mut self,
        codes: impl IntoIterator<Item = Code>,
    ) -> Result<Self, InvalidSetting> {
        self.codes = Codes::of(codes);
        if self.codes.contains(Code::Ok) {
            return Err(InvalidSetting::new("codes", self.codes, "codes of failures, without Ok"));
        }
        Ok(self)
    }

    fn judge<B>(&self, response: &Response<B>) -> Verdict {
        let retried = |code| self.codes.contains(code);
        match answer::status(response.headers()) {
            Some(code) if retried(code) => match Pushback::of(response.headers()) {
                None => Verdict::Retry,
                Some(Pushback::After(wait)) => Verdict::RetryExactly(wait),
                Some(Pushback::Never) => Verdict::Never,
            },
            None if answer::of_http(response.status()).is_some_and(retried) => {
                wait(response).map_or(Verdict::Retry, Verdict::RetryAfter)
            }
            _ => Verdict::Done,
        }
    }
}

impl<M, B, C, E: AsError<M>> Classify<Request<B>, Response<C>, E> for GrpcClassifier<M> {
    fn classify(&self, _: &Request<B>, result: &Result<Response<C>, E>) -> Verdict {
        match result {
            Ok(response) => self.judge(response),
            Err(error) => match Failure::of(error.as_error()) {
                Failure::Rejected(rejected) => of_rejected(rejected),
                Failure::Unreached | Failure::Interrupted
                    if self.codes.contains(Code::Unavailable) =>
                {
                    Verdict::Retry
                }
                _ => Verdict::Done,
            },
        }
    }

    fn prepare(&self, request: &mut Request<B>, attempts: u32) {
        let name = HeaderName::clone(&PREVIOUS_ATTEMPTS);
        // Left out if it doesn't fit into a map that is full.
        let _ = request.headers_mut().try_insert(name, HeaderValue::from(attempts));
    }

    fn settled(&self, _: &Request<B>, attempts: u32, result: &mut Result<Response<C>, E>) {
        if let Ok(response) = result {
            Attempts::note(attempts, response);
        }
    }

    fn needs_settled(&self, attempts: u32) -> bool {
        Attempts::are_noted(attempts)
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

/// Whatever `M` is.
impl<M> Copy for GrpcClassifier<M> {}

impl<M> fmt::Debug for GrpcClassifier<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcClassifier").field("codes", &self.codes).finish()
    }
}
