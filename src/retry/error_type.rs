use std::{borrow::Cow, fmt};

/// The class of a failure, as a label of metrics and a field of traces.
///
/// It is the value of OpenTelemetry's attribute [`error.type`]: one of few, so that each can be a
/// time series of its own. [`Classify::error_type`](super::Classify::error_type) returns it.
///
/// | failure | class |
/// | --- | --- |
/// | a response of HTTP | its status: `503` |
/// | a response of gRPC | the name of its code: `UNAVAILABLE` |
/// | an error | `timeout`, `connect`, `reset`, `canceled`, `rejected`, or else `_OTHER` |
/// | by default, and of a closure | `response` of an `Ok`, `_OTHER` of an `Err` |
///
/// It is copied, and allocates nothing.
///
/// ```
/// use tower_floodgate::retry::ErrorType;
///
/// assert_eq!(ErrorType::status(503).to_string(), "503");
/// assert_eq!(ErrorType::TIMEOUT.to_string(), "timeout");
/// assert_eq!(ErrorType::new("deadlock").to_string(), "deadlock");
/// ```
///
/// [`error.type`]: https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorType(Class);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Name(&'static str),
    Status(u16),
}

impl ErrorType {
    /// A time was up: to connect, of the attempt, or of the request.
    pub const TIMEOUT: Self = Self::new("timeout");
    /// The server could not be reached, and no time was up.
    pub const CONNECT: Self = Self::new("connect");
    /// The connection, or the stream on it, was lost.
    pub const RESET: Self = Self::new("reset");
    /// The request was canceled before it was sent.
    pub const CANCELED: Self = Self::new("canceled");
    /// A limit of this crate has rejected the request.
    pub const REJECTED: Self = Self::new("rejected");
    /// A response that the classifier judged a failure, without a class of its own.
    pub const RESPONSE: Self = Self::new("response");
    /// A failure of no other class: OpenTelemetry's `_OTHER`.
    pub const OTHER: Self = Self::new("_OTHER");

    /// Creates a class by its name. There should be few of them.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Class::Name(name))
    }

    /// Creates the class of a status of HTTP.
    ///
    /// Each status is a time series of its own. Those of a server are few; a number that is not a
    /// status, such as one that counts, makes as many series as it has values.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self(Class::Status(status))
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Class::Name(name) => f.write_str(name),
            Class::Status(status) => write!(f, "{status}"),
        }
    }
}

impl fmt::Debug for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorType({self})")
    }
}

/// Allocates for a status only.
impl From<ErrorType> for Cow<'static, str> {
    fn from(class: ErrorType) -> Self {
        match class.0 {
            Class::Name(name) => Self::Borrowed(name),
            Class::Status(status) => Self::Owned(status.to_string()),
        }
    }
}
