//! Metrics of a named policy, recorded as its events happen.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use ::metrics::{Counter, Gauge, Histogram, Label, Recorder, with_recorder};

use super::super::{Decision, ErrorType, StopReason};
use crate::metric::{Handle, LateHandle, Metric};

/// Buckets for the histogram `floodgate_retry_attempts`.
///
/// One for each number of attempts up to 5, and some for policies with more.
pub const RETRY_ATTEMPTS_BUCKETS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0];

/// Buckets for the histogram `floodgate_retry_backoff_seconds`, in seconds.
///
/// They double, as backoffs do, from 10 ms to the default bound of a hint, and begin where tokio's
/// timer resolves.
pub const RETRY_BACKOFF_BUCKETS: [f64; 14] =
    [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0];

const RETRIES: Metric = Metric::count(
    "floodgate_retries_total",
    "Retries that were decided on, by the class of the failure before.",
);
const GIVE_UPS: Metric = Metric::count(
    "floodgate_retry_give_ups_total",
    "Failed requests that were not retried, by reason.",
);
const ATTEMPTS: Metric =
    Metric::count("floodgate_retry_attempts", "Attempts that a request took, the first included.");
const BACKOFF: Metric = Metric::seconds(
    "floodgate_retry_backoff_seconds",
    "Wait before a retry, as it was decided on.",
);
const BALANCE: Metric = Metric::count(
    "floodgate_retry_budget_balance",
    "Whole retries that the budget has saved, without those of its floor.",
);

/// The handles of one policy.
pub(in super::super) struct Metrics {
    attempts: LateHandle<Histogram>,
    backoff: LateHandle<Histogram>,
    give_ups: [LateHandle<Counter>; StopReason::ALL.len()],
    /// True once a recorder has the description of `RETRIES`.
    are_retries_described: AtomicBool,
    /// Registered only with a budget: 0 is a balance that is exhausted.
    balance: LateHandle<Gauge>,
}

/// Returns the label that all metrics of a policy have.
fn label(name: &Arc<str>) -> Label {
    Label::new("limiter", Arc::clone(name))
}

impl Metrics {
    pub(super) fn new(name: &Arc<str>) -> Self {
        let limiter = label(name);
        let give_ups = StopReason::ALL.map(|reason| {
            let reason = Label::from_static_parts("reason", reason.name());
            LateHandle::new(GIVE_UPS, &[limiter.clone(), reason])
        });
        let labels = [limiter];
        Self {
            attempts: LateHandle::new(ATTEMPTS, &labels),
            backoff: LateHandle::new(BACKOFF, &labels),
            give_ups,
            are_retries_described: AtomicBool::new(false),
            balance: LateHandle::unregistered(BALANCE, &labels),
        }
    }

    pub(super) fn decided(&self, name: &Arc<str>, decision: &Decision, error_type: ErrorType) {
        match decision.retry_in() {
            Ok(wait) => {
                self.backoff.with(|backoff| backoff.record(wait));
                // Not kept: there are as many as classes of failures, and a failure has waited for
                // a server.
                let error_type = Label::new("error_type", Cow::from(error_type));
                let labels = [label(name), error_type];
                with_recorder(|recorder| {
                    self.describe_retries(recorder);
                    Counter::register(recorder, &RETRIES.key(&labels)).increment(1);
                });
            }
            Err(reason) => self.give_ups[reason as usize].with(|count| count.increment(1)),
        }
    }

    /// Allocates nothing, and looks nothing up once there is a recorder.
    pub(super) fn ended(&self, attempts: u32) {
        self.attempts.with(|histogram| histogram.record(attempts));
    }

    /// Describes the counter of retries to the first recorder.
    fn describe_retries(&self, recorder: &dyn Recorder) {
        // The no-op recorder of before the first has no size, as `LateHandle` tells.
        if size_of_val(recorder) == 0 || self.are_retries_described.load(Relaxed) {
            return;
        }
        Counter::describe(recorder, RETRIES);
        // Relaxed: it orders nothing, and a second description of another thread is the same.
        self.are_retries_described.store(true, Relaxed);
    }

    /// Registers the metrics that are not yet, and have values before their first event.
    pub(in super::super) fn register(&self) {
        self.attempts.register();
        self.backoff.register();
        for count in &self.give_ups {
            count.register();
        }
    }

    pub(in super::super) fn record_balance(&self, saved: f64) {
        self.balance.with(|balance| balance.set(saved));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
