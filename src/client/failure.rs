//! Tells from an error whether the request reached the server, by the table of the
//! [module page](super).

use std::{error::Error, io};

use tower::BoxError;

use super::{
    CollectError, RetriedError,
    permanent::{Lookup, failed_lookup, is_permanent},
};
use crate::{cause::causes, rejected::Rejected};

/// An error type that a classifier can inspect: any [`Error`], or a [`BoxError`]. Sealed.
///
/// A `BoxError` does not implement `Error`. `M` tells the two apart, [`PlainError`] or
/// [`BoxedError`], and is inferred.
pub trait AsError<M>: sealed::Sealed<M> {
    #[doc(hidden)]
    fn as_error(&self) -> &(dyn Error + 'static);

    /// Notes the number of attempts in the error, if its type has room for it.
    #[doc(hidden)]
    fn note_attempts(&mut self, attempts: u32) {
        let _ = attempts;
    }
}

/// Marks, in the type of a classifier, error types that implement [`Error`].
#[derive(Clone, Copy, Debug)]
pub struct PlainError;

/// Marks, in the type of a classifier, the error type [`BoxError`].
#[derive(Clone, Copy, Debug)]
pub struct BoxedError;

mod sealed {
    pub trait Sealed<M> {}
}

impl<E: Error + 'static> sealed::Sealed<PlainError> for E {}
impl sealed::Sealed<BoxedError> for BoxError {}

impl<E: Error + 'static> AsError<PlainError> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl AsError<BoxedError> for BoxError {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }

    fn note_attempts(&mut self, attempts: u32) {
        RetriedError::wrap(self, attempts);
    }
}

/// The fate of a request, as its error tells it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure<'a> {
    /// Rejected by a limit of this crate.
    Rejected(&'a Rejected),
    /// Certainly not received by the server.
    Unreached,
    /// Possibly received: the connection failed, or the time was up.
    Interrupted,
    /// Anything else.
    Other,
}

impl<'a> Failure<'a> {
    /// Inspects the whole chain of causes.
    ///
    /// `Unreached` takes precedence over `Interrupted`, unless there was a response, or a cause
    /// below it is permanent. The causes of an error of the request's own body don't count: they
    /// are about something else.
    pub(super) fn from_error(error: &'a (dyn Error + 'static)) -> Self {
        let mut failure = Self::Other;
        let mut has_response = false;
        let mut causes = causes(error);
        while let Some(cause) = causes.next() {
            if let Some(rejected) = cause.downcast_ref::<Rejected>() {
                // A deadline can pass while the server works on the request.
                let is_late = rejected.is_deadline_exceeded();
                return if is_late { Self::Interrupted } else { Self::Rejected(rejected) };
            }
            has_response |= cause.is::<CollectError>();
            match inspect(cause) {
                Evidence::Unreached if has_response => failure = Self::Interrupted,
                Evidence::Unreached if causes.any(is_permanent) => return Self::Other,
                Evidence::Unreached => return Self::Unreached,
                Evidence::Interrupted => failure = Self::Interrupted,
                Evidence::Final => return Self::Other,
                Evidence::Silent => {}
            }
        }
        failure
    }
}

/// The evidence of one link of the chain.
enum Evidence {
    Unreached,
    Interrupted,
    /// The fault is elsewhere, and the causes of this link don't count.
    Final,
    /// None.
    Silent,
}

fn inspect(cause: &(dyn Error + 'static)) -> Evidence {
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        return inspect_io(io);
    }
    if cause.is::<tokio::time::error::Elapsed>()
        || cause.is::<tower::timeout::error::Elapsed>()
        || cause.is::<CollectError>()
    {
        return Evidence::Interrupted;
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
        return match () {
            () if error.is_builder() || error.is_redirect() || error.is_status() => Evidence::Final,
            // The type of its cause is private to reqwest.
            () if error.is_timeout() => Evidence::Interrupted,
            () => Evidence::Silent,
        };
    }
    inspect_hyper(cause)
}

fn inspect_io(error: &io::Error) -> Evidence {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        NetworkDown, NetworkUnreachable, NotConnected, TimedOut, UnexpectedEof,
    };
    match error.kind() {
        ConnectionRefused => Evidence::Unreached,
        BrokenPipe | ConnectionAborted | ConnectionReset | HostUnreachable | NetworkDown
        | NetworkUnreachable | NotConnected | TimedOut | UnexpectedEof => Evidence::Interrupted,
        _ if failed_lookup(error) == Some(Lookup::Failed) => Evidence::Unreached,
        _ => Evidence::Silent,
    }
}

fn inspect_hyper(cause: &(dyn Error + 'static)) -> Evidence {
    if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
        return if error.is_connect() { Evidence::Unreached } else { Evidence::Silent };
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return match () {
            () if error.is_user() || error.is_parse() => Evidence::Final,
            () if error.is_closed() || is_unsent(error) => Evidence::Unreached,
            () if error.is_canceled() => Evidence::Interrupted,
            () if error.is_incomplete_message() || error.is_timeout() => Evidence::Interrupted,
            () => Evidence::Silent,
        };
    }
    match cause.downcast_ref::<h2::Error>() {
        Some(error) => inspect_h2(error),
        None => Evidence::Silent,
    }
}

/// Returns true if the request was canceled before any of it was written.
///
/// hyper also calls an upgrade canceled that the server agreed to and that was not completed. The
/// type of that error's cause is private to hyper, so only the known causes of unsent requests
/// count.
fn is_unsent(error: &hyper::Error) -> bool {
    let known = |why: &(dyn Error + 'static)| {
        why.is::<hyper::Error>()
            || matches!(&*why.to_string(), "connection was not ready" | "connection closed")
    };
    error.is_canceled() && error.source().is_some_and(known)
}

fn inspect_h2(error: &h2::Error) -> Evidence {
    use h2::Reason;

    match error.reason() {
        _ if !error.is_remote() => Evidence::Silent,
        // hyper also fails with it a request that it has just sent and that the server will answer.
        _ if error.is_go_away() => Evidence::Interrupted,
        Some(Reason::REFUSED_STREAM) => Evidence::Unreached,
        Some(Reason::INTERNAL_ERROR | Reason::ENHANCE_YOUR_CALM) => Evidence::Interrupted,
        _ => Evidence::Silent,
    }
}

/// Returns true if the error may belong to a later request, made for a redirect.
///
/// reqwest follows redirects by default, also with a `GET` after a `POST` was carried out (RFC
/// 9110, 15.4.4), and its error doesn't tell which of the requests failed.
pub(super) fn may_be_of_redirect(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    return crate::find_cause::<reqwest::Error>(error).is_some();
    #[cfg(not(feature = "reqwest"))]
    {
        let _ = error;
        false
    }
}
