//! What is read off the answer to a gRPC call.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::Code;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The `grpc-status` in the headers of an answer that is over with them (gRPC's `PROTOCOL-HTTP2.md`: Trailers-Only).
/// One that can't be read is [`Code::Unknown`].
pub(super) fn status(headers: &HeaderMap) -> Option<Code> {
    let value = headers.get(&GRPC_STATUS)?;
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    Some(Code::from(number.unwrap_or(-1)))
}

/// What gRPC makes of an HTTP status without a `grpc-status`: it comes of something in between
/// (gRPC's `http-grpc-status-mapping.md`). `None` for 200: the answer goes on.
pub(super) fn of_http(status: StatusCode) -> Option<Code> {
    Some(match status.as_u16() {
        200 => return None,
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    })
}

/// What the server says about another attempt in `grpc-retry-pushback-ms` (gRFC A6, "Pushback").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushback {
    /// After just this time.
    After(Duration),
    /// Not at all.
    Never,
}

impl Pushback {
    /// Milliseconds in 32 bits and a sign. A negative number forbids it, and so does what can't be read.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(&PUSHBACK)?;
        let text = value.to_str().ok().filter(|text| !text.starts_with('+'));
        let millis = text.and_then(|text| text.parse::<i32>().ok());
        Some(match millis.and_then(|millis| u64::try_from(millis).ok()) {
            Some(millis) => Self::After(Duration::from_millis(millis)),
            None => Self::Never,
        })
    }
}
