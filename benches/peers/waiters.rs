//! Somebody who waits, in each neighbour's way: a service that was asked and isn't ready, or a call's future where one
//! waits in the call.

use std::{
    future::Future,
    hint::black_box,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use tower::Service;

/// A clone that was asked and has to wait.
pub(crate) fn in_line<S: Service<u32> + Clone>(service: &S) -> S {
    let mut service = service.clone();
    let readiness = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(readiness.is_pending(), "nobody has to wait");
    service
}

/// A call's future that has to wait.
pub(crate) fn in_call<S: Service<u32> + Clone>(service: &S) -> S::Future
where
    S::Future: Unpin,
{
    let mut service = service.clone();
    let readiness = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(readiness, Poll::Ready(Ok(()))), "one waits in the call");
    pending(service.call(0))
}

/// A future that has to wait.
pub(crate) fn pending<F: Future + Unpin>(mut future: F) -> F {
    let poll = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending(), "nobody has to wait");
    future
}

/// A clone that is ready and holds a place.
pub(crate) fn ready<S: Service<u32> + Clone>(service: &S) -> S {
    let mut service = service.clone();
    let readiness = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(readiness, Poll::Ready(Ok(()))), "it has to wait");
    service
}

/// Spends what there is with a call.
pub(crate) fn spend<S: Service<u32> + Clone>(service: &S) {
    let mut call = Box::pin(ready(service).call(0));
    let poll = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_ready(), "it has to wait");
}

/// The floor: wakers in a slab behind a mutex, from which who gives up takes its own.
#[derive(Default)]
pub(crate) struct Slab {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

pub(crate) struct InSlab {
    slab: Arc<Mutex<Slab>>,
    at: usize,
}

impl InSlab {
    pub(crate) fn new(slab: &Arc<Mutex<Slab>>) -> Self {
        let mut line = slab.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = Some(Waker::noop().clone());
        let at = if let Some(at) = line.free.pop() {
            line.wakers[at] = waker;
            at
        } else {
            line.wakers.push(waker);
            line.wakers.len() - 1
        };
        Self { slab: Arc::clone(slab), at }
    }
}

impl Drop for InSlab {
    fn drop(&mut self) {
        let mut line = self.slab.lock().unwrap_or_else(PoisonError::into_inner);
        black_box(mem::take(&mut line.wakers[self.at]));
        line.free.push(self.at);
    }
}
