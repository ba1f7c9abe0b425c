use std::fmt;

/// The status of a gRPC call, as `grpc-status` numbers it (gRPC's `statuscodes.md`).
///
/// ```
/// use tower_floodgate::grpc::Code;
///
/// assert_eq!(Code::from(14), Code::Unavailable); // for one of tonic's: `Code::from(code as i32)`
/// assert_eq!(Code::from(99), Code::Unknown);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it all, and gRPC's page the rest")]
pub enum Code {
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

impl Code {
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

/// A number that gRPC doesn't know is [`Unknown`](Code::Unknown).
impl From<i32> for Code {
    fn from(number: i32) -> Self {
        let known = usize::try_from(number).ok().and_then(|index| Self::ALL.get(index));
        known.copied().unwrap_or(Self::Unknown)
    }
}

/// The number.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&(*self as u8), f)
    }
}

/// A set of codes, a bit for each: it is copied for every request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Codes(u32);

impl Codes {
    pub(super) fn of(codes: impl IntoIterator<Item = Code>) -> Self {
        Self(codes.into_iter().fold(0, |set, code| set | Self::bit(code)))
    }

    pub(super) const fn contains(self, code: Code) -> bool {
        self.0 & Self::bit(code) != 0
    }

    const fn bit(code: Code) -> u32 {
        1 << code as u32
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Code::ALL.into_iter().filter(|&code| self.contains(code))).finish()
    }
}
