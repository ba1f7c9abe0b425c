//! The events of a shared quota: counts, metrics and traces.
//!
//! Those of requests go through the [`Observer`] of all limits, once the limit has a name. Those
//! between the process and the store come from the driver. They are traced without a name, too: an
//! outage changes the fate of requests, and the quota has a name in the store.
//!
//! Permits that are leased, lapse or are refunded are counted by the agent, and recorded from its
//! counts when the metrics are read. So a call that finds a permit meets nothing of this module but
//! the observer.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod traces;

#[cfg(feature = "metrics")]
use std::sync::OnceLock;
#[cfg(feature = "tracing")]
use std::sync::atomic::AtomicBool;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    SharedSnapshot, StoreError,
    agent::{Remark, Terms},
    wire::Reply,
};
use crate::{
    limiter::{Kind, Observer},
    rejected::{Reason, Rejected},
    settings::InvalidSetting,
};

const KIND: Kind = Kind { name: SharedSnapshot::KIND, can_pause: true, has_store: true };

/// The sinks of the events. All counters and flags are `Relaxed`: they order nothing.
#[derive(Debug)]
pub(super) struct Observed {
    /// Of the requests of the services.
    pub(super) observer: Observer,
    unavailable: AtomicU64,
    unlimited: AtomicU64,
    local: AtomicU64,
    /// Of a limit with a name. In a box, whose words lie apart from those of each call.
    #[cfg(feature = "metrics")]
    metrics: OnceLock<Box<metrics::Metrics>>,
    #[cfg(feature = "tracing")]
    quota: Arc<str>,
    /// Other terms have been reported, and those of this process are the same since.
    #[cfg(feature = "tracing")]
    has_told_terms: AtomicBool,
    /// A missing right has been reported.
    #[cfg(feature = "tracing")]
    has_told_right: AtomicBool,
}

impl Observed {
    #[cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "only traces name it"))]
    pub(super) fn new(quota: &Arc<str>) -> Self {
        Self {
            observer: Observer::default(),
            unavailable: AtomicU64::new(0),
            unlimited: AtomicU64::new(0),
            local: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            metrics: OnceLock::new(),
            #[cfg(feature = "tracing")]
            quota: Arc::clone(quota),
            #[cfg(feature = "tracing")]
            has_told_terms: AtomicBool::new(false),
            #[cfg(feature = "tracing")]
            has_told_right: AtomicBool::new(false),
        }
    }

    /// Names the limit, whose events are observed from now on.
    pub(super) fn set_name(&self, name: Arc<str>) -> Result<(), InvalidSetting> {
        self.observer.set_name(Arc::clone(&name), KIND)?;
        #[cfg(feature = "metrics")]
        self.metrics.get_or_init(|| Box::new(metrics::Metrics::new(&name)));
        Ok(())
    }

    /// Registers the metrics of a limit with a name, so that each has a value.
    #[cfg(feature = "metrics")]
    pub(super) fn register_metrics(&self) {
        self.observer.register_metrics();
        if let Some(metrics) = self.metrics.get() {
            metrics.register();
        }
    }

    /// Counts a rejection, and passes it on.
    pub(super) fn rejected(&self, rejected: &Rejected) {
        if rejected.reason() == Reason::Unavailable {
            self.unavailable.fetch_add(1, Relaxed);
        }
        self.observer.notify_rejected(rejected);
    }

    /// Requests that were rejected because the store was away.
    pub(super) fn unavailable(&self) -> u64 {
        self.unavailable.load(Relaxed)
    }

    /// Counts a request that was issued without a lease: by the limit of this process alone, or
    /// without one.
    pub(super) fn issued_alone(&self, is_limited: bool) {
        let count = if is_limited { &self.local } else { &self.unlimited };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn unlimited(&self) -> u64 {
        self.unlimited.load(Relaxed)
    }

    pub(super) fn local(&self) -> u64 {
        self.local.load(Relaxed)
    }

    /// A request was issued after the deadline of its lease.
    pub(super) fn issued_late(&self) {
        #[cfg(feature = "tracing")]
        traces::issued_late(self);
    }

    /// A request to the store has ended after this time.
    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        allow(unused_variables, clippy::unused_self, reason = "the agent counts")
    )]
    pub(super) fn replied(&self, took: Duration, reply: &Result<Reply, StoreError>) {
        #[cfg(any(feature = "metrics", feature = "tracing"))]
        let code = reply.as_ref().map_or_else(StoreError::code, |_| "ok");
        #[cfg(feature = "metrics")]
        if let Some(metrics) = self.metrics.get() {
            metrics.replied(code, reply.is_ok().then_some(took));
        }
        #[cfg(feature = "tracing")]
        traces::replied(self, code, took);
    }

    /// A request to the store has failed. `is_new` tells that the store was not away before.
    #[cfg_attr(
        not(all(feature = "metrics", feature = "tracing")),
        allow(unused_variables, clippy::unused_self, reason = "the agent counts")
    )]
    pub(super) fn failed(&self, error: &StoreError, is_new: bool) {
        #[cfg(feature = "metrics")]
        if let Some(metrics) = self.metrics.get().filter(|_| is_new) {
            metrics.went_away();
        }
        #[cfg(feature = "tracing")]
        {
            if is_new {
                traces::went_away(self, error);
            }
            // An outage may begin by another error.
            if error.code() == "no_permission" && !self.has_told_right.swap(true, Relaxed) {
                traces::no_permission(self, error);
            }
        }
    }

    /// The store has replied, after it was away for this time.
    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        allow(unused_variables, clippy::unused_self, reason = "the agent counts")
    )]
    pub(super) fn came_back(&self, away_for: Duration) {
        #[cfg(feature = "metrics")]
        if let Some(metrics) = self.metrics.get() {
            metrics.came_back(away_for);
        }
        #[cfg(feature = "tracing")]
        traces::came_back(self, away_for);
    }

    /// A reply has told of something unusual.
    #[cfg_attr(
        not(feature = "tracing"),
        allow(unused_variables, clippy::unused_self, reason = "the agent counts")
    )]
    pub(super) fn remark(&self, remark: Remark, terms: &Terms) {
        #[cfg(feature = "tracing")]
        match remark {
            Remark::EpochChanged => traces::epoch_changed(self),
            Remark::ClockStep(step) => traces::clock_step(self, step),
            // Each reply tells of them while two processes ask in turns.
            Remark::OtherTerms if self.has_told_terms.swap(true, Relaxed) => {}
            Remark::OtherTerms => traces::other_terms(self, terms),
        }
    }

    /// The terms of this process have changed, so that others may differ anew.
    #[cfg_attr(not(feature = "tracing"), allow(clippy::unused_self, reason = "only traces look"))]
    pub(super) fn terms_changed(&self) {
        #[cfg(feature = "tracing")]
        self.has_told_terms.store(false, Relaxed);
    }
}
