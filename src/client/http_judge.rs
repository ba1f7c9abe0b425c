//! The HTTP classifier as a judge of a concurrency limit that adapts.

use super::{HttpClassifier, message::ResponseHead};
use crate::judge::{Judge, Outcome};

/// For a concurrency limit that [adapts](crate::ConcurrencyBackpressureLayer::adaptive).
///
/// | result | outcome |
/// | --- | --- |
/// | 429, 503 | overload |
/// | 408, other 5xx, an error | ignored |
/// | any other status | served |
impl<M, Response: ResponseHead, Error> Judge<Response, Error> for HttpClassifier<M> {
    fn judge(&self, result: &Result<Response, Error>) -> Outcome {
        match result.as_ref().map(|response| response.status().as_u16()) {
            Ok(429 | 503) => Outcome::Overload,
            Ok(408 | 500..) | Err(_) => Outcome::Ignored,
            Ok(_) => Outcome::Served,
        }
    }
}
