//! The counts of all sources side by side.

use std::{collections::BTreeMap, fmt};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tower_floodgate::observe::{Handle, Snapshot};

use self::Counted::{AtLeast, Exactly};
use crate::{
    CLIENT, SERVER, TEAM, client::Observed, exposition::Samples, load::Seen, server::Server,
    tally::Around,
};

/// One number, as each source has it.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) metric: &'static str,
    pub(crate) labels: BTreeMap<&'static str, &'static str>,
    /// The number in the metrics: the sum of the samples with these labels.
    pub(crate) metrics: f64,
    /// The number that the handle tells, if it has one.
    pub(crate) handle: Option<u64>,
    /// The number that was counted beside the limits, if it was.
    pub(crate) counted: Option<Counted>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Counted {
    Exactly(u64),
    /// A wait that is polled 100 ms after its deadline, as on a busy machine, counts as cancelled,
    /// and its request waits anew.
    AtLeast(u64),
}

impl Row {
    pub(crate) fn agrees(&self) -> bool {
        self.handle.is_none_or(|handle| is(self.metrics, handle))
            && match self.counted {
                None => true,
                Some(Counted::Exactly(count)) => is(self.metrics, count),
                Some(Counted::AtLeast(count)) => self.metrics >= float(count),
            }
    }
}

fn is(metrics: f64, count: u64) -> bool {
    metrics.total_cmp(&float(count)).is_eq()
}

#[allow(clippy::cast_precision_loss, reason = "counts of a program that ends are below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

/// A limit with the counts around it.
struct Limit<'a> {
    limiter: &'static str,
    handle: Handle,
    around: &'a Around,
    /// The requests that passed it, counted by the side that received them.
    received: u64,
    /// The number of times that the program has changed it.
    changes: u64,
}

/// Returns all rows. No request may be on its way.
pub(crate) fn rows(
    samples: &Samples,
    observed: &Observed,
    server: &Server,
    seen: &Seen,
) -> Vec<Row> {
    let limits = [
        Limit {
            limiter: CLIENT,
            handle: observed.in_flight.clone().into(),
            around: &observed.permits,
            received: seen.succeeded + seen.failed + seen.dropped,
            changes: 0,
        },
        Limit {
            limiter: CLIENT,
            handle: observed.rate.clone().into(),
            around: &observed.issues,
            received: server.permits.before.arrived(),
            changes: 2,
        },
        Limit {
            limiter: SERVER,
            handle: server.in_flight.clone().into(),
            around: &server.permits,
            received: server.issues.before.called(),
            changes: 0,
        },
        Limit {
            limiter: SERVER,
            handle: server.quota.clone().into(),
            around: &server.issues,
            received: server.issues.behind.called(),
            changes: 0,
        },
    ];
    let mut rows = Rows { samples, rows: Vec::new() };
    for limit in &limits {
        rows.limit(limit);
    }
    rows.retries(observed, seen);
    rows.rule(server);
    rows.rows
}

struct Rows<'a> {
    samples: &'a Samples,
    rows: Vec<Row>,
}

