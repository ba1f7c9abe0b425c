//! Names of gRPC's headers, and the value of a pushback.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// A server's order about another attempt: `grpc-retry-pushback-ms` (gRFC A6, "Pushback").
///
/// The value is a signed 32-bit number of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// Exactly after this time.
    After(Duration),
    /// No other attempt.
    Never,
}

impl Pushback {
    /// Reads it. A negative number means `Never`, and so do an unreadable value and several values.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&PUSHBACK).into_iter();
        let value = values.next()?;
        let text = values.next().is_none().then(|| value.to_str().ok()).flatten();
        let text = text.filter(|text| !text.starts_with('+'));
        let millis = text.and_then(|text| text.parse::<i32>().ok());
        Some(match millis.and_then(|millis| u64::try_from(millis).ok()) {
            Some(millis) => Self::After(Duration::from_millis(millis)),
            None => Self::Never,
        })
    }

    /// Writes `After(wait)`, rounded up to whole milliseconds.
    ///
    /// Bounded by the largest value of the type, because a larger one would be read as `Never`.
    pub(crate) fn write(wait: Duration, headers: &mut HeaderMap) {
        let millis = i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        headers.insert(&PUSHBACK, HeaderValue::from(millis));
    }
}
