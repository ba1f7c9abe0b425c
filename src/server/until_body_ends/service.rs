use std::task::{Context, Poll};

use tower_service::Service;

use super::{PermitBody, future::ResponseFuture};
use crate::{
    ConcurrencyBackpressure,
    macros::inner_access,
    reject::RejectPolicyFor,
    wrap_body::{HttpResponse, WrapBody},
};

/// A service whose requests are in flight until the bodies of their responses have ended. See the
/// [module](crate::server::until_body_ends).
///
/// Its inner service is the limited one, which has the [`handle`](ConcurrencyBackpressure::handle).
#[derive(Clone, Debug)]
pub struct UntilBodyEnds<S> {
    inner: S,
}

impl<S> UntilBodyEnds<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner }
    }

    inner_access!();
}

impl<S, A, Request, R> Service<Request> for UntilBodyEnds<ConcurrencyBackpressure<S, A>>
where
    S: Service<Request, Response = R>,
    A: RejectPolicyFor<R, S::Error>,
    R: HttpResponse + WrapBody<PermitBody<<R as HttpResponse>::Body>>,
{
    type Response = R::Wrapped;
    type Error = A::Error;
    type Future = ResponseFuture<S::Future, A>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    #[track_caller]
    fn call(&mut self, request: Request) -> Self::Future {
        ResponseFuture::new(self.inner.call(request))
    }
}
