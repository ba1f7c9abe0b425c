//! The one place where the events of a limiter leave the library.
//!
//! A limiter, its handle and the [`Readiness`](super::Readiness) of its services notify the
//! [`Observer`] of each [`Event`]. It passes an event on to every sink: to [counts], to the facade
//! `metrics` and to `tracing`. Until a limit has a name, its observer counts rejections only.
//!
//! An admission without a wait is an event only of a named limit: its semaphore is
//! [observed](crate::semaphore::Semaphore::observe), so that the path without events refuses it.

mod counts;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod traces;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

pub(crate) use self::counts::RejectedCounter;
use self::counts::{ClassCounter, Counter};
pub use self::counts::{LimitCounts, RejectedByClass, RejectedCounts};
#[cfg(feature = "metrics")]
pub(crate) use self::metrics::{ADMITTED, REJECTED, labels};
use crate::{rejected::Rejected, settings::InvalidSetting};

/// An event of a limiter.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(all(feature = "metrics", feature = "tracing")),
    allow(dead_code, reason = "counts need no fields")
)]
pub(crate) enum Event<'a> {
    /// A request has acquired permits without a wait: one, unless it is of a handle.
    Acquired { permits: u32 },
    /// A request has queued.
    Queued,
    /// A request that was queued has acquired permits.
    AcquiredAfterWait { permits: u32, queued_for: Duration },
    /// A request that has queued goes away, neither admitted nor rejected.
    Cancelled,
    /// Permits that were acquired are released, and no request has used them.
    Unused { permits: u32 },
    /// A request is rejected.
    Rejected(&'a Rejected),
    /// A handle has set the limit, or the length of its window.
    LimitChanged { limit: u32, window: Option<Duration> },
    /// Admission is paused for a time from now, longer than before.
    Paused { wait: Duration },
}

/// A kind of limits, and the events that only some kinds have.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "traces need the name at most"))]
pub(crate) struct Kind {
    /// In metrics, traces and snapshots.
    pub(crate) name: &'static str,
    pub(crate) can_pause: bool,
    /// It has a store, without which requests may be rejected.
    pub(crate) has_store: bool,
    /// It has a limit for each key, and may reject requests without one.
    pub(crate) has_keys: bool,
}

/// Observes the events of a limiter.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    rejected: RejectedCounter,
    classes: ClassCounter,
    /// Of a limiter with a name. In a box, whose words lie apart from those of each call.
    named: OnceLock<Box<Named>>,
}

/// The sinks of a limiter with a name.
#[derive(Debug)]
struct Named {
    name: Arc<str>,
    counter: Counter,
    #[cfg(feature = "metrics")]
    metrics: metrics::Metrics,
    #[cfg(feature = "tracing")]
    kind: &'static str,
}

impl Observer {
    /// Names the limiter, from which on all its events are observed.
    ///
    /// # Errors
    ///
    /// If the name is empty, or the limiter has another one.
    pub(crate) fn set_name(&self, name: Arc<str>, kind: Kind) -> Result<(), InvalidSetting> {
        if name.is_empty() {
            return Err(InvalidSetting::new("name", name, "a text that is not empty"));
        }
        let new = || Box::new(Named::new(Arc::clone(&name), kind));
        let named = self.named.get_or_init(new);
        if named.name != name {
            let expected = format!("{:?}, as the limit is named already", named.name);
            return Err(InvalidSetting::new("name", name, expected));
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.named.get().map(|named| &named.name)
    }

    /// Writes the name, if there is one.
    pub(crate) fn fmt_name(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        if let Some(name) = self.name() {
            f.field("name", name);
        }
    }

    /// Returns the counts of a limiter with a name.
    pub(crate) fn counts(&self) -> Option<LimitCounts> {
        self.named.get().map(|named| named.counter.counts())
    }

    pub(crate) fn rejected(&self) -> RejectedCounts {
        self.rejected.counts()
    }

    pub(crate) fn rejected_by_class(&self) -> RejectedByClass {
        self.classes.counts()
    }

    /// Passes an event on to all sinks. `event` is called only if there is one: it may read the
    /// time.
    #[inline]
    pub(crate) fn notify<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if let Some(named) = self.named.get() {
            named.notify(event());
        }
    }

    /// Counts a rejection, and passes it on.
    pub(crate) fn notify_rejected(&self, rejected: &Rejected) {
        self.rejected.count(rejected.reason());
        self.classes.count(rejected);
        self.notify(|| Event::Rejected(rejected));
    }

    /// Registers the metrics of a limiter with a name, so that each has a value.
    #[cfg(feature = "metrics")]
    pub(crate) fn register_metrics(&self) {
        if let Some(named) = self.named.get() {
            named.metrics.register();
        }
    }
}

impl Named {
    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_variables, reason = "counts need no kind, traces no more than that")
    )]
    fn new(name: Arc<str>, kind: Kind) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            metrics: metrics::Metrics::new(&name, kind),
            #[cfg(feature = "tracing")]
            kind: kind.name,
            name,
            counter: Counter::default(),
        }
    }

    fn notify(&self, event: Event<'_>) {
        self.counter.record(event);
        #[cfg(feature = "metrics")]
        self.metrics.record(event);
        #[cfg(feature = "tracing")]
        traces::record(&self.name, self.kind, event);
    }
}
