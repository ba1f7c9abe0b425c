//! Reads the code of a gRPC response from its head.

use http::{HeaderMap, StatusCode};

use super::GrpcCode;
use crate::headers::grpc::GRPC_STATUS;

/// The `grpc-status` among the headers of a response that ends with them (gRPC's
/// `PROTOCOL-HTTP2.md`: Trailers-Only). An unreadable one is [`GrpcCode::Unknown`].
pub(super) fn code(headers: &HeaderMap) -> Option<GrpcCode> {
    let value = headers.get(&GRPC_STATUS)?;
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
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
