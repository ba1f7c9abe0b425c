//! Reads the code and the hint of a gRPC response from its head.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{GrpcCode, grpc_retry_info::retry_delay, hints::demanded_wait};
use crate::headers::grpc::{GRPC_STATUS, Pushback};

/// A server's word on another attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum RetryHint {
    /// After exactly this time: a pushback.
    Exactly(Duration),
    /// Not before this time: a `RetryInfo`, or the headers of a gateway.
    NotBefore(Duration),
    /// No other attempt: a pushback that is negative or unreadable.
    Never,
}

/// Reads the pushback of a failed call, or else the longest of its `RetryInfo` and the hints
/// of HTTP.
pub(super) fn retry_hint(headers: &HeaderMap) -> Option<RetryHint> {
    match Pushback::from_headers(headers) {
        Some(Pushback::After(wait)) => Some(RetryHint::Exactly(wait)),
        Some(Pushback::Never) => Some(RetryHint::Never),
        None => {
            let wait = retry_delay(headers).max(demanded_wait(headers));
            wait.map(RetryHint::NotBefore)
        }
    }
}

/// The `grpc-status` among the headers of a response that ends with them (gRPC's
/// `PROTOCOL-HTTP2.md`: Trailers-Only). An unreadable one is [`GrpcCode::Unknown`], and so are
/// several that differ.
pub(super) fn code(headers: &HeaderMap) -> Option<GrpcCode> {
    let mut values = headers.get_all(&GRPC_STATUS).into_iter();
    let value = values.next()?;
    let agree = values.all(|other| other == value);
    let number = value.to_str().ok().filter(|_| agree).and_then(|text| text.parse().ok());
    Some(GrpcCode::from(number.unwrap_or(-1)))
}

/// The code of an HTTP status without a `grpc-status`, which comes from a proxy (gRPC's
/// `http-grpc-status-mapping.md`). `None` for 200: the response goes on.
pub(super) fn code_of_http(status: StatusCode) -> Option<GrpcCode> {
    Some(match status.as_u16() {
        200 => return None,
        400 => GrpcCode::Internal,
        401 => GrpcCode::Unauthenticated,
        403 => GrpcCode::PermissionDenied,
        404 => GrpcCode::Unimplemented,
        429 | 502 | 503 | 504 => GrpcCode::Unavailable,
        _ => GrpcCode::Unknown,
    })
}
