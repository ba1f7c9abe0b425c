use std::time::Duration;

use http::Response;

use super::{
    Code,
    answer::{self, Pushback},
};
use crate::pause_on_hint::ServerHint;

/// Reads off gRPC answers for how long the server wants no requests, for a
/// [`PauseOnHintLayer`](crate::PauseOnHintLayer): `grpc-retry-pushback-ms` of a call that failed with
/// `RESOURCE_EXHAUSTED` or `UNAVAILABLE`.
///
/// An answer without a `grpc-status` whose HTTP status is not 200 comes of a proxy, and is read as
/// [`http::ServerHints`](crate::http::ServerHints) does.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerHints;

impl<B, E> ServerHint<Response<B>, E> for ServerHints {
    fn hint(&self, result: &Result<Response<B>, E>) -> Option<Duration> {
        let response = result.as_ref().ok()?;
        match answer::status(response.headers()) {
            Some(Code::ResourceExhausted | Code::Unavailable) => {
                match Pushback::of(response.headers())? {
                    Pushback::After(wait) => Some(wait),
                    Pushback::Never => None,
                }
            }
            None if answer::of_http(response.status()).is_some() => {
                crate::http::ServerHints.hint(result)
            }
            _ => None,
        }
    }
}
