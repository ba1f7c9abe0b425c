use std::task::{Context, Poll};

use tower_service::Service;

use super::{
    future::ResponseFuture,
    permit::{Holding, LimitedFuture},
};
use crate::{
    macros::inner_access,
    wrap_body::{HttpResponse, WrapBody},
};

/// A service whose requests are in flight until the bodies of their responses have ended. See the
/// [module](crate::server::until_body_ends).
///
/// Its inner service is the limited one. That of a concurrency limit has the
/// [`handle`](crate::ConcurrencyBackpressure::handle).
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

type PermitOf<F> = <F as LimitedFuture>::Permit;

impl<S, Request> Service<Request> for UntilBodyEnds<S>
where
    S: Service<Request, Future: LimitedFuture<Response = S::Response, Error = S::Error>>,
    S::Response: HttpResponse + WrapBody<Holding<S::Response, PermitOf<S::Future>>>,
{
    type Response = <S::Response as WrapBody<Holding<S::Response, PermitOf<S::Future>>>>::Wrapped;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

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
