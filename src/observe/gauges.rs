//! Gauges of limits, recorded when they are asked for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use metrics::{Counter, Gauge, with_recorder};

use super::{Handle, Snapshot};
use crate::{
    keyed::RuleSnapshot,
    limiter::{ADMITTED, labels},
    metric::Metric,
    retry::RetryBudget,
};

const IN_FLIGHT: Metric =
    Metric::count("floodgate_requests_in_flight", "Requests between readiness and their end.");
const QUEUED: Metric = Metric::count("floodgate_requests_queued", "Requests in the queue.");
const LIMIT: Metric =
    Metric::count("floodgate_limit", "Requests that may be in flight, or issued in a window.");
const REMAINING: Metric =
    Metric::count("floodgate_remaining", "Requests that could be admitted now.");
const WINDOW: Metric = Metric::seconds("floodgate_window_seconds", "Length of the window.");
const QUEUE_AGE: Metric = Metric::seconds(
    "floodgate_queue_age_seconds",
    "Time that the first request in the queue has waited; 0 for an empty queue.",
);
const PAUSED: Metric =
    Metric::seconds("floodgate_paused_seconds", "Rest of the present pause; 0 without one.");
const ISSUED: Metric = Metric::count(
    "floodgate_requests_issued_total",
    "Requests that were issued, since the limit was created.",
);

const LIVE_KEYS: Metric =
    Metric::count("floodgate_live_keys", "Keys that hold a permit, or have a request in flight.");
const MAX_KEYS: Metric = Metric::count("floodgate_max_keys", "Keys that a rule keeps apart.");
const OVERFLOWED: Metric = Metric::count(
    "floodgate_requests_overflowed_total",
    "Requests that were decided in an overflow, because the table was full of live keys.",
);

/// The readings of all rules of one name.
#[derive(Default)]
struct RuleSum {
    live_keys: u64,
    max_keys: u64,
    overflowed: u64,
    queued: u64,
    queue_age: Duration,
    admitted: Option<u64>,
}

impl RuleSum {
    fn add(&mut self, of: &RuleSnapshot) {
        self.live_keys += of.live_keys;
        self.max_keys += u64::from(of.max_keys);
        self.overflowed += of.overflowed;
        self.queued += u64::from(of.queued);
        self.queue_age = self.queue_age.max(of.queue_age.unwrap_or_default());
        if let Some(admitted) = of.admitted {
            *self.admitted.get_or_insert(0) += admitted;
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge is an f64")]
    fn record(&self, name: &Arc<str>) {
        let labels = labels(name, RuleSnapshot::KIND);
        with_recorder(|recorder| {
            let gauge = |metric: Metric, value: f64| {
                metric.register::<Gauge>(recorder, &labels).set(value);
            };
            let counter = |metric: Metric, value: u64| {
                metric.register::<Counter>(recorder, &labels).absolute(value);
            };
            gauge(LIVE_KEYS, self.live_keys as f64);
            gauge(MAX_KEYS, self.max_keys as f64);
            gauge(QUEUED, self.queued as f64);
            gauge(QUEUE_AGE, self.queue_age.as_secs_f64());
            counter(OVERFLOWED, self.overflowed);
            self.admitted.into_iter().for_each(|admitted| counter(ADMITTED, admitted));
        });
    }
}

/// The readings of all limits of one kind and name.
#[derive(Default)]
struct Sum {
    in_flight: Option<u64>,
    queued: u64,
    limit: u64,
    remaining: u64,
    window: Option<Duration>,
    queue_age: Duration,
    paused: Option<Duration>,
    issued: Option<u64>,
}

impl Sum {
    fn add(&mut self, snapshot: &Snapshot) {
        match snapshot {
            Snapshot::Concurrency(of) => {
                *self.in_flight.get_or_insert(0) += u64::from(of.in_flight);
                self.queued += u64::from(of.queued);
                self.limit += u64::from(of.limit);
                // No newcomer overtakes a waiter.
                let is_open = of.queued == 0 && !of.is_closed;
                let remaining = if is_open { of.limit.saturating_sub(of.in_flight) } else { 0 };
                self.remaining += u64::from(remaining);
                self.queue_age = self.queue_age.max(of.queue_age.unwrap_or_default());
            }
            Snapshot::Window(of) => {
                self.queued += u64::from(of.queued);
                self.limit += u64::from(of.limit);
                self.remaining += u64::from(of.remaining);
                self.window = self.window.max(Some(of.window));
                self.queue_age = self.queue_age.max(of.queue_age.unwrap_or_default());
                self.paused = self.paused.max(Some(of.paused_for));
                *self.issued.get_or_insert(0) += of.issued;
            }
            Snapshot::Retry(_) | Snapshot::Rule(_) => {}
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge is an f64")]
    fn record(&self, name: &Arc<str>, kind: &'static str) {
        let labels = labels(name, kind);
        with_recorder(|recorder| {
            let gauge = |metric: Metric, value: f64| {
                metric.register::<Gauge>(recorder, &labels).set(value);
            };
            let seconds = |metric, value: Duration| gauge(metric, value.as_secs_f64());
            let count = |metric, value: u64| gauge(metric, value as f64);
            count(QUEUED, self.queued);
            count(LIMIT, self.limit);
            count(REMAINING, self.remaining);
            seconds(QUEUE_AGE, self.queue_age);
            self.in_flight.into_iter().for_each(|value| count(IN_FLIGHT, value));
            self.window.into_iter().for_each(|value| seconds(WINDOW, value));
            self.paused.into_iter().for_each(|value| seconds(PAUSED, value));
            if let Some(issued) = self.issued {
                ISSUED.register::<Counter>(recorder, &labels).absolute(issued);
            }
        });
    }
}

/// Records the gauges of the limits that have names.
pub(super) fn record(snapshots: &[Snapshot]) {
    let mut sums = BTreeMap::<_, Sum>::new();
    let mut rules = BTreeMap::<_, RuleSum>::new();
    for snapshot in snapshots {
        match snapshot {
            Snapshot::Retry(_) => {}
            Snapshot::Rule(of) => rules.entry(&of.name).or_default().add(of),
            Snapshot::Concurrency(_) | Snapshot::Window(_) => {
                if let Some(name) = snapshot.name() {
                    sums.entry((name, snapshot.kind())).or_default().add(snapshot);
                }
            }
        }
    }
    for (name, sum) in rules {
        sum.record(name);
    }
    for ((name, kind), sum) in sums {
        sum.record(name, kind);
    }
}

/// Records the balances of the budgets of retry policies, added up by name.
pub(super) fn record_balances(handles: &[Handle]) {
    let mut budgets = BTreeMap::<&str, (_, Vec<&RetryBudget>)>::new();
    for handle in handles {
        let Handle::Retry(handle) = handle else { continue };
        let Some(budget) = handle.budget() else { continue };
        let (_, budgets) = budgets.entry(handle.name()).or_insert((handle, Vec::new()));
        if !budgets.iter().any(|other| other.is_shared_with(budget)) {
            budgets.push(budget);
        }
    }
    for (handle, budgets) in budgets.values() {
        handle.record_balance(budgets.iter().map(|budget| f64::from(budget.saved())).sum());
    }
}
