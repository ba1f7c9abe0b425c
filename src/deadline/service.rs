use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;

use super::{ReadDeadline, future::ResponseFuture};
use crate::{
    current_deadline::{current, earliest},
    macros::inner_access,
    reject::RejectPolicyFor,
    time::{self, CENTURY},
};

/// A service with a deadline for each request. See the [module](crate::deadline).
///
/// Always ready: a request waits in its call.
#[derive(Clone)]
pub struct Deadline<S, R, P> {
    inner: S,
    read: R,
    at_most: Option<Duration>,
    policy: P,
}

impl<S, R, P> Deadline<S, R, P> {
    pub(super) const fn new(inner: S, read: R, at_most: Option<Duration>, policy: P) -> Self {
        Self { inner, read, at_most, policy }
    }

    inner_access!();
}

impl<S, R, P, Request> Service<Request> for Deadline<S, R, P>
where
    S: Service<Request> + Clone,
    R: ReadDeadline<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = P::Error;
    type Future = ResponseFuture<S, Request, P>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let read = self.read.read_deadline(&request);
        let left = read.into_iter().chain(self.at_most).min();
        // A time of more than a century sets no deadline.
        let own = left.filter(|&left| left <= CENTURY).map(|left| time::now() + left);
        let deadline = earliest(own, current());
        ResponseFuture::new(self.inner.clone(), request, deadline, self.policy.clone())
    }
}

impl<S: fmt::Debug, R, P: fmt::Debug> fmt::Debug for Deadline<S, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("inner", &self.inner)
            .field("at_most", &self.at_most)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
