//! The numbers that the example reports.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

/// A number of the metrics, as the example has compared it with all others.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) metric: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) metrics: f64,
}

impl Row {
    /// Returns the query that asks Prometheus for this number.
    pub(crate) fn query(&self) -> String {
        let labels = self.labels.iter().map(|(name, value)| format!("{name}=\"{value}\""));
        format!("sum({}{{{}}})", self.metric, labels.collect::<Vec<_>>().join(","))
    }
}

pub(crate) const CLIENT: [(&str, &str); 2] = [("limiter", "client"), ("kind", "concurrency")];
pub(crate) const CLIENT_WINDOW: [(&str, &str); 2] = [("limiter", "client"), ("kind", "window")];
pub(crate) const SERVER: [(&str, &str); 2] = [("limiter", "server"), ("kind", "concurrency")];
pub(crate) const RETRY: [(&str, &str); 1] = [("limiter", "client")];

pub(crate) struct Rows(Vec<Row>);

impl Rows {
    pub(crate) fn read(path: &Path) -> Self {
        Self(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    /// Returns the number of `metric` with exactly these labels.
    pub(crate) fn number(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let is_it = |row: &&Row| {
            let has =
                |(name, value): &(&str, &str)| row.labels.get(*name).is_some_and(|it| it == value);
            row.metric == metric && row.labels.len() == labels.len() && labels.iter().all(has)
        };
        self.iter().find(is_it).unwrap_or_else(|| panic!("{metric} {labels:?}")).metrics
    }

    /// Asserts that requests were rejected, cancelled, retried and paused. Otherwise equal numbers
    /// would show little.
    pub(crate) fn assert_storm(&self) {
        for (metric, labels) in [
            ("floodgate_requests_cancelled_total", CLIENT),
            ("floodgate_requests_cancelled_total", CLIENT_WINDOW),
            ("floodgate_permits_unused_total", CLIENT),
            ("floodgate_pauses_total", CLIENT_WINDOW),
        ] {
            assert!(self.number(metric, &labels) > 0.0, "{metric} {labels:?}");
        }
        for (labels, reason) in [
            (CLIENT, "queue_full"),
            (CLIENT, "wait_timeout"),
            (CLIENT_WINDOW, "wait_timeout"),
            (SERVER, "wait_timeout"),
        ] {
            let labels = [labels[0], labels[1], ("reason", reason)];
            let rejected = self.number("floodgate_requests_rejected_total", &labels);
            assert!(rejected > 0.0, "{labels:?}");
        }
        let labels = [("limiter", "team"), ("kind", "rule"), ("reason", "limit_reached")];
        assert!(self.number("floodgate_dry_run_rejections_total", &labels) > 0.0);
        for metric in ["floodgate_retries_total", "floodgate_retry_give_ups_total"] {
            assert!(self.number(metric, &RETRY) > 0.0, "{metric}");
        }
    }
}
