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
mod page;
mod pages;
mod program;
mod prometheus;
mod rows;
mod traces;

use std::{fs, process::Command};

use crate::{
    collector::Collector,
    program::{Observe, assert_silent, of_prometheus, temporary},
    prometheus::{Prometheus, now},
    rows::Rows,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn o8_prometheus_traces_page_handles_and_server_agree_exactly_after_a_storm() {
    let collector = Collector::start().await;
    let report = temporary(&format!("observed-{}.json", std::process::id()));
    let (otlp, path) = (collector.url.as_str(), report.to_str().unwrap());
    // The load begins once Prometheus has scraped, or its first seconds would have no rates.
    let admin = ["--admin", "127.0.0.1:0", "--wait", "--stay"];
    let load = ["--load", "12s", "--otlp", otlp, "--report", path];
    let mut observe = Observe::start(&[&admin[..], &load[..]].concat());
    let url = observe.line("metrics: ");
    let begin = now();
    let target = url.strip_prefix("http://").and_then(|it| it.strip_suffix("/metrics")).unwrap();
    let prometheus = Prometheus::start(target).await.unwrap();
    let observe = tokio::task::spawn_blocking(move || {
        observe.line("serving the metrics");
        observe
    });
    let observe = observe.await.unwrap();
    let end = now();
    let rows = Rows::read(&report);
    fs::remove_file(&report).unwrap();
    rows.assert_storm();

    prometheus.scraped().await;
    for row in rows.iter() {
        assert_eq!(prometheus.query(&row.query()).await, [row.metrics], "Prometheus, {row:?}");
    }
    println!("Prometheus: {} numbers agree", rows.iter().count());
    let by_error_type = traces::assert_agree(&rows, &collector.received.lock().unwrap());
    for (error_type, retries) in by_error_type {
        let query = format!("sum(floodgate_retries_total{{error_type=\"{error_type}\"}})");
        assert_eq!(prometheus.query(&query).await, [retries], "{error_type}");
        println!("traces and Prometheus: {retries} retries after {error_type}");
    }

    let snapshots = url.replace("/metrics", "/limits/snapshot");
    let snapshots = reqwest::get(&snapshots).await.unwrap().text().await.unwrap();
    let agreeing = page::assert_agrees(&rows, &serde_json::from_str(&snapshots).unwrap());
    println!("page of limits: {agreeing} numbers agree");
    assert!(agreeing > 20, "the snapshots lack most numbers");

    let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
    let mut promtool = Command::new(of_prometheus("promtool").unwrap());
    assert_silent(promtool.args(["check", "metrics"]), &text);

    let queries = pages::queries(&pages::dashboard());
    for (title, query) in &queries {
        let values = prometheus.range(query, begin, end).await;
        assert!(values.iter().any(|value| value.is_finite()), "{title}: {query} has no data");
    }
    println!("Grafana: {} queries have data", queries.len());
    let rules = pages::rules();
    let mut firing = Vec::new();
    for (alert, condition) in pages::alerts(&rules) {
        if !prometheus.query(condition).await.is_empty() {
            firing.push(alert);
        }
    }
    println!("conditions that hold: {firing:?}");
    assert!(firing.contains(&"FloodgateRejects"), "{firing:?}");
    assert!(observe.end().success(), "the example found that its counts differ");
}

#[test]
fn o8_the_alert_rules_of_the_page_are_accepted_by_promtool() {
    let rules = pages::rules();
    assert!(pages::alerts(&rules).len() >= 5);
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
