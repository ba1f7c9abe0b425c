//! Waiters, in each limit's way: a service that is not ready, or the future of a call that waits.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tower::Service;

/// Returns a clone that waits in `poll_ready`.
pub(crate) fn queued<S: Service<u32> + Clone>(service: &S) -> S {
    let mut service = service.clone();
    let readiness = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(readiness.is_pending(), "the limit must be full");
    service
}

/// Returns the future of a call that waits.
pub(crate) fn in_call<S: Service<u32> + Clone>(service: &S) -> S::Future
where
    S::Future: Unpin,
{
    pending(ready(service).call(0))
}

/// Returns a future that waits.
pub(crate) fn pending<F: Future + Unpin>(mut future: F) -> F {
    let poll = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending(), "the limit must be full");
    future
}

/// Returns a clone that is ready; it holds a permit where the limit acquires in `poll_ready`.
pub(crate) fn ready<S: Service<u32> + Clone>(service: &S) -> S {
    let mut service = service.clone();
    let readiness = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(readiness, Poll::Ready(Ok(()))), "the service must be ready");
    service
}

/// Spends the permit of a window with a call.
pub(crate) fn spend<S: Service<u32> + Clone>(service: &S) {
    let mut call = Box::pin(ready(service).call(0));
    let poll = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_ready(), "the window must have room");
}
