//! What is retried.

use std::time::Duration;

/// What to do about the outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Hand it on: a success, or a failure that trying again would not mend. Nobody is told of it.
    Done,
    /// Try again after the backoff.
    Retry,
    /// Try again, but not before this time has passed: the server asks for it. A floor, on top of which
    /// comes the jitter.
    RetryAfter(Duration),
    /// Try again after just this time: the server asks for it, and no jitter comes on top (gRPC's pushback).
    /// As with `RetryAfter`, what is longer than [`max_hint`](super::ExponentialRetry::max_hint) is given up. That not
    /// all come at once is left to the server.
    RetryExactly(Duration),
    /// Hand it on although it could be retried: the server forbids trying again. The hook is told:
    /// [`StopReason::RetryForbidden`](super::StopReason::RetryForbidden).
    Never,
}

/// Judges the outcome of an attempt: is it to be retried?
///
/// Any `Fn(&Req, &Result<Res, E>) -> Verdict` is one; [`AnyError`] is the default. Errors of HTTP and
/// other clients tend to wrap what happened: look down the whole chain, for which there is
/// [`caused_by`](crate::caused_by).
///
/// One that takes rejections of a limit inside for what they are:
///
/// ```
/// use tower::BoxError;
/// use tower_floodgate::{Rejected, retry::Verdict};
///
/// let classify = |_: &String, result: &Result<u16, BoxError>| {
///     let Err(error) = result else { return Verdict::Done };
///     match Rejected::find(&**error) {
///         Some(rejected) if rejected.is_closed() => Verdict::Never,
///         Some(rejected) => rejected.retry_after().map_or(Verdict::Retry, Verdict::RetryAfter),
///         None => Verdict::Retry,
///     }
/// };
/// # use tower_floodgate::retry::Classify;
/// # assert_eq!(classify.classify(&String::new(), &Ok(200)), Verdict::Done);
/// ```
///
/// Implement it by hand to learn how many attempts an answer took, too:
///
/// ```
/// use tower_floodgate::retry::{Classify, Verdict};
///
/// struct Response {
///     status: u16,
///     attempts: u32,
/// }
///
/// #[derive(Clone)]
/// struct ByStatus;
///
/// impl<Req, E> Classify<Req, Response, E> for ByStatus {
///     fn classify(&self, _: &Req, result: &Result<Response, E>) -> Verdict {
///         match result {
///             Ok(response) if response.status < 500 => Verdict::Done,
///             _ => Verdict::Retry,
///         }
///     }
///
///     fn settled(&self, _: &Req, attempts: u32, result: &mut Result<Response, E>) {
///         if let Ok(response) = result {
///             response.attempts = attempts;
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` doesn't judge the outcome `Result<{Res}, {E}>` of a `{Req}`",
    label = "can't classify these",
    note = "`HttpClassifier` and `GrpcClassifier` are for requests and responses of the `http` crate, the former with the \
            feature `reqwest` for reqwest's, too",
    note = "the error type must be a `std::error::Error + 'static` or a `BoxError`; where the classifier's type is \
            written out, `HttpClassifier` is for the one and `HttpClassifier<Boxed>` for the other"
)]
pub trait Classify<Req, Res, E> {
    /// Judges the `result` of an attempt. `request` is the copy that would be sent next.
    fn classify(&self, request: &Req, result: &Result<Res, E>) -> Verdict;

    /// Changes the copy that is sent next, after so many `attempts`: a header may tell of them.
    fn prepare(&self, request: &mut Req, attempts: u32) {
        let _ = (request, attempts);
    }

    /// Sees the result that is handed on, after so many attempts, and may note that in it.
    ///
    /// Not called for an attempt of whose request there was no copy left, nor for an error of
    /// readiness. The request of a last attempt is copied for it if
    /// [`needs_settled`](Self::needs_settled) returns true.
    fn settled(&self, request: &Req, attempts: u32, result: &mut Result<Res, E>) {
        let _ = (request, attempts, result);
    }

    /// Returns true if [`settled`](Self::settled) must see the result of the last attempt allowed.
    ///
    /// Asked before that attempt is sent, with its number. Return false where `settled` would do
    /// nothing, to save a copy of the request: a policy without a hook then makes none, and neither
    /// [`classify`](Self::classify) nor `settled` is called for the result. By default true; false
    /// for closures and [`AnyError`].
    fn needs_settled(&self, attempts: u32) -> bool {
        let _ = attempts;
        true
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req, Res, E> Classify<Req, Res, E> for F
where
    F: Fn(&Req, &Result<Res, E>) -> Verdict,
{
    fn classify(&self, request: &Req, result: &Result<Res, E>) -> Verdict {
        self(request, result)
    }

    fn needs_settled(&self, _: u32) -> bool {
        false
    }
}

/// Retries every error, and no response.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyError;

impl<Req, Res, E> Classify<Req, Res, E> for AnyError {
    fn classify(&self, _: &Req, result: &Result<Res, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Done,
            Err(_) => Verdict::Retry,
        }
    }

    fn needs_settled(&self, _: u32) -> bool {
        false
    }
}

/// How the copy of a request is made that a retry would send.
///
/// Any `Fn(&Req) -> Option<Req>` is one; [`ByClone`] is the default. A request that can't be copied is
/// sent once, and its answer passes through. The module says [when a copy is
/// made](crate::retry#when-a-request-is-copied).
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't copy a `{Req}`, which a retry would send",
    label = "can't copy this request",
    note = "the default, `ByClone`, copies requests that are `Clone`; for others say how by `clone_with`",
    note = "`clone_with(reqwest::Request::try_clone)` is for reqwest's requests, `clone_with(ByReplay)` with a \
            `ReplayBodyLayer` outside the retry for bodies that can't be cloned, `clone_with(|_: &Request| None)` for \
            requests that are sent once"
)]
pub trait CloneRequest<Req> {
    /// A copy of `request`, or `None` if it can't be copied.
    fn clone_request(&self, request: &Req) -> Option<Req>;

    /// Can this copy still be sent? Asked before it would be: a body that is kept while it is being sent may
    /// have turned out to be too long for that.
    fn can_send(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }

    /// Takes for this copy what it shares with those sent before, which may still be under way: asked when all else
    /// is decided, before the wait. `false` if by now it can't be sent after all.
    fn claim(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req> CloneRequest<Req> for F
where
    F: Fn(&Req) -> Option<Req>,
{
    fn clone_request(&self, request: &Req) -> Option<Req> {
        self(request)
    }
}

/// Copies requests that are `Clone`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByClone;

impl<Req: Clone> CloneRequest<Req> for ByClone {
    fn clone_request(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}
