//! The events of a shared quota: counts, metrics and traces.
//!
//! Those of requests go through the [`Observer`] of all limits, once the limit has a name. Those
//! between the process and the store come from the driver. They are traced without a name, too: an
//! outage changes the fate of requests, and the quota has a name in the store. The quotas of keys
//! report together, since they have one store.
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
    reports: Arc<Reports>,
}

/// Reports of the store of a quota, or of the quotas of all keys together.
#[derive(Debug)]
pub(super) struct Reports {
    #[cfg(feature = "tracing")]
    traces: traces::Traces,
}

#[cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "nothing is reported"))]
impl Reports {
    pub(super) fn of_quota(quota: &Arc<str>) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            traces: traces::Traces::new(Arc::clone(quota), None),
        }
    }

    /// Each key has a state in the store, and an event of the store is one of many of them.
    #[cfg(feature = "shared-keys")]
    pub(super) fn of_keys(quotas: &Arc<str>, clock: crate::time::Clock) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            traces: traces::Traces::new(Arc::clone(quotas), Some(clock)),
        }
    }
}

impl Observed {
    #[cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "nothing is reported"))]
    pub(super) fn new(reports: Arc<Reports>) -> Self {
        Self {
            observer: Observer::default(),
            unavailable: AtomicU64::new(0),
            unlimited: AtomicU64::new(0),
            local: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            metrics: OnceLock::new(),
            #[cfg(feature = "tracing")]
            reports,
        }
    }

    /// Traces an event of the store, with the name of the limit if it has one.
    #[cfg(feature = "tracing")]
    fn trace(&self, event: traces::Event<'_>) {
        self.reports.traces.record(self.observer.name().map(|name| &**name), event);
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
        self.trace(traces::Event::IssuedLate);
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
        self.trace(traces::Event::Replied { code, took });
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
        self.trace(traces::Event::Failed { error, is_new });
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
        self.trace(traces::Event::CameBack { away_for });
    }

    /// A reply has told of something unusual.
    #[cfg_attr(
        not(feature = "tracing"),
        allow(unused_variables, clippy::unused_self, reason = "the agent counts")
    )]
    pub(super) fn remark(&self, remark: Remark, terms: &Terms) {
        #[cfg(feature = "tracing")]
        self.trace(traces::Event::Remark { remark, terms });
    }

    /// The terms of this process have changed, so that others may differ anew.
    #[cfg_attr(not(feature = "tracing"), allow(clippy::unused_self, reason = "only traces look"))]
    pub(super) fn terms_changed(&self) {
        #[cfg(feature = "tracing")]
        self.reports.traces.terms_changed();
    }
}
