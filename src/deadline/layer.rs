use std::{fmt, time::Duration};

use tower_layer::Layer;

use super::{Deadline, read_deadline::NoDeadline};
use crate::{
    Rejected,
    reject::{RejectWith, RejectWithBoxError, RejectWithError},
};

/// Bounds the time from the call of a request to its response. See the [module](crate::deadline).
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`at_most`](Self::at_most) | the `timeout` of `new`; none with `from_request` | the longest time for any request |
/// | [`reject_with`](Self::reject_with), [`reject_with_error`](Self::reject_with_error) | a `BoxError` that holds the [`Rejected`] | the form in which a late request is rejected |
///
/// A zero time rejects a request without calling the inner service. A time of more than a century
/// sets no deadline. A call that waits panics outside a tokio runtime with its timer enabled, if it
/// has a deadline.
#[derive(Clone)]
pub struct DeadlineLayer<R = NoDeadline, P = RejectWithBoxError> {
    read: R,
    at_most: Option<Duration>,
    policy: P,
}

impl DeadlineLayer {
    /// Gives each request this time, from its call to its response.
    #[must_use]
    pub const fn new(timeout: Duration) -> Self {
        Self { read: NoDeadline, at_most: Some(timeout), policy: RejectWithBoxError }
    }
}

impl<R> DeadlineLayer<R> {
    /// Gives each request the time that `read` reads from it.
    ///
    /// Takes a `Fn(&Request) -> Option<Duration>` with an annotated argument, or another
    /// [`ReadDeadline`](super::ReadDeadline). A request without a time has no deadline, unless
    /// [`at_most`](Self::at_most) is set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::Request;
    /// use tower_floodgate::DeadlineLayer;
    ///
    /// let layer = DeadlineLayer::from_request(|request: &Request<String>| {
    ///     let seconds = request.headers().get("x-timeout-seconds")?.to_str().ok()?.parse().ok()?;
    ///     Some(Duration::from_secs(seconds))
    /// })
    /// .at_most(Duration::from_secs(30));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub const fn from_request(read: R) -> Self {
        Self { read, at_most: None, policy: RejectWithBoxError }
    }
}

impl<R, P> DeadlineLayer<R, P> {
    /// Gives each request at most this time, whether it has a time of its own or not.
    ///
    /// Of several such times, and that of [`new`](DeadlineLayer::new), the shortest counts.
    #[must_use]
    pub fn at_most(self, at_most: Duration) -> Self {
        let at_most = self.at_most.map_or(at_most, |before| before.min(at_most));
        Self { at_most: Some(at_most), ..self }
    }

    /// Rejects with the error `E`, into which the errors of the inner service are made, too. See
    /// [`RejectWithError`].
    #[must_use]
    pub fn reject_with_error<E>(self) -> DeadlineLayer<R, RejectWithError<E>> {
        self.with_policy(RejectWithError::new())
    }

    /// Rejects with a response made by `respond`. The types of the error and the response stay
    /// those of the inner service. See [`RejectWith`].
    ///
    /// `server::http_rejection` makes a 504, `server::grpc_rejection` a `DEADLINE_EXCEEDED`.
    #[must_use]
    pub fn reject_with<F, Response>(self, respond: F) -> DeadlineLayer<R, RejectWith<F>>
    where
        F: Fn(Rejected) -> Response + Clone,
    {
        self.with_policy(RejectWith::new(respond))
    }

    fn with_policy<Q>(self, policy: Q) -> DeadlineLayer<R, Q> {
        let Self { read, at_most, policy: _ } = self;
        DeadlineLayer { read, at_most, policy }
    }
}

impl<R: Clone, P: Clone, S> Layer<S> for DeadlineLayer<R, P> {
    type Service = Deadline<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline::new(inner, self.read.clone(), self.at_most, self.policy.clone())
    }
}

impl<R, P: fmt::Debug> fmt::Debug for DeadlineLayer<R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineLayer")
            .field("at_most", &self.at_most)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
