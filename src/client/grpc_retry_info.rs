//! Reads the `google.rpc.RetryInfo` of a gRPC response (gRPC's `PROTOCOL-HTTP2.md`, and
//! `google/rpc/error_details.proto`).

use std::time::Duration;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use prost::Message;

static STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The longest value that is decoded: far more than HTTP/2 implementations accept by default.
const MAX_LEN: usize = 64 * 1024;

/// Values are written without padding, and read with or without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `google.rpc.Status`, without its code and message.
#[derive(Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `google.rpc.RetryInfo`.
#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`.
#[derive(Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Returns the `retry_delay` of a `RetryInfo` in `grpc-status-details-bin`: the least time before
/// another attempt.
///
/// The longest of several counts. A value that cannot be read is ignored, and so is a delay that is
/// negative or out of the range of its type.
pub(super) fn retry_delay(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(&STATUS_DETAILS).into_iter();
    // Several lines may have been joined by commas.
    let values = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    values.filter_map(|value| longest(value.trim_ascii())).max()
}

/// Returns the longest delay in one encoded status.
fn longest(value: &[u8]) -> Option<Duration> {
    let bytes = (value.len() <= MAX_LEN).then(|| BASE64.decode(value).ok())??;
    let status = Status::decode(Bytes::from(bytes)).ok()?;
    status.details.into_iter().filter_map(Any::retry_delay).max()
}

impl Any {
    fn retry_delay(self) -> Option<Duration> {
        // The last segment is the name, whatever the host.
        let (_, name) = self.type_url.rsplit_once('/')?;
        let info =
            (name == "google.rpc.RetryInfo").then(|| RetryInfo::decode(self.value).ok())??;
        info.retry_delay?.checked()
    }
}

impl RetryDelay {
    /// The bounds are those of the type, and of a delay.
    fn checked(&self) -> Option<Duration> {
        const MAX_SECONDS: u64 = 315_576_000_000;

        let seconds = u64::try_from(self.seconds).ok().filter(|&seconds| seconds <= MAX_SECONDS)?;
        let nanos = u32::try_from(self.nanos).ok().filter(|&nanos| nanos < 1_000_000_000)?;
        Some(Duration::new(seconds, nanos))
    }
}
