//! The example `observe` under load, beside a real Prometheus and a collector of OpenTelemetry.
//!
//! ```text
//! cargo test -p floodgate-observe --test observed
//! ```
//!
//! Not part of a bare `cargo test`: it needs Prometheus, which it unpacks where possible, and takes
//! half a minute of real time, once it is built. No verdict depends on the speed of the machine.
//!
//! The example compares the counts of metrics and handles with those of its callers and its server,
//! and ends with an error if they differ. Here the same counts are asked of Prometheus, and counted
//! in the traces.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod collector;
mod pages;
mod program;
mod prometheus;

use std::{collections::BTreeMap, fs, process::Command};

use serde::Deserialize;

use crate::{
    collector::{Collector, Received},
    program::{Observe, assert_silent, of_prometheus, temporary},
    prometheus::{Prometheus, now},
};

/// A number, as the example reports it.
#[derive(Debug, Deserialize)]
struct Row {
    metric: String,
    labels: BTreeMap<String, String>,
    metrics: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn o8_prometheus_traces_handles_and_server_agree_exactly_after_a_storm() {
    let collector = Collector::start().await;
    let report = temporary(&format!("observed-{}.json", std::process::id()));
    let path = report.to_str().unwrap();
    let admin = ["--admin", "127.0.0.1:0", "--wait", "--stay"];
    let load = ["--load", "12s", "--otlp", &collector.url, "--report", path];
    let mut observe = Observe::start(&[&admin[..], &load[..]].concat());
    let url = observe.line("metrics: ");
    let begin = now();
    let target = url.strip_prefix("http://").and_then(|it| it.strip_suffix("/metrics")).unwrap();
    let prometheus = Prometheus::start(target).await.unwrap();

    let (mut observe, _) = tokio::task::spawn_blocking(move || {
        let line = observe.line("serving the metrics");
        (observe, line)
    })
    .await
    .unwrap();
    let end = now();
    let rows: Vec<Row> = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    fs::remove_file(&report).unwrap();

    prometheus.scraped().await;
    for row in &rows {
        let sum = prometheus.query(&row.query()).await;
        assert_eq!(sum, [row.metrics], "Prometheus, {row:?}");
    }
    println!("Prometheus: {} numbers agree", rows.len());
    traces_agree(&rows, &collector.received.lock().unwrap());

    let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
    let mut promtool = Command::new(of_prometheus("promtool").unwrap());
    assert_silent(promtool.args(["check", "metrics"]), &text);

    let queries = pages::queries(&pages::dashboard());
    for (title, query) in &queries {
        let values = prometheus.range(query, begin, end).await;
        assert!(values.iter().any(|value| value.is_finite()), "{title}: {query} has no data");
    }
    println!("Grafana: {} queries have data", queries.len());
    for condition in pages::conditions(&pages::rules()) {
        prometheus.query(condition).await;
    }
    assert!(observe.end().success());
}

impl Row {
    fn query(&self) -> String {
        let labels: Vec<_> =
            self.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        format!("sum({}{{{}}})", self.metric, labels.join(","))
    }

    /// Returns the names of the events in traces that the metric counts.
    fn events(&self) -> &'static [&'static str] {
        match self.metric.as_str() {
            "floodgate_requests_admitted_total" => &["admitted", "admitted after a wait"],
            "floodgate_requests_rejected_total" => &["rejected"],
            "floodgate_requests_cancelled_total" => &["cancelled"],
            "floodgate_permits_unused_total" => &["permit unused"],
            "floodgate_pauses_total" => &["paused"],
            "floodgate_limit_changes_total" => &["limit changed"],
            "floodgate_retries_total" => &["retry"],
            "floodgate_retry_give_ups_total" => &["gave up"],
            _ => &[],
        }
    }
}

/// Compares the events of the traces with the rows of counters that have some.
fn traces_agree(rows: &[Row], received: &Received) {
    let mut compared = 0;
    for row in rows.iter().filter(|row| !row.events().is_empty()) {
        let is_of_row = |attributes: &BTreeMap<String, String>| {
            row.labels.iter().all(|(name, value)| attributes.get(name) == Some(value))
        };
        let events = received.events.iter().filter(|(name, attributes)| {
            row.events().contains(&name.as_str()) && is_of_row(attributes)
        });
        assert_eq!(events.count() as f64, row.metrics, "traces, {row:?}");
        compared += 1;
    }
    assert!(compared > 20, "the events have other names: {:?}", received.events.first());
    println!(
        "traces: {compared} numbers agree, of {} events in {} spans",
        received.events.len(),
        received.spans.len()
    );
}

#[test]
fn o8_the_alert_rules_of_the_page_are_accepted_by_promtool() {
    let rules = pages::rules();
    assert!(pages::conditions(&rules).len() >= 5);
    let file = temporary(&format!("rules-{}.yml", std::process::id()));
    fs::write(&file, rules).unwrap();
    let mut promtool = Command::new(of_prometheus("promtool").unwrap());
    let output = promtool.args(["check", "rules", "--lint-fatal"]).arg(&file).output().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn o8_the_dashboard_can_be_imported_into_any_grafana() {
    let dashboard = pages::dashboard();
    // An import asks for the data source, and makes a new dashboard.
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    assert!(dashboard["id"].is_null());
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()));
    }
}
