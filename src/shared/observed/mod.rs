//! The events of a shared quota: counts, metrics and traces.
//!
//! Those of requests go through the [`Observer`] of all limits, once the limit has a name. Those
//! between the process and the store come from the driver. They are traced without a name, too: an
//! outage changes the fate of requests, and the quota has a name in the store. The quotas of keys
//! have one sink for all of them, since they have one name and one store.
//!
//! Permits that are leased, lapse or are refunded are counted by the agent, and recorded from its
//! counts when the metrics are read. So a call that finds a permit meets nothing of this module but
//! the observer.

#[cfg(feature = "shared-keys")]
mod keys;
#[cfg(feature = "metrics")]
mod metrics;
mod tally;
#[cfg(feature = "tracing")]
mod traces;

#[cfg(feature = "metrics")]
use std::sync::OnceLock;
use std::{sync::Arc, time::Duration};

pub(super) use self::tally::Tally;
#[cfg(feature = "shared-keys")]
pub(super) use self::tally::Totals;
use super::{
    SharedSnapshot, StoreError,
    agent::{Remark, Terms},
    wire::Reply,
};
use crate::{
    limiter::{Kind, Observer},
    settings::InvalidSetting,
};

const SHARED: Kind =
    Kind { name: SharedSnapshot::KIND, can_pause: true, has_store: true, has_keys: false };

/// The sinks of the events of a quota, or of the quotas of all keys together. All counters and
/// flags are `Relaxed`: they order nothing.
#[derive(Debug)]
pub(super) struct Observed {
    /// Of the requests of the services. Its rejections are counted in [`Tally`].
    pub(super) observer: Observer,
    kind: Kind,
    /// Of a limit with a name. In a box, whose words lie apart from those of each call.
    #[cfg(feature = "metrics")]
    metrics: OnceLock<Box<metrics::Metrics>>,
    #[cfg(feature = "tracing")]
    traces: Box<traces::Traces>,
    /// In a box, as above.
    #[cfg(feature = "shared-keys")]
    keys: Option<Box<keys::Keys>>,
}

#[cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "nothing is reported"))]
impl Observed {
    pub(super) fn of_quota(quota: &Arc<str>) -> Self {
        Self {
            observer: Observer::default(),
            kind: SHARED,
            #[cfg(feature = "metrics")]
            metrics: OnceLock::new(),
            #[cfg(feature = "tracing")]
            traces: Box::new(traces::Traces::new(Arc::clone(quota), SHARED.name, None)),
            #[cfg(feature = "shared-keys")]
            keys: None,
        }
    }

    /// Each key has a state in the store, and an event of the store is one of many of them.
    #[cfg(feature = "shared-keys")]
    pub(super) fn of_keys(quotas: &Arc<str>, clock: crate::time::Clock) -> Self {
        let kind = keys::KIND;
        Self {
            kind,
            #[cfg(feature = "tracing")]
            traces: Box::new(traces::Traces::new(Arc::clone(quotas), kind.name, Some(clock))),
            keys: Some(Box::default()),
            ..Self::of_quota(quotas)
        }
    }

    /// Traces an event of the store, with the name of the limit if it has one.
    #[cfg(feature = "tracing")]
    fn trace(&self, event: traces::Event<'_>) {
        self.traces.record(self.observer.name().map(|name| &**name), event);
    }

    /// Names the limit, whose events are observed from now on.
    pub(super) fn set_name(&self, name: Arc<str>) -> Result<(), InvalidSetting> {
        self.observer.set_name(Arc::clone(&name), self.kind)?;
        #[cfg(feature = "metrics")]
        self.metrics.get_or_init(|| Box::new(metrics::Metrics::new(&name, self.kind.name)));
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

    /// The store is away, for one quota more.
    #[cfg_attr(not(feature = "metrics"), allow(clippy::unused_self, reason = "nothing is counted"))]
    pub(super) fn went_away(&self) {
        #[cfg(feature = "metrics")]
        if let Some(metrics) = self.metrics.get() {
            metrics.went_away();
        }
    }

    /// A request to the store has failed. `is_new` tells that the store was not away before.
    #[cfg_attr(
        not(feature = "tracing"),
        allow(unused_variables, clippy::unused_self, reason = "the agent counts")
    )]
    pub(super) fn failed(&self, error: &StoreError, is_new: bool) {
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
        self.traces.terms_changed();
    }
}
