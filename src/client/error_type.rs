//! The class of an error, by its chain of causes.

use std::{error::Error, io};

use super::permanent::failed_lookup;
use crate::{cause::causes, rejected::Rejected, retry::ErrorType};

/// Returns the class of the outermost cause that has one.
///
/// A connection that could not be made because a time was up is a timeout. hyper-util calls it a
/// failure to connect, and the timeout is one of its causes; reqwest calls it a timeout.
pub(super) fn error_type(error: &(dyn Error + 'static)) -> ErrorType {
    let mut classes = causes(error).filter_map(class);
    match classes.next() {
        Some(ErrorType::CONNECT) if classes.any(|class| class == ErrorType::TIMEOUT) => {
            ErrorType::TIMEOUT
        }
        class => class.unwrap_or(ErrorType::OTHER),
    }
}

fn class(cause: &(dyn Error + 'static)) -> Option<ErrorType> {
    if let Some(rejected) = cause.downcast_ref::<Rejected>() {
        let is_late = rejected.is_deadline_exceeded();
        return Some(if is_late { ErrorType::TIMEOUT } else { ErrorType::REJECTED });
    }
    if cause.is::<tokio::time::error::Elapsed>() || cause.is::<tower::timeout::error::Elapsed>() {
        return Some(ErrorType::TIMEOUT);
    }
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        return class_of_io(io);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
        return match () {
            () if error.is_timeout() => Some(ErrorType::TIMEOUT),
            () if error.is_connect() => Some(ErrorType::CONNECT),
            () => error.status().map(|status| ErrorType::status(status.as_u16())),
        };
    }
    #[cfg(feature = "grpc")]
    if let Some(status) = cause.downcast_ref::<tonic::Status>() {
        return Some(super::GrpcCode::from(i32::from(status.code())).into());
    }
    if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then_some(ErrorType::CONNECT);
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return match () {
            () if error.is_timeout() => Some(ErrorType::TIMEOUT),
            () if error.is_canceled() || error.is_closed() => Some(ErrorType::CANCELED),
            () if error.is_incomplete_message() => Some(ErrorType::RESET),
            () => None,
        };
    }
    let error = cause.downcast_ref::<h2::Error>()?;
    (error.is_reset() || error.is_go_away()).then_some(ErrorType::RESET)
}

fn class_of_io(error: &io::Error) -> Option<ErrorType> {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        NetworkDown, NetworkUnreachable, NotConnected, TimedOut, UnexpectedEof,
    };
    match error.kind() {
        TimedOut => Some(ErrorType::TIMEOUT),
        ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable => {
            Some(ErrorType::CONNECT)
        }
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => {
            Some(ErrorType::RESET)
        }
        _ => failed_lookup(error).map(|_| ErrorType::CONNECT),
    }
}
