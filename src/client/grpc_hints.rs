use std::time::Duration;

use http::Response;

use super::{
    GrpcCode, HttpHints,
    grpc_headers::{self, RetryHint},
};
use crate::pause_on_hint::ReadHint;

/// Reads from gRPC responses for how long the server wants no requests: for
/// [`PauseOnHintLayer`](crate::PauseOnHintLayer).
///
/// The hint is the `grpc-retry-pushback-ms`, or else the longest of the `google.rpc.RetryInfo` and
/// a gateway's `Retry-After` or spent quota, of a call that failed with `RESOURCE_EXHAUSTED` or
/// `UNAVAILABLE`. A response without a `grpc-status` and with
/// an HTTP status other than 200 comes from a proxy, and is read as [`HttpHints`] does.
///
/// As for [`GrpcClassifier`](super::GrpcClassifier), the code is one of the headers, or moved there
/// by a [`GrpcTrailersLayer`](super::GrpcTrailersLayer) inside.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcHints;

impl<B, E> ReadHint<Response<B>, E> for GrpcHints {
    fn read_hint(&self, result: &Result<Response<B>, E>) -> Option<Duration> {
        let response = result.as_ref().ok()?;
        match grpc_headers::code(response.headers()) {
            Some(GrpcCode::ResourceExhausted | GrpcCode::Unavailable) => {
                match grpc_headers::retry_hint(response.headers())? {
                    RetryHint::Exactly(wait) | RetryHint::NotBefore(wait) => Some(wait),
                    RetryHint::Never => None,
                }
            }
            None if grpc_headers::code_of_http(response.status()).is_some() => {
                HttpHints::new().read_hint(result)
            }
            _ => None,
        }
    }
}
