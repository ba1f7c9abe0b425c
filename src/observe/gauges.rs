//! Gauges of limits, recorded when they are asked for.

use std::{cmp::Reverse, collections::BTreeMap, iter, sync::Arc, time::Duration};

use metrics::{Counter, Gauge, Label, with_recorder};

use super::{Handle, Snapshot};
#[cfg(feature = "shared-keys")]
use crate::shared::SharedKeysSnapshot;
use crate::{
    keyed::RuleSnapshot,
    limiter::{ADMITTED, labels},
    metric::Metric,
    retry::RetryBudget,
    shared::{SharedSnapshot, StoreCounts},
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
const TOP: Metric = Metric::count(
    "floodgate_top_key_rejections",
    "Rejections of the key of this rank among those that are rejected most; a minute halves them.",
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
    /// The keys that are rejected most, of all lists.
    top: Vec<u64>,
    /// The length of the longest list.
    ranks: u32,
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
        self.top.extend(of.top.iter().map(|key| key.rejected_at_least));
        self.ranks = self.ranks.max(of.ranks);
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge is an f64")]
    fn record(mut self, name: &Arc<str>) {
        let labels = labels(name, RuleSnapshot::KIND);
        self.top.sort_unstable_by_key(|rejections| Reverse(*rejections));
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
            // A rank without a key is 0, or it would keep the number of the key that it had.
            let of_ranks = self.top.iter().copied().chain(iter::repeat(0));
            for (rank, rejections) in (1..=self.ranks).zip(of_ranks) {
                let [limiter, kind] = labels.clone();
                let labels = [limiter, kind, Label::new("rank", rank.to_string())];
                TOP.register::<Gauge>(recorder, &labels).set(rejections as f64);
            }
        });
    }
}

#[cfg(feature = "shared-keys")]
const KEPT_KEYS: Metric =
    Metric::count("floodgate_kept_keys", "Keys of a shared quota that are kept in this process.");

const FREE: Metric = Metric::count(
    "floodgate_permits_free",
    "Permits that no process had leased at the latest reply of the store.",
);
const POOLED: Metric =
    Metric::count("floodgate_permits_pooled", "Leased permits at hand in this process.");
const HELD: Metric = Metric::count(
    "floodgate_permits_held",
    "Permits of this process that may count in the store, used or not.",
);
const AWAY: Metric =
    Metric::count("floodgate_store_away", "Limits, or keys of a limit, whose store is away.");
const AWAY_FOR: Metric = Metric::seconds(
    "floodgate_store_away_seconds",
    "Time since the store is away; 0 if it is not.",
);
const LEASED: Metric = Metric::count(
    "floodgate_permits_leased_total",
    "Permits that the store has leased to this process.",
);
const LAPSED: Metric = Metric::count(
    "floodgate_permits_lapsed_total",
    "Leased permits that lapsed, or were given back, before they were used.",
);
const REFUNDED: Metric = Metric::count(
    "floodgate_permits_refunded_total",
    "Unused permits that the store has taken back.",
);
const ISSUED_LATE: Metric = Metric::count(
    "floodgate_requests_issued_late_total",
    "Requests that were issued after the deadline of their lease.",
);
const ISSUED_ALONE: Metric = Metric::count(
    "floodgate_requests_issued_alone_total",
    "Requests that were issued by the limit of this process alone, while the store was away.",
);
const ISSUED_UNLIMITED: Metric = Metric::count(
    "floodgate_requests_issued_unlimited_total",
    "Requests that were issued without a limit, while the store was away.",
);
const EPOCH_CHANGES: Metric = Metric::count(
    "floodgate_store_epoch_changes_total",
    "New histories of the state in the store: it was lost, or its server was started anew.",
);
const CLOCK_STEPS: Metric =
    Metric::count("floodgate_store_clock_steps_total", "Steps of the store's clock ahead.");
const OTHER_TERMS: Metric = Metric::count(
    "floodgate_store_other_terms_total",
    "Replies of the store that told of another limit or window under the same name.",
);

/// The readings of all shared limits of one name, between the process and the store.
#[derive(Default)]
struct StoreSum {
    /// Of limits that have one number of them.
    free: Option<u64>,
    pooled: u64,
    held: u64,
    away: u64,
    away_for: Duration,
    store: StoreCounts,
}

impl StoreSum {
    fn add(&mut self, of: &SharedSnapshot) {
        *self.free.get_or_insert(0) += u64::from(of.free);
        self.pooled += u64::from(of.pooled);
        self.held += of.held;
        self.away += u64::from(of.away_for.is_some());
        self.away_for = self.away_for.max(of.away_for.unwrap_or_default());
        self.store.add(of.store);
    }

