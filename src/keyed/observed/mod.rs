//! What is observed of a rule: counts, metrics, traces, and the keys that are rejected most.
//!
//! A rejection is notified when it reaches the caller, with the request at hand and no lock held.
//! So it is in the span of the caller, and a request that leaves the queue before it learns of its
//! rejection is none.
//!
//! Admitted requests are counted by choice, and at the issue. The count has [stripes](counts), so
//! that requests of different keys do not write to one line of the cache.

mod counts;
#[cfg(feature = "metrics")]
mod metrics;
mod snapshot;
mod top;
#[cfg(feature = "tracing")]
mod traces;

use std::{fmt, sync::Arc};

use self::counts::RejectedCounter;
#[cfg(feature = "metrics")]
pub(super) use self::metrics::Metrics;
pub use self::{
    counts::RuleRejectedCounts,
    snapshot::{PlanSnapshot, RuleSnapshot, TopKey},
};
pub(super) use self::{
    counts::Stripes,
    top::{Listed, Top},
};
use crate::rejected::{Reason, Rejected, RuleReason};

/// The kind of a rule, in snapshots, metrics and traces.
pub(super) const KIND: &str = "rule";

/// A rejection by a rule, or one that would be if the rule was not in a dry run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rejection<'a> {
    reason: Reason,
    /// `None` in a dry run, in which no time is worked out.
    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        allow(dead_code, reason = "the counts need no time")
    )]
    rejected: Option<&'a Rejected>,
}

impl<'a> Rejection<'a> {
    pub(super) const fn of(rejected: &'a Rejected) -> Self {
        Self { reason: rejected.reason(), rejected: Some(rejected) }
    }

    pub(super) const fn in_dry_run(reason: RuleReason) -> Self {
        Self { reason: Reason::Rule(reason), rejected: None }
    }

    /// Returns true if permits were missing that other requests of the key hold.
    pub(super) const fn is_of_use(&self) -> bool {
        !matches!(self.reason, Reason::Rule(RuleReason::TooLarge | RuleReason::NoKey))
    }
}

/// The sinks of the rejections of a rule. Apart from the words of each call.
pub(super) struct Observed {
    rejected: RejectedCounter,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Metrics,
    #[cfg(feature = "tracing")]
    name: Arc<str>,
    pub(super) top: Option<Top>,
}

impl Observed {
    #[cfg_attr(
        not(all(feature = "metrics", feature = "tracing")),
        allow(unused_variables, reason = "counts need no name")
    )]
    pub(super) fn new(name: &Arc<str>, is_dry_run: bool, top: u32) -> Self {
        Self {
            rejected: RejectedCounter::default(),
            #[cfg(feature = "metrics")]
            metrics: Metrics::new(name, is_dry_run),
            #[cfg(feature = "tracing")]
            name: Arc::clone(name),
            top: (top > 0).then(|| Top::new(top)),
        }
    }

    pub(super) fn rejected(&self) -> RuleRejectedCounts {
        self.rejected.counts()
    }

    /// Passes a rejection on to all sinks but the list of keys.
    pub(super) fn notify(&self, rejection: Rejection<'_>) {
        self.rejected.count(rejection.reason);
        #[cfg(feature = "metrics")]
        self.metrics.record(rejection.reason, rejection.rejected.is_none());
        #[cfg(feature = "tracing")]
        traces::record(&self.name, rejection);
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("rejected", &self.rejected()).finish_non_exhaustive()
    }
}
