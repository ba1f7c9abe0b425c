//! The gRPC classifier as a judge of a concurrency limit that adapts.

use http::Response;

use super::{GrpcClassifier, GrpcCode, grpc_headers};
use crate::judge::{Judge, Outcome};

/// For a concurrency limit that [adapts](crate::ConcurrencyBackpressureLayer::adaptive).
///
/// It judges by the head of the response. A response that goes on is served: its time in service
/// ends with the head.
///
/// | code | outcome |
/// | --- | --- |
/// | `RESOURCE_EXHAUSTED`, `UNAVAILABLE` | overload |
/// | `CANCELLED`, `UNKNOWN`, `DEADLINE_EXCEEDED`, `ABORTED`, `INTERNAL`, `DATA_LOSS`, an error | ignored |
/// | any other code, or none | served |
impl<M, B, Error> Judge<Response<B>, Error> for GrpcClassifier<M> {
    fn judge(&self, result: &Result<Response<B>, Error>) -> Outcome {
        let Ok(response) = result else { return Outcome::Ignored };
        let of_http = || grpc_headers::code_of_http(response.status());
        match grpc_headers::code(response.headers()).or_else(of_http) {
            Some(GrpcCode::ResourceExhausted | GrpcCode::Unavailable) => Outcome::Overload,
            Some(
                GrpcCode::Cancelled
                | GrpcCode::Unknown
                | GrpcCode::DeadlineExceeded
                | GrpcCode::Aborted
                | GrpcCode::Internal
                | GrpcCode::DataLoss,
            ) => Outcome::Ignored,
            _ => Outcome::Served,
        }
    }
}
