//! What became of a request that failed: did it reach the server? The [page](super) tells by what.

use std::{error::Error, io};

use tower::BoxError;

use crate::{cause::causes, rejected::Rejected};

/// An error that can be looked into: any [`Error`], or a [`BoxError`], which is none itself. Sealed.
///
/// `M` tells the two apart, [`Plain`] or [`Boxed`], and is inferred.
pub trait AsError<M>: sealed::Sealed<M> {
    #[doc(hidden)]
    fn as_error(&self) -> &(dyn Error + 'static);
}

/// Stands for errors that are [`Error`], in the type of a classifier.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

/// Stands for [`BoxError`], in the type of a classifier.
#[derive(Clone, Copy, Debug)]
pub struct Boxed;

mod sealed {
    pub trait Sealed<M> {}
}

impl<E: Error + 'static> sealed::Sealed<Plain> for E {}
impl sealed::Sealed<Boxed> for BoxError {}

impl<E: Error + 'static> AsError<Plain> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl AsError<Boxed> for BoxError {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }
}

/// What an error says about the request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure<'a> {
    /// A limit of this crate turned it away.
    Rejected(&'a Rejected),
    /// It certainly never reached the server.
    Unreached,
    /// The connection failed, or the time was up: the server may have got it.
    Interrupted,
    /// Anything else.
    Other,
}

impl<'a> Failure<'a> {
    /// Looks down the whole chain. What says that the server was not reached counts before what says that it may
    /// have been; and what is behind an error of the request's own body is about something else.
    pub(crate) fn of(error: &'a (dyn Error + 'static)) -> Self {
        let mut failure = Self::Other;
        for cause in causes(error) {
            if let Some(rejected) = cause.downcast_ref() {
                return Self::Rejected(rejected);
            }
            match look(cause) {
                Look::Unreached => return Self::Unreached,
                Look::Interrupted => failure = Self::Interrupted,
                #[cfg(feature = "hyper")]
                Look::Final => return Self::Other,
                Look::Silent => {}
            }
        }
        failure
    }
}

/// What one link of the chain says.
enum Look {
    Unreached,
    Interrupted,
    /// That the fault is elsewhere, whatever is behind it.
    #[cfg(feature = "hyper")]
    Final,
    /// Nothing.
    Silent,
}

fn look(cause: &(dyn Error + 'static)) -> Look {
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        return look_at_io(io);
    }
    if cause.is::<tokio::time::error::Elapsed>() || cause.is::<tower::timeout::error::Elapsed>() {
        return Look::Interrupted;
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
        return match () {
            () if error.is_builder() || error.is_redirect() || error.is_status() => Look::Final,
            // Behind it is a type that only reqwest can name.
            () if error.is_timeout() => Look::Interrupted,
            () => Look::Silent,
        };
    }
    #[cfg(feature = "hyper")]
    return look_at_hyper(cause);
    #[cfg(not(feature = "hyper"))]
    Look::Silent
}

fn look_at_io(error: &io::Error) -> Look {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        NetworkDown, NetworkUnreachable, NotConnected, TimedOut, UnexpectedEof,
    };
    match error.kind() {
        ConnectionRefused => Look::Unreached,
        BrokenPipe | ConnectionAborted | ConnectionReset | HostUnreachable | NetworkDown
        | NetworkUnreachable | NotConnected | TimedOut | UnexpectedEof => Look::Interrupted,
        _ => Look::Silent,
    }
}

#[cfg(feature = "hyper")]
fn look_at_hyper(cause: &(dyn Error + 'static)) -> Look {
    if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
        return if error.is_connect() { Look::Unreached } else { Look::Silent };
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return match () {
            () if error.is_user() || error.is_parse() => Look::Final,
            () if error.is_closed() || is_unsent(error) => Look::Unreached,
            () if error.is_canceled() => Look::Interrupted,
            () if error.is_incomplete_message() || error.is_timeout() => Look::Interrupted,
            () => Look::Silent,
        };
    }
    match cause.downcast_ref::<h2::Error>() {
        Some(error) => look_at_h2(error),
        None => Look::Silent,
    }
}

/// Was the request canceled before anything of it was written?
///
/// hyper also calls an upgrade canceled that the server has agreed to and that was not completed. What is behind that is a
/// type that only hyper can name, so what is known of requests counts, and nothing else.
#[cfg(feature = "hyper")]
fn is_unsent(error: &hyper::Error) -> bool {
    let known = |why: &(dyn Error + 'static)| {
        why.is::<hyper::Error>()
            || matches!(&*why.to_string(), "connection was not ready" | "connection closed")
    };
    error.is_canceled() && error.source().is_some_and(known)
}

#[cfg(feature = "hyper")]
fn look_at_h2(error: &h2::Error) -> Look {
    use h2::Reason;

    match error.reason() {
        _ if !error.is_remote() => Look::Silent,
        // hyper tells it also of a request that it has sent just then, and the server goes on to answer that.
        _ if error.is_go_away() => Look::Interrupted,
        Some(Reason::REFUSED_STREAM) => Look::Unreached,
        Some(Reason::INTERNAL_ERROR | Reason::ENHANCE_YOUR_CALM) => Look::Interrupted,
        _ => Look::Silent,
    }
}

/// May the error be of another request than the one that was made, to which the server's answer led?
///
/// reqwest follows redirects unless told otherwise, also with a `GET` after a `POST` was done
/// (RFC 9110, 15.4.4), and doesn't tell which of the requests failed.
pub(crate) fn may_be_of_another(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    return crate::caused_by::<reqwest::Error>(error).is_some();
    #[cfg(not(feature = "reqwest"))]
    {
        let _ = error;
        false
    }
}
