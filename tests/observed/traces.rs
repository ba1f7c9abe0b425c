//! The traces, counted and compared with the metrics.

use std::collections::BTreeMap;

use crate::{
    collector::{Named, Received},
    rows::{CLIENT, CLIENT_WINDOW, RETRY, Row, Rows},
};

/// The events that a metric counts.
const EVENTS: &[(&str, &[&str])] = &[
    ("floodgate_requests_admitted_total", &["admitted", "admitted after a wait"]),
    ("floodgate_requests_rejected_total", &["rejected"]),
    ("floodgate_dry_run_rejections_total", &["would be rejected"]),
    ("floodgate_requests_cancelled_total", &["cancelled"]),
    ("floodgate_permits_unused_total", &["permits unused"]),
    ("floodgate_pauses_total", &["paused"]),
    ("floodgate_limit_changes_total", &["limit changed"]),
    ("floodgate_retries_total", &["retry"]),
    ("floodgate_retry_give_ups_total", &["not retried"]),
];

/// Compares events and spans with the numbers of the metrics. Returns the retries by error type.
pub(crate) fn assert_agree(rows: &Rows, received: &Received) -> BTreeMap<String, f64> {
    let mut compared = Vec::new();
    for row in rows.iter() {
        let names = EVENTS.iter().find(|(metric, _)| *metric == row.metric);
        let Some((metric, names)) = names else { continue };
        // A request that a rule admits is no event.
        if row.labels.get("kind").is_some_and(|kind| kind == "rule") && names[0] == "admitted" {
            continue;
        }
        let events = received.events.iter().filter(|event| is_of(row, names, event));
        assert_eq!(count(events), row.metrics, "traces, {row:?}");
        compared.push(metric);
    }
    assert!(EVENTS.iter().all(|(metric, _)| compared.contains(&metric)), "only {compared:?}");

    // The server has a span for each request that it received, the client for each attempt.
    let spans = |name| received.spans.iter().filter(move |(it, _)| it == name);
    let issued = rows.number("floodgate_requests_issued_total", &CLIENT_WINDOW);
    assert_eq!(count(spans("serve")), issued);
    let is_resend = |span: &&Named| span.1.contains_key("http.request.resend_count");
    let retries = rows.number("floodgate_retries_total", &RETRY);
    assert_eq!(count(spans("GET").filter(is_resend)), retries);
    let called = rows.number("floodgate_requests_admitted_total", &CLIENT)
        - rows.number("floodgate_permits_unused_total", &CLIENT);
    assert_eq!(count(spans("GET").filter(|span| !is_resend(span))), called);
    println!(
        "traces: {} numbers agree, of {} events in {} spans",
        compared.len() + 3,
        received.events.len(),
        received.spans.len()
    );

    let mut by_error_type = BTreeMap::new();
    for (_, attributes) in received.events.iter().filter(|(name, _)| name == "retry") {
        *by_error_type.entry(attributes["error.type"].clone()).or_default() += 1.0;
    }
    by_error_type
}

fn is_of(row: &Row, names: &[&str], (name, attributes): &Named) -> bool {
    // The metrics of a retry have no kind, its events have.
    let has_kind = row.labels.contains_key("kind") || attributes["kind"] == "retry";
    let has = |(label, value)| attributes.get(label) == Some(value);
    names.contains(&name.as_str()) && has_kind && row.labels.iter().all(has)
}

#[allow(clippy::cast_precision_loss, reason = "there are fewer than 2^52")]
fn count<'a>(of: impl Iterator<Item = &'a Named>) -> f64 {
    of.count() as f64
}