impl Rows<'_> {
    fn push(
        &mut self,
        metric: &'static str,
        labels: &[(&'static str, &'static str)],
        handle: Option<u64>,
        counted: Option<Counted>,
    ) {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let metrics = self.samples.sum(metric, &labels);
        self.rows.push(Row { metric, labels, metrics, handle, counted });
    }

    fn limit(&mut self, limit: &Limit<'_>) {
        let around = limit.around;
        let snapshot = limit.handle.snapshot();
        let (rejected, counts, queued, size) = match &snapshot {
            Snapshot::Concurrency(now) => (now.rejected, now.counts, now.queued, now.limit),
            Snapshot::Window(now) => (now.rejected, now.counts, now.queued, now.limit),
            _ => unreachable!("is of a limit"),
        };
        let counts = counts.expect("the limit has a name");
        let labels = [("limiter", limit.limiter), ("kind", snapshot.kind())];
        let mut push = |metric, handle, counted| self.push(metric, &labels, Some(handle), counted);

        let admitted = Exactly(around.behind.arrived());
        push("floodgate_requests_admitted_total", counts.admitted, Some(admitted));
        push("floodgate_queue_wait_seconds_count", counts.admitted, Some(admitted));
        let unused = Exactly(around.behind.arrived() - limit.received);
        push("floodgate_permits_unused_total", counts.unused, Some(unused));
        let cancelled = AtLeast(around.cancelled());
        push("floodgate_requests_cancelled_total", counts.cancelled, Some(cancelled));
        push("floodgate_requests_queued", queued.into(), Some(Exactly(0)));
        push("floodgate_limit", size.into(), None);
        push("floodgate_limit_changes_total", counts.limit_changes, Some(Exactly(limit.changes)));
        match &snapshot {
            Snapshot::Concurrency(now) => {
                push("floodgate_requests_in_flight", now.in_flight.into(), Some(Exactly(0)));
            }
            Snapshot::Window(now) => {
                let issued = Exactly(limit.received);
                push("floodgate_requests_issued_total", now.issued, Some(issued));
                push("floodgate_pauses_total", counts.pauses, None);
                push("floodgate_pause_seconds_count", counts.pauses, None);
            }
            _ => {}
        }
        let of_handle = [rejected.queue_full, rejected.wait_timeout, rejected.closed];
        for ((reason, count), handle) in around.rejected().into_iter().zip(of_handle) {
            let [limiter, kind] = labels;
            let labels = [limiter, kind, ("reason", reason)];
            let metric = "floodgate_requests_rejected_total";
            self.push(metric, &labels, Some(handle), Some(Exactly(count)));
        }
    }

    /// The rule of the server, which rejects none: each request is admitted, or counted as one that
    /// would have been rejected.
    fn rule(&mut self, server: &Server) {
        let now = server.team.snapshot();
        let labels = [("limiter", TEAM), ("kind", "rule")];
        let admitted = now.admitted.expect("the rule counts them");
        let called = server.permits.before.called();
        let is_admitted = Some(Exactly(called - now.rejected.total()));
        self.push("floodgate_requests_admitted_total", &labels, Some(admitted), is_admitted);
        self.push("floodgate_requests_queued", &labels, Some(now.queued.into()), Some(Exactly(0)));
        self.push("floodgate_max_keys", &labels, Some(now.max_keys.into()), None);
        let metric = "floodgate_requests_overflowed_total";
        self.push(metric, &labels, Some(now.overflowed), Some(Exactly(0)));
        let [limiter, kind] = labels;
        let labels = [limiter, kind, ("reason", "limit_reached")];
        let would_be = Some(now.rejected.limit_reached);
        let is_rejected = Some(Exactly(called - admitted));
        self.push("floodgate_dry_run_rejections_total", &labels, would_be, is_rejected);
    }

    fn retries(&mut self, observed: &Observed, seen: &Seen) {
        let now = observed.retry.snapshot();
        let labels = [("limiter", CLIENT)];
        let mut push = |metric, handle, counted| self.push(metric, &labels, handle, counted);

        let retries = observed.issues.before.arrived() - observed.permits.behind.arrived();
        let retries = Some(Exactly(retries));
        push("floodgate_retries_total", Some(now.retries), retries);
        push("floodgate_retry_backoff_seconds_count", Some(now.retries), retries);
        let give_ups = Some(now.give_ups.total());
        push("floodgate_retry_give_ups_total", give_ups, Some(Exactly(seen.failed)));
        let ended = Some(Exactly(seen.succeeded + seen.failed));
        push("floodgate_retry_attempts_count", None, ended);
        push("floodgate_retry_attempts_sum", None, Some(Exactly(seen.attempts)));
        let saved = now.budget.map(|budget| budget.saved.into());
        push("floodgate_retry_budget_balance", saved, None);

        let give_ups = &now.give_ups;
        for (reason, handle) in [
            ("max_attempts", give_ups.max_attempts),
            ("max_elapsed", give_ups.max_elapsed),
            ("deadline", give_ups.deadline),
            ("max_hint", give_ups.max_hint),
            ("budget_exhausted", give_ups.budget_exhausted),
            ("retry_forbidden", give_ups.retry_forbidden),
            ("not_replayable", give_ups.not_replayable),
        ] {
            let [limiter] = labels;
            let labels = [limiter, ("reason", reason)];
            self.push("floodgate_retry_give_ups_total", &labels, Some(handle), None);
        }
    }
}

/// The rows as a table.
pub(crate) struct Printed<'a>(pub(crate) &'a [Row]);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header([
            "limiter", "kind", "metric", "reason", "metrics", "handle", "counted", "",
        ]);
        for row in self.0 {
            let label = |name| row.labels.get(name).copied().unwrap_or_default().to_owned();
            let counted = match row.counted {
                None => String::new(),
                Some(Counted::Exactly(count)) => count.to_string(),
                Some(Counted::AtLeast(count)) => format!("≥ {count}"),
            };
            table.add_row([
                label("limiter"),
                label("kind"),
                row.metric.to_owned(),
                label("reason"),
                row.metrics.to_string(),
                row.handle.map(|count| count.to_string()).unwrap_or_default(),
                counted,
                if row.agrees() { "" } else { "differs" }.to_owned(),
            ]);
        }
        for column in 4..7 {
            let column = table.column_mut(column).expect("is in the header");
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}")
    }
}
