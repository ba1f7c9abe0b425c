//! The memory that a kept frame counts for.

use bytes::Buf;
use http::{HeaderName, HeaderValue};
use http_body::Frame;

/// The least that a frame counts for: about the memory for keeping an empty one.
const SMALLEST_FRAME: usize = 128;

/// Added to the text of each trailer, as in RFC 7541, section 4.1.
const TRAILER: usize = 32;

/// Returns the bytes that a kept frame counts for.
pub(super) fn frame_cost<D: Buf>(frame: &Frame<D>) -> usize {
    let trailer =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + TRAILER;
    let data = frame.data_ref().map_or(0, Buf::remaining);
    let trailers = frame.trailers_ref().map_or(0, |trailers| trailers.iter().map(trailer).sum());
    SMALLEST_FRAME.max(data + trailers)
}
