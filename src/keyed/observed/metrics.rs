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
const REASONS: [Reason; 7] = [
    Reason::Rule(RuleReason::LimitReached),
    Reason::Rule(RuleReason::TooLarge),
    Reason::Rule(RuleReason::NoKey),
    Reason::Rule(RuleReason::TableFull),
    Reason::Rule(RuleReason::Paused),
    Reason::QueueFull,
    Reason::WaitTimeout,
];

/// The handles of one rule, in the order of [`REASONS`].
pub(crate) struct Metrics {
    rejected: [LateHandle<Counter>; REASONS.len()],
    would_reject: [LateHandle<Counter>; REASONS.len()],
    /// From the beginning. The other metric is registered when it is first recorded.
    is_dry_run: bool,
}

impl Metrics {
    pub(crate) fn new(name: &Arc<str>, is_dry_run: bool) -> Self {
        let of = |metric| {
            REASONS.map(|reason| {
                let [limiter, kind] = labels(name, KIND);
                let reason = Label::from_static_parts("reason", reason.name());
                LateHandle::unregistered(metric, &[limiter, kind, reason])
            })
        };
        let this = Self { rejected: of(REJECTED), would_reject: of(WOULD_REJECT), is_dry_run };
        this.register();
        this
    }

    const fn of(&self, is_dry_run: bool) -> &[LateHandle<Counter>; REASONS.len()] {
        if is_dry_run { &self.would_reject } else { &self.rejected }
    }

    /// Registers the metrics that are not yet.
    pub(crate) fn register(&self) {
        self.of(self.is_dry_run).iter().for_each(LateHandle::register);
    }

    pub(super) fn record(&self, reason: Reason, is_dry_run: bool) {
        if let Some(at) = REASONS.iter().position(|it| *it == reason) {
            self.of(is_dry_run)[at].with(|counter| counter.increment(1));
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