    #[cfg(feature = "shared-keys")]
    fn add_keys(&mut self, of: &SharedKeysSnapshot) {
        self.pooled += of.pooled;
        self.held += of.held;
        self.away += of.away_keys;
        self.away_for = self.away_for.max(of.away_for.unwrap_or_default());
        self.store.add(of.store);
    }

    fn record(&self, count: impl Fn(Metric, u64), seconds: impl Fn(Metric, Duration)) {
        self.free.into_iter().for_each(|free| count(FREE, free));
        count(POOLED, self.pooled);
        count(HELD, self.held);
        count(AWAY, self.away);
        seconds(AWAY_FOR, self.away_for);
    }

    /// Requests of which some are about to be issued: a count at the issue would cost each call.
    const fn issued(&self) -> u64 {
        let StoreCounts { used, issued_alone, issued_unlimited, .. } = self.store;
        used + issued_alone + issued_unlimited
    }

    const fn totals(&self) -> [(Metric, u64); 10] {
        let of = &self.store;
        [
            (ISSUED, self.issued()),
            (LEASED, of.leased),
            (LAPSED, of.lapsed),
            (REFUNDED, of.refunded),
            (ISSUED_LATE, of.issued_late),
            (ISSUED_ALONE, of.issued_alone),
            (ISSUED_UNLIMITED, of.issued_unlimited),
            (EPOCH_CHANGES, of.epoch_changes),
            (CLOCK_STEPS, of.clock_steps),
            (OTHER_TERMS, of.other_terms),
        ]
    }
}

/// The numbers of keys of all shared quotas of one name.
#[cfg(feature = "shared-keys")]
#[derive(Default)]
struct KeysSum {
    kept: u64,
    keep: u64,
}

/// The readings of all limits of one kind and name.
#[derive(Default)]
struct Sum {
    in_flight: Option<u64>,
    queued: u64,
    limit: u64,
    remaining: Option<u64>,
    #[cfg(feature = "shared-keys")]
    keys: Option<KeysSum>,
    window: Option<Duration>,
    queue_age: Duration,
    paused: Option<Duration>,
    issued: Option<u64>,
    store: Option<StoreSum>,
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
                *self.remaining.get_or_insert(0) += u64::from(remaining);
                self.queue_age = self.queue_age.max(of.queue_age.unwrap_or_default());
            }
            Snapshot::Window(of) => {
                self.queued += u64::from(of.queued);
                self.limit += u64::from(of.limit);
                *self.remaining.get_or_insert(0) += u64::from(of.remaining);
                self.window = self.window.max(Some(of.window));
                self.queue_age = self.queue_age.max(of.queue_age.unwrap_or_default());
                self.paused = self.paused.max(Some(of.paused_for));
                *self.issued.get_or_insert(0) += of.issued;
            }
            Snapshot::Shared(of) => {
                self.queued += u64::from(of.queued);
                self.limit += u64::from(of.limit);
                *self.remaining.get_or_insert(0) += u64::from(of.remaining);
                self.window = self.window.max(Some(of.window));
                self.queue_age = self.queue_age.max(of.queue_age.unwrap_or_default());
                self.paused = self.paused.max(Some(of.paused_for));
                self.store.get_or_insert_default().add(of);
            }
            #[cfg(feature = "shared-keys")]
            Snapshot::SharedKeys(of) => {
                let keys = self.keys.get_or_insert_default();
                keys.kept += of.kept;
                keys.keep += of.keep;
                self.queued += of.queued;
                self.limit += u64::from(of.limit);
                self.window = self.window.max(Some(of.window));
                self.queue_age = self.queue_age.max(of.queue_age.unwrap_or_default());
                self.store.get_or_insert_default().add_keys(of);
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
            seconds(QUEUE_AGE, self.queue_age);
            self.remaining.into_iter().for_each(|value| count(REMAINING, value));
            self.in_flight.into_iter().for_each(|value| count(IN_FLIGHT, value));
            #[cfg(feature = "shared-keys")]
            if let Some(keys) = &self.keys {
                count(KEPT_KEYS, keys.kept);
                count(MAX_KEYS, keys.keep);
            }
            self.window.into_iter().for_each(|value| seconds(WINDOW, value));
            self.paused.into_iter().for_each(|value| seconds(PAUSED, value));
            let total = |metric: Metric, value: u64| {
                metric.register::<Counter>(recorder, &labels).absolute(value);
            };
            self.issued.into_iter().for_each(|issued| total(ISSUED, issued));
            if let Some(store) = &self.store {
                store.record(count, seconds);
                store.totals().into_iter().for_each(|(metric, value)| total(metric, value));
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
            _ => {
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
