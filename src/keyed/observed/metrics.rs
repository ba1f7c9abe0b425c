//! Metrics of the rejections of a rule, recorded as they happen.

use std::{fmt, sync::Arc};

use metrics::{Counter, Label};

use super::KIND;
use crate::{
    limiter::{REJECTED, labels},
    metric::{LateHandle, Metric},
    rejected::{Reason, RuleReason},
};

const WOULD_REJECT: Metric = Metric::count(
    "floodgate_dry_run_rejections_total",
    "Requests that a rule in a dry run would have rejected, by reason.",
);

/// The reasons of a rule.
const REASONS: [Reason; 6] = [
    Reason::Rule(RuleReason::LimitReached),
    Reason::Rule(RuleReason::TooLarge),
    Reason::Rule(RuleReason::NoKey),
    Reason::Rule(RuleReason::TableFull),
    Reason::QueueFull,
    Reason::WaitTimeout,
];

/// The handles of one rule, in the order of [`REASONS`].
pub(crate) struct Metrics([LateHandle<Counter>; REASONS.len()]);

impl Metrics {
    pub(crate) fn new(name: &Arc<str>, is_dry_run: bool) -> Self {
        let metric = if is_dry_run { WOULD_REJECT } else { REJECTED };
        Self(REASONS.map(|reason| {
            let [limiter, kind] = labels(name, KIND);
            let reason = Label::from_static_parts("reason", reason.name());
            LateHandle::new(metric, &[limiter, kind, reason])
        }))
    }

    /// Registers all metrics that are not yet.
    pub(crate) fn register(&self) {
        self.0.iter().for_each(LateHandle::register);
    }

    pub(super) fn record(&self, reason: Reason) {
        if let Some(at) = REASONS.iter().position(|it| *it == reason) {
            self.0[at].with(|counter| counter.increment(1));
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
