//! Metrics of the events of a limiter, recorded as they happen.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use metrics::{Counter, Histogram, Label};

use super::{Event, Kind};
use crate::{
    class::Class,
    metric::{LateHandle, Metric},
    rejected::{Reason, RuleReason},
};

pub(crate) const ADMITTED: Metric = Metric::count(
    "floodgate_requests_admitted_total",
    "Requests that acquired a permit, with a wait or without.",
);
pub(crate) const REJECTED: Metric =
    Metric::count("floodgate_requests_rejected_total", "Requests that were rejected, by reason.");
const CANCELLED: Metric = Metric::count(
    "floodgate_requests_cancelled_total",
    "Requests that were queued, and went away neither admitted nor rejected.",
);
const UNUSED: Metric = Metric::count(
    "floodgate_permits_unused_total",
    "Permits that were acquired and released without a call.",
);
const QUEUE_WAIT: Metric = Metric::seconds(
    "floodgate_queue_wait_seconds",
    "Time that admitted requests have waited for a permit; 0 without a wait.",
);
const PAUSES: Metric =
    Metric::count("floodgate_pauses_total", "Pauses of a rate limit, and extensions of one.");
const PAUSE: Metric = Metric::seconds(
    "floodgate_pause_seconds",
    "Time from the call that pauses a rate limit to the end of the pause.",
);
const LIMIT_CHANGES: Metric = Metric::count(
    "floodgate_limit_changes_total",
    "Settings of a limit or its window by a handle.",
);

const NO_KEY: Reason = Reason::Rule(RuleReason::NoKey);

/// Returns the labels of the metrics of a limit.
pub(crate) fn labels(name: &Arc<str>, kind: &'static str) -> [Label; 2] {
    [Label::new("limiter", Arc::clone(name)), Label::from_static_parts("kind", kind)]
}

/// The handles of one limiter.
pub(super) struct Metrics {
    admitted: LateHandle<Counter>,
    queue_full: LateHandle<Counter>,
    wait_timeout: LateHandle<Counter>,
    too_late: LateHandle<Counter>,
    closed: LateHandle<Counter>,
    unavailable: LateHandle<Counter>,
    no_key: LateHandle<Counter>,
    cancelled: LateHandle<Counter>,
    unused: LateHandle<Counter>,
    queue_wait: LateHandle<Histogram>,
    pauses: LateHandle<Counter>,
    pause: LateHandle<Histogram>,
    /// Events that other kinds have are not registered before the first one, which never comes.
    kind: Kind,
    limit_changes: LateHandle<Counter>,
    labels: [Label; 2],
    /// Rejections of requests with a class, once there is one.
    by_class: OnceLock<Box<[ByClass; 3]>>,
}

/// The rejections of one class, with its label.
struct ByClass {
    queue_full: LateHandle<Counter>,
    wait_timeout: LateHandle<Counter>,
    too_late: LateHandle<Counter>,
    closed: LateHandle<Counter>,
}

impl ByClass {
    fn new(labels: &[Label; 2], class: Class) -> Self {
        let counter = |reason: Reason| {
            let [limiter, kind] = labels.clone();
            let reason = Label::from_static_parts("reason", reason.name());
            let class = Label::from_static_parts("class", class.name());
            LateHandle::unregistered(REJECTED, &[limiter, kind, reason, class])
        };
        Self {
            queue_full: counter(Reason::QueueFull),
            wait_timeout: counter(Reason::WaitTimeout),
            too_late: counter(Reason::TooLate),
            closed: counter(Reason::Closed),
        }
    }

    fn count(&self, reason: Reason) {
        let counter = match reason {
            Reason::QueueFull => &self.queue_full,
            Reason::WaitTimeout => &self.wait_timeout,
            Reason::TooLate => &self.too_late,
            Reason::Closed => &self.closed,
            Reason::Unavailable | Reason::Rule(_) => return, // not of a limit with classes
        };
        counter.with(|counter| counter.increment(1));
    }
}

impl Metrics {
    pub(super) fn new(name: &Arc<str>, kind: Kind) -> Self {
        let labels = labels(name, kind.name);
        let counter = |metric| LateHandle::new(metric, &labels);
        let labels_of = |reason: Reason| {
            let [limiter, kind] = labels.clone();
            [limiter, kind, Label::from_static_parts("reason", reason.name())]
        };
        let rejected = |reason| LateHandle::new(REJECTED, &labels_of(reason));
        let this = Self {
            admitted: counter(ADMITTED),
            queue_full: rejected(Reason::QueueFull),
            wait_timeout: rejected(Reason::WaitTimeout),
            too_late: LateHandle::unregistered(REJECTED, &labels_of(Reason::TooLate)),
            closed: rejected(Reason::Closed),
            unavailable: LateHandle::unregistered(REJECTED, &labels_of(Reason::Unavailable)),
            no_key: LateHandle::unregistered(REJECTED, &labels_of(NO_KEY)),
            cancelled: counter(CANCELLED),
            unused: counter(UNUSED),
            queue_wait: LateHandle::new(QUEUE_WAIT, &labels),
            pauses: LateHandle::unregistered(PAUSES, &labels),
            pause: LateHandle::unregistered(PAUSE, &labels),
            limit_changes: counter(LIMIT_CHANGES),
            kind,
            by_class: OnceLock::new(),
            labels: labels.clone(),
        };
        this.register_of_kind();
        this
    }

    fn register_of_kind(&self) {
        if self.kind.can_pause {
            self.pauses.register();
            self.pause.register();
        }
        if self.kind.has_store {
            self.unavailable.register();
        }
        if self.kind.has_keys {
            self.no_key.register();
        }
    }

    /// Registers all metrics that are not yet.
    pub(super) fn register(&self) {
        let Self { admitted, queue_full, wait_timeout, closed, cancelled, unused, .. } = self;
        let Self { queue_wait, limit_changes, .. } = self;
        for counter in
            [admitted, queue_full, wait_timeout, closed, cancelled, unused, limit_changes]
        {
            counter.register();
        }
        queue_wait.register();
        self.register_of_kind();
    }

    pub(super) fn record(&self, event: Event<'_>) {
        let (counter, by) = match event {
            Event::Acquired { permits } => {
                self.queue_wait.with(|wait| wait.record(0.0));
                (&self.admitted, permits)
            }
            Event::AcquiredAfterWait { permits, queued_for } => {
                self.queue_wait.with(|wait| wait.record(queued_for));
                (&self.admitted, permits)
            }
            Event::Unused { permits } => (&self.unused, permits),
            Event::Rejected(rejected) => {
                if let Some(class) = rejected.class() {
                    let new = || Box::new(Class::ALL.map(|of| ByClass::new(&self.labels, of)));
                    return self.by_class.get_or_init(new)[class.index()].count(rejected.reason());
                }
                let counter = match rejected.reason() {
                    Reason::QueueFull => &self.queue_full,
                    Reason::WaitTimeout => &self.wait_timeout,
                    Reason::TooLate => &self.too_late,
                    Reason::Closed => &self.closed,
                    Reason::Unavailable => &self.unavailable,
                    NO_KEY => &self.no_key,
                    Reason::Rule(_) => return, // counted by the rule
                };
                (counter, 1)
            }
            Event::Cancelled => (&self.cancelled, 1),
            Event::Paused { wait } => {
                self.pause.with(|pause| pause.record(wait));
                (&self.pauses, 1)
            }
            Event::LimitChanged { .. } => (&self.limit_changes, 1),
            Event::Queued => return, // a gauge tells the length of the queue
        };
        counter.with(|counter| counter.increment(by.into()));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
