use std::time::Duration;

/// Reads from a request for how long its caller waits.
///
/// Implemented by any `Fn(&Request) -> Option<Duration>` with an annotated argument, and by
/// `GrpcTimeout`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` reads no deadline from a `{Request}`",
    label = "can't read deadlines of these",
    note = "`GrpcTimeout` is for requests of the `http` crate; others need a function \
            `|request: &Request| -> Option<Duration>`"
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
