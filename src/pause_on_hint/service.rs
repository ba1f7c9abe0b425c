use std::task::{Context, Poll};

use tower_service::Service;

use super::{PauseOnHintHandle, ReadHint, future::ResponseFuture};
use crate::macros::inner_access;

/// A service that pauses a rate limit by hints of its responses. See the
/// [module](crate::pause_on_hint).
#[derive(Clone, Debug)]
pub struct PauseOnHint<S, H> {
    inner: S,
    handle: PauseOnHintHandle,
    hint: H,
}

impl<S, H> PauseOnHint<S, H> {
    pub(super) const fn new(inner: S, handle: PauseOnHintHandle, hint: H) -> Self {
        Self { inner, handle, hint }
    }

    inner_access!();
}

impl<S, H, Request> Service<Request> for PauseOnHint<S, H>
where
    S: Service<Request>,
    H: ReadHint<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        let future = self.inner.call(request);
        ResponseFuture::new(future, self.handle.clone(), self.hint.clone())
    }
}
