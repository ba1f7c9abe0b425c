//! A lower bound on the cost of a call through a shared limit.
//!
//! Each call acquires with one atomic step, releases with another, and reads the clock where time
//! matters. No caller waits, so no limit can be built on it. A limit that refills many permits in
//! one step, or reads the clock once for many calls, can be cheaper.

use std::{
    future::Future,
    hint::black_box,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower::Service;

/// A service behind an atomic count of free permits.
#[derive(Clone)]
pub(crate) struct Floor<S> {
    inner: S,
    free: Arc<AtomicU64>,
    reads_clock: bool,
}

impl<S> Floor<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, free: Arc::new(AtomicU64::new(1_000)), reads_clock: false }
    }

    pub(crate) fn with_clock(inner: S) -> Self {
        Self { reads_clock: true, ..Self::new(inner) }
    }
}

impl<S: Service<u32>> Service<u32> for Floor<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Releasing<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if !acquire(&self.free) {
            return Poll::Pending;
        }
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u32) -> Self::Future {
        if self.reads_clock {
            black_box(Instant::now());
        }
        Releasing { inner: self.inner.call(request), free: Arc::clone(&self.free) }
    }
}

/// Releases the permit when the response is ready.
#[pin_project]
pub(crate) struct Releasing<F> {
    #[pin]
    inner: F,
    free: Arc<AtomicU64>,
}

impl<F: Future> Future for Releasing<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = this.inner.poll(cx);
        if response.is_ready() {
            release(this.free);
        }
        response
    }
}

#[inline]
pub(crate) fn acquire(free: &AtomicU64) -> bool {
    let mut now = free.load(Ordering::Relaxed);
    while now > 0 {
        match free.compare_exchange_weak(now, now - 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(newer) => now = newer,
        }
    }
    false
}

#[inline]
pub(crate) fn release(free: &AtomicU64) {
    free.fetch_add(1, Ordering::Release);
}
