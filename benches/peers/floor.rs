//! The least that a limit shared by clones does for a call when it does everything for each: one atomic step in
//! and one out, and a look at the clock where time counts. It keeps nobody waiting and nothing in order, and
//! nothing can be built on it. Who takes back many places in one step, or reads the clock once for many calls,
//! can be cheaper.

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

/// Places counted in a word, and a service behind them.
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
    type Future = Out<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if !enter(&self.free) {
            return Poll::Pending;
        }
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u32) -> Self::Future {
        if self.reads_clock {
            black_box(Instant::now());
        }
        Out { inner: self.inner.call(request), free: Arc::clone(&self.free) }
    }
}

/// Puts the place back when it ends.
#[pin_project]
pub(crate) struct Out<F> {
    #[pin]
    inner: F,
    free: Arc<AtomicU64>,
}

impl<F: Future> Future for Out<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = this.inner.poll(cx);
        if answer.is_ready() {
            leave(this.free);
        }
        answer
    }
}

#[inline]
pub(crate) fn enter(free: &AtomicU64) -> bool {
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
pub(crate) fn leave(free: &AtomicU64) {
    free.fetch_add(1, Ordering::Release);
}
