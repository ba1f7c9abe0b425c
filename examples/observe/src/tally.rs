//! Counts made beside the limits, by code that shares nothing with them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tower::{Layer, Service};
use tower_floodgate::Rejected;

/// Counts the requests that pass it. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Passed>);

#[derive(Debug, Default)]
struct Passed {
    arrived: AtomicU64,
    called: AtomicU64,
}

impl Tally {
    /// Returns the number of requests for which readiness was asked.
    pub(crate) fn arrived(&self) -> u64 {
        self.0.arrived.load(Relaxed)
    }

    /// Returns the number of requests that were passed on.
    pub(crate) fn called(&self) -> u64 {
        self.0.called.load(Relaxed)
    }
}

impl<S> Layer<S> for Tally {
    type Service = Tallied<S>;

    fn layer(&self, inner: S) -> Tallied<S> {
        Tallied { inner, passed: Arc::clone(&self.0), has_arrived: false }
    }
}

#[derive(Debug)]
pub(crate) struct Tallied<S> {
    inner: S,
    passed: Arc<Passed>,
    /// A request asked for readiness and was not passed on yet.
    has_arrived: bool,
}

/// A clone serves a request of its own.
impl<S: Clone> Clone for Tallied<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), passed: Arc::clone(&self.passed), has_arrived: false }
    }
}

impl<S: Service<Request>, Request> Service<Request> for Tallied<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if !self.has_arrived {
            self.has_arrived = true;
            self.passed.arrived.fetch_add(1, Relaxed);
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.has_arrived = false;
        self.passed.called.fetch_add(1, Relaxed);
        self.inner.call(request)
    }
}

/// The counts on both sides of a limit, and its rejections as they came out of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    pub(crate) before: Tally,
    pub(crate) behind: Tally,
    rejected: Arc<[AtomicU64; 3]>,
}

impl Around {
    pub(crate) fn reject(&self, rejected: &Rejected) {
        let reason = [rejected.is_queue_full(), rejected.is_wait_timeout(), rejected.is_closed()];
        for (count, is) in self.rejected.iter().zip(reason) {
            count.fetch_add(u64::from(is), Relaxed);
        }
    }

    /// Returns the number of rejections of each reason.
    pub(crate) fn rejected(&self) -> [(&'static str, u64); 3] {
        let [queue_full, wait_timeout, closed] = &*self.rejected;
        [("queue_full", queue_full), ("wait_timeout", wait_timeout), ("closed", closed)]
            .map(|(reason, count)| (reason, count.load(Relaxed)))
    }

    /// Returns the number of requests that left the queue, once none is on its way.
    pub(crate) fn cancelled(&self) -> u64 {
        let rejected: u64 = self.rejected().iter().map(|(_, count)| count).sum();
        self.before.arrived() - self.behind.arrived() - rejected
    }
}
