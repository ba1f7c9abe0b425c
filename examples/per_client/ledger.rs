//! The server's record of the requests that its limits have let through.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{extract::Request, http::header::USER_AGENT};

/// A request that was issued to the routes.
#[derive(Clone, Copy, Debug)]
struct Issue {
    sender: &'static str,
    at: Instant,
    cost: u32,
}

/// Records issues by their `User-Agent`, by which each client of this demonstration tells its true
/// name. No limit reads it.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    senders: &'static [&'static str],
    issues: Mutex<Vec<Issue>>,
    exports: AtomicU32,
    most_exports: AtomicU32,
}

/// An export in flight, until it is dropped.
pub(crate) struct Export(Ledger);

/// More than are issued, so that the record allocates nothing while memory is measured.
const CAPACITY: usize = 20_000;

impl Ledger {
    pub(crate) fn new(senders: &'static [&'static str]) -> Self {
        let issues = Mutex::new(Vec::with_capacity(CAPACITY));
        let (exports, most_exports) = (AtomicU32::new(0), AtomicU32::new(0));
        Self(Arc::new(Inner { senders, issues, exports, most_exports }))
    }

    /// Records a request. Called within the call of the limit, which commits the permit afterwards:
    /// so no permit can expire before a window has passed since this time.
    #[allow(clippy::disallowed_methods, reason = "the record has real times")]
    pub(crate) fn issued(&self, request: &Request, cost: u32) {
        let name = request.headers().get(USER_AGENT).map(|name| name.as_bytes());
        let sender = self.0.senders.iter().find(|sender| Some(sender.as_bytes()) == name);
        let sender = sender.copied().unwrap_or("others");
        let mut issues = self.0.issues.lock().unwrap_or_else(PoisonError::into_inner);
        issues.push(Issue { sender, at: Instant::now(), cost });
    }

    pub(crate) fn export_begins(&self) -> Export {
        let exports = self.0.exports.fetch_add(1, Relaxed) + 1;
        self.0.most_exports.fetch_max(exports, Relaxed);
        Export(self.clone())
    }

    /// Returns the most exports that were in flight at a time.
    pub(crate) fn most_exports(&self) -> u32 {
        self.0.most_exports.load(Relaxed)
    }

    /// Returns the largest total cost of a sender's requests in any half-open span of this length.
    pub(crate) fn most(&self, sender: &str, span: Duration) -> u32 {
        let issues = self.0.issues.lock().unwrap_or_else(PoisonError::into_inner);
        let of_sender: Vec<_> = issues.iter().filter(|issue| issue.sender == sender).collect();
        let mut most = 0;
        let mut total = 0;
        let mut oldest = 0;
        for issue in &of_sender {
            total += issue.cost;
            while issue.at - of_sender[oldest].at >= span {
                total -= of_sender[oldest].cost;
                oldest += 1;
            }
            most = most.max(total);
        }
        most
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.0.0.exports.fetch_sub(1, Relaxed);
    }
}
