//! The inner service of the benches, and how a call is made.

use std::{
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use tower::{BoxError, Service};

/// Always ready; answers at once, or fails if told so.
///
/// Out of line, as a client or a handler would be: otherwise the compiler could specialize a layer
/// for a service that does not fail.
#[derive(Clone)]
pub(crate) struct Inner {
    pub(crate) fails: bool,
}

impl Service<u32> for Inner {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    #[inline(never)]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        black_box(self);
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u32) -> Self::Future {
        ready(if self.fails { Err("the call fails".into()) } else { Ok(request) })
    }
}

/// A service that does not fail.
pub(crate) const INNER: Inner = Inner { fails: false };

/// Makes one call that must not wait.
pub(crate) fn call<S: Service<u32>>(service: &mut S) -> Result<S::Response, S::Error> {
    assert!(poll_ready(service), "the call must not wait");
    let response = black_box(service).call(black_box(1));
    match pin!(response).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => response,
        Poll::Pending => panic!("the call must not wait"),
    }
}

/// Returns whether the service is ready.
pub(crate) fn poll_ready<S: Service<u32>>(service: &mut S) -> bool {
    let readiness = black_box(service).poll_ready(&mut Context::from_waker(Waker::noop()));
    matches!(readiness, Poll::Ready(Ok(())))
}
