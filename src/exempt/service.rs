use std::task::{Context, Poll};

use tower_service::Service;

use super::future::ResponseFuture;
use crate::macros::inner_access;

/// A service with a layer that some requests bypass. See the [module](crate::exempt).
///
/// Always ready: a request waits in its call.
#[derive(Clone, Debug)]
pub struct Exempt<S, T, F> {
    inner: S,
    layered: T,
    exempt: F,
}

impl<S, T, F> Exempt<S, T, F> {
    pub(super) const fn new(inner: S, layered: T, exempt: F) -> Self {
        Self { inner, layered, exempt }
    }

    inner_access!();
}

impl<S, T, F, Request> Service<Request> for Exempt<S, T, F>
where
    S: Service<Request> + Clone,
    T: Service<Request, Response = S::Response> + Clone,
    S::Error: Into<T::Error>,
    F: Fn(&Request) -> bool,
{
    type Response = T::Response;
    type Error = T::Error;
    type Future = ResponseFuture<S, T, Request>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        if (self.exempt)(&request) {
            ResponseFuture::past(self.inner.clone(), request)
        } else {
            ResponseFuture::through(self.layered.clone(), request)
        }
    }
}
