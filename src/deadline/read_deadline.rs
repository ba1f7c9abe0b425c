use std::time::Duration;

/// Reads from a request for how long its caller waits.
///
/// Implemented by any `Fn(&Request) -> Option<Duration>` with an annotated argument, by
/// `GrpcTimeout` (feature `grpc`), and by `HeaderTimeout` (features `client`, `server`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` reads no deadline from a `{Request}`",
    label = "can't read deadlines of these",
    note = "`GrpcTimeout` and `HeaderTimeout` are for requests of the `http` crate; others need a \
            function `|request: &Request| -> Option<Duration>`"
)]
pub trait ReadDeadline<Request> {
    /// Returns the time from now to the deadline, or `None` without one.
    fn read_deadline(&self, request: &Request) -> Option<Duration>;
}

#[diagnostic::do_not_recommend]
impl<F, Request> ReadDeadline<Request> for F
where
    F: Fn(&Request) -> Option<Duration>,
{
    fn read_deadline(&self, request: &Request) -> Option<Duration> {
        self(request)
    }
}

/// Requests without a deadline of their own: the reader of
/// [`DeadlineLayer::new`](super::DeadlineLayer::new).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeadline;

impl<Request> ReadDeadline<Request> for NoDeadline {
    fn read_deadline(&self, _: &Request) -> Option<Duration> {
        None
    }
}

/// Reads the `grpc-timeout` of a gRPC request (gRPC over HTTP/2, *Requests*: `Timeout`).
///
/// tonic's `Request::set_timeout` writes it. An unreadable value counts as absent, as if the
/// request had no time of its own.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::deadline::{GrpcTimeout, ReadDeadline};
///
/// let request = http::Request::builder().header("grpc-timeout", "1500m").body(()).unwrap();
/// assert_eq!(GrpcTimeout.read_deadline(&request), Some(Duration::from_millis(1_500)));
/// ```
#[cfg(feature = "grpc")]
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcTimeout;

#[cfg(feature = "grpc")]
impl<B> ReadDeadline<http::Request<B>> for GrpcTimeout {
    fn read_deadline(&self, request: &http::Request<B>) -> Option<Duration> {
        crate::headers::grpc_timeout::read(request.headers())
    }
}

/// Reads the time of a request from a header that holds a whole number, in milliseconds or seconds.
///
/// An unreadable value counts as absent, and so does a header that occurs several times.
///
/// ```
/// use std::time::Duration;
/// use http::HeaderName;
/// use tower_floodgate::deadline::{HeaderTimeout, ReadDeadline};
///
/// // Envoy tells the servers behind it for how long it waits.
/// const LEFT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
///
/// let request = http::Request::builder().header(LEFT, "1500").body(()).unwrap();
/// let left = HeaderTimeout::in_millis(LEFT).read_deadline(&request);
/// assert_eq!(left, Some(Duration::from_millis(1_500)));
/// ```
#[cfg(any(feature = "client", feature = "server"))]
#[derive(Clone, Debug)]
pub struct HeaderTimeout {
    name: http::HeaderName,
    unit: Duration,
}

#[cfg(any(feature = "client", feature = "server"))]
impl HeaderTimeout {
    /// Reads a number of milliseconds.
    #[must_use]
    pub const fn in_millis(name: http::HeaderName) -> Self {
        Self { name, unit: Duration::from_millis(1) }
    }

    /// Reads a number of seconds.
    #[must_use]
    pub const fn in_seconds(name: http::HeaderName) -> Self {
        Self { name, unit: Duration::from_secs(1) }
    }
}

#[cfg(any(feature = "client", feature = "server"))]
impl<B> ReadDeadline<http::Request<B>> for HeaderTimeout {
    fn read_deadline(&self, request: &http::Request<B>) -> Option<Duration> {
        let mut values = request.headers().get_all(&self.name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        let digits = value.to_str().ok()?;
        // `parse` accepts a sign, which a time has not.
        let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
        let number: u32 = if is_number { digits.parse().ok()? } else { return None };
        Some(self.unit * number)
    }
}
