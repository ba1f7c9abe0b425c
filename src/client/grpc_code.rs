use std::fmt;

use crate::retry::ErrorType;

/// The status code of a gRPC call, as numbered in `grpc-status` (gRPC's `statuscodes.md`).
///
/// Exhaustive, as tonic's `Code` is: gRPC reads a number beyond these as `UNKNOWN`.
///
/// ```
/// use tower_floodgate::client::GrpcCode;
///
/// assert_eq!(GrpcCode::from(tonic::Code::Unavailable as i32), GrpcCode::Unavailable);
/// assert_eq!(GrpcCode::from(99), GrpcCode::Unknown);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are gRPC's")]
pub enum GrpcCode {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl GrpcCode {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];
}

impl GrpcCode {
    /// Returns the name of the code, as gRPC writes it: `UNAVAILABLE`, for instance.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

/// The class of a failure with this code: its [name](GrpcCode::name).
impl From<GrpcCode> for ErrorType {
    fn from(code: GrpcCode) -> Self {
        Self::new(code.name())
    }
}

/// Reads a number; one beyond gRPC's is [`Unknown`](GrpcCode::Unknown).
impl From<i32> for GrpcCode {
    fn from(number: i32) -> Self {
        let known = usize::try_from(number).ok().and_then(|index| Self::ALL.get(index));
        known.copied().unwrap_or(Self::Unknown)
    }
}

/// Writes the number.
impl fmt::Display for GrpcCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&(*self as u8), f)
    }
}

/// A set of codes, one bit each. A bit set because it is copied for each request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Codes(u32);

impl Codes {
    pub(super) fn from_codes(codes: impl IntoIterator<Item = GrpcCode>) -> Self {
        Self(codes.into_iter().fold(0, |set, code| set | Self::bit(code)))
    }

    pub(super) const fn contains(self, code: GrpcCode) -> bool {
        self.0 & Self::bit(code) != 0
    }

    const fn bit(code: GrpcCode) -> u32 {
        1 << code as u32
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(GrpcCode::ALL.into_iter().filter(|&code| self.contains(code)))
            .finish()
    }
}
