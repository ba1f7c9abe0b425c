//! What is particular to HTTP. With the feature `http`, which is on by default.
//!
//! # A client
//!
//! | to | write |
//! | --- | --- |
//! | retry what may succeed and may be repeated, not before the server allows it | [`ExponentialRetry::new(3).classify(HttpClassifier::new())`](HttpClassifier) |
//! | retry other statuses, or any method | [`HttpClassifier::statuses`], [`HttpClassifier::any_method`] |
//! | let one "too many requests" hold back everybody | [`PauseOnHintLayer::new(handle, http::ServerHints)`](ServerHints) |
//! | learn how many attempts an answer took | [`Attempts::of`] |
//! | read when to come again in a classifier of your own | [`fields`] |
//!
//! What hyper's clients and reqwest say of failures is understood with the features `hyper` and `reqwest`.
//!
//! Put a layer that follows redirects outside the retry: inside, a POST that was carried out and answered with one
//! would be sent again if the request that follows fails.
//!
//! # Did it reach the server?
//!
//! | told by | never reached it | may have |
//! | --- | --- | --- |
//! | [`Rejected`] of this crate | always | |
//! | [`std::io::Error`] | connection refused | reset, aborted, broken, timed out; host or network not reachable |
//! | tokio's and tower's `Elapsed` | | always |
//! | hyper-util's legacy client | `is_connect` | |
//! | hyper | `is_canceled`, `is_closed` | `is_incomplete_message`, `is_timeout` |
//! | h2 | a stream refused by the server (`REFUSED_STREAM`); a `GOAWAY` of the server | reset by the server with `INTERNAL_ERROR` or `ENHANCE_YOUR_CALM` |
//! | reqwest | see [`HttpClassifier`]`::without_redirects` | `is_timeout` |
//!
//! The sources of these crates bear out the second column:
//!
//! - hyper 1 calls a request canceled if its connection was not ready for it, or was lost while the request still
//!   stood in line for it: nothing of it was written. It calls a connection closed if it was before it was handed the
//!   request.
//! - h2 0.4 gives the error of a `GOAWAY` only to streams above the last that the server says it may have processed,
//!   and to requests that come later and are never sent, whatever its reason is. The streams below go on, and
//!   fail with an I/O error if the connection ends. So this error says the request was not processed
//!   (RFC 9113, 6.8), as `REFUSED_STREAM` does (8.7).
//!
//! Errors of the request's own body, of its making, of parsing, and unknown ones are neither: trying again
//! wouldn't mend them.

mod attempts;
mod classifier;
pub(crate) mod failure;
pub mod fields;
mod hints;
mod message;

pub use self::{
    attempts::Attempts,
    classifier::{HttpClassifier, RETRIED_STATUSES},
    failure::{AsError, Boxed, Plain},
    hints::ServerHints,
    message::{RequestHead, ResponseHead},
};
#[cfg(feature = "grpc")]
pub(crate) use self::{classifier::of_rejected, hints::wait};

pub mod replay;

use http::HeaderValue;

use crate::rejected::Rejected;

/// The value of a `Retry-After` header for a rejection: whole seconds, rounded up, never 0 (RFC 9110,
/// 10.2.3). `None` if nobody knows the time.
///
/// ```
/// use std::time::Duration;
/// use http::{Response, StatusCode, header::RETRY_AFTER};
/// use tower_floodgate::{Rejected, WindowRateLimitLayer, http::retry_after};
///
/// let layer = WindowRateLimitLayer::new(100, Duration::from_secs(1)).max_waiting(10).respond(
///     |rejected: Rejected| {
///         let mut response = Response::new(rejected.to_string());
///         *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
///         response.headers_mut().extend(retry_after(&rejected).map(|value| (RETRY_AFTER, value)));
///         response
///     },
/// );
/// # let _ = layer;
/// ```
#[must_use]
pub fn retry_after(rejected: &Rejected) -> Option<HeaderValue> {
    rejected.retry_after_secs().map(HeaderValue::from)
}
