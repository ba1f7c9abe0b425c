//! Classifiers, which judge results, and the copying of requests.

use std::time::Duration;

use super::ErrorType;

/// The judgement of a classifier on the result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Return the result: a success, or a failure that a retry would not mend. The hook does not
    /// see it.
    Done,
    /// Retry after the backoff.
    Retry,
    /// Retry after the backoff, but not before this time has passed, as the server asks. The jitter
    /// is added to it.
    RetryAfter(Duration),
    /// Retry after exactly this time, as the server asks: gRPC's pushback.
    ///
    /// No jitter is added: spreading the retries is left to the server. As with `RetryAfter`, a
    /// time longer than [`max_hint`](super::ExponentialRetry::max_hint) stops the request.
    RetryExactly(Duration),
    /// Return the result although it is a failure that a retry might mend: the server forbids
    /// retries. The hook sees [`StopReason::RetryForbidden`](super::StopReason::RetryForbidden).
    Never,
}

/// Judges whether the result of an attempt is retried.
///
/// Implemented for any `Fn(&Req, &Result<Res, E>) -> Verdict`; [`AnyError`] is the default. Errors
/// of HTTP and other clients tend to wrap their cause: [`find_cause`](crate::find_cause) searches
/// the whole chain.
///
/// A classifier that recognizes the rejections of an inner limit:
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
/// An implementation by hand can also note the number of attempts in the response:
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
            written out, `HttpClassifier` is for the one and `HttpClassifier<BoxedError>` for the other"
)]
pub trait Classify<Req, Res, E> {
    /// Judges the `result` of an attempt. `request` is the copy that would be sent next.
    fn classify(&self, request: &Req, result: &Result<Res, E>) -> Verdict;

    /// Returns the class of a failure: the label `error_type` of metrics, the field `error.type` of
    /// traces.
    ///
    /// Called for the result of each attempt that is not judged [`Verdict::Done`], if the policy
    /// has a [name](super::ExponentialRetry::name) and the feature `metrics` or `tracing` is on. By
    /// default [`ErrorType::RESPONSE`] of an `Ok` and [`ErrorType::OTHER`] of an `Err`, as of
    /// closures. If it panics, the panic ends the request, its decision is not counted, and the
    /// withdrawn retry is refunded to the budget.
    fn error_type(&self, result: &Result<Res, E>) -> ErrorType {
        match result {
            Ok(_) => ErrorType::RESPONSE,
            Err(_) => ErrorType::OTHER,
        }
    }

    /// Changes the copy that is sent next, after `attempts` attempts.
    ///
    /// It can add a header with that number, for instance.
    fn prepare(&self, request: &mut Req, attempts: u32) {
        let _ = (request, attempts);
    }

    /// Sees the result that is returned, and may note in it the number of `attempts` made.
    ///
    /// Not called for an attempt whose request was not copied, nor for an error of readiness. The
    /// request of a last attempt is copied for this call if [`needs_settled`](Self::needs_settled)
    /// returns true.
    fn settled(&self, request: &Req, attempts: u32, result: &mut Result<Res, E>) {
        let _ = (request, attempts, result);
    }

    /// Returns true if [`settled`](Self::settled) must see the result of the last attempt allowed.
    ///
    /// Called before that attempt is sent, with its number. If `settled` would do nothing,
    /// returning false saves a copy of the request: a policy without a hook then makes none, and
    /// neither [`classify`](Self::classify) nor `settled` is called for the result. By default
    /// true; false for closures and [`AnyError`].
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

/// Makes the copy of a request that a retry would send.
///
/// Implemented for any `Fn(&Req) -> Option<Req>`; [`ByClone`] is the default. The module describes
/// [when a copy is made](crate::retry#when-a-request-is-copied).
///
/// # Requests that cannot be copied
///
/// They are sent once, and the result passes through. There are two ways to say so:
///
/// | `clone_request` returns | and the result of a failed attempt is seen by |
/// | --- | --- |
/// | `None` | neither the classifier nor the hook: tower's `Retry` shows a policy no result of a request without a copy |
/// | a copy for which [`can_send`](Self::can_send) returns false | the classifier, then the hook, with [`StopReason::NotReplayable`](super::StopReason::NotReplayable), then [`settled`](super::Classify::settled) |
///
/// The copy of the second way is never sent. It needs the parts that the classifier and the hook
/// read: a head without its body, for instance.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_floodgate::{
///     ExponentialRetry, ExponentialRetryLayer,
///     retry::{CloneRequest, Decision, StopReason},
/// };
///
/// enum Body {
///     Bytes(&'static [u8]),
///     Stream(Box<dyn Iterator<Item = u8> + Send>),
///     /// Of a copy that is not sent.
///     Absent,
/// }
///
/// struct Request {
///     path: &'static str,
///     body: Body,
/// }
///
/// #[derive(Clone)]
/// struct CopyBytes;
///
/// impl CloneRequest<Request> for CopyBytes {
///     fn clone_request(&self, request: &Request) -> Option<Request> {
///         let body = match request.body {
///             Body::Bytes(bytes) => Body::Bytes(bytes),
///             Body::Stream(_) | Body::Absent => Body::Absent,
///         };
///         Some(Request { path: request.path, body })
///     }
///
///     fn can_send(&self, copy: &Request) -> bool {
///         !matches!(copy.body, Body::Absent)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let told = Arc::new(Mutex::new(Vec::new()));
/// let log = Arc::clone(&told);
/// let policy = ExponentialRetry::new(3).clone_with(CopyBytes).on_decision_with(
///     move |decision: &Decision, request: &Request, _: &Result<(), &str>| {
///         log.lock().unwrap().push((request.path, decision.retry_in().err()));
///     },
/// );
/// let service = ExponentialRetryLayer::new(policy)
///     .layer(service_fn(|_: Request| async { Err::<(), _>("no answer") }));
///
/// let body = Body::Stream(Box::new(0..9));
/// let outcome = service.oneshot(Request { path: "/upload", body }).await;
/// assert_eq!(outcome, Err("no answer"));
/// assert_eq!(*told.lock().unwrap(), [("/upload", Some(StopReason::NotReplayable))]);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't copy a `{Req}`, which a retry would send",
    label = "can't copy this request",
    note = "the default, `ByClone`, copies requests that are `Clone`; for others say how by `clone_with`",
    note = "`HttpRetryLayer` copies requests of the `http` crate and reqwest's, with bodies that can't be cloned; \
            `clone_with(|_: &Request| None)` is for requests that are sent once"
)]
pub trait CloneRequest<Req> {
    /// Returns a copy of `request`, or `None` if it cannot be copied and the hook is not to see it.
    fn clone_request(&self, request: &Req) -> Option<Req>;

    /// Returns true if the copy can still be sent. Called before each retry.
    ///
    /// A body that is recorded while it is sent may have exceeded the bound of the recording.
    /// Returning false ends the retry with
    /// [`StopReason::NotReplayable`](super::StopReason::NotReplayable).
    fn can_send(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }

    /// Claims for this copy the state that it shares with the copies sent before.
    ///
    /// An earlier copy may still be in use, and loses the state. Called when the retry is decided
    /// on, before the wait. Returns false if by then the copy can no longer be sent.
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
