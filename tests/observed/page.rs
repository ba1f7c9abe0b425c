//! The page of limits: the snapshots from which it is drawn.

use serde_json::Value;

use crate::rows::{Row, Rows};

/// Asserts that the snapshots have the numbers of the counters. Returns how many were compared.
pub(crate) fn assert_agrees(rows: &Rows, snapshots: &Value) -> usize {
    let mut compared = 0;
    for row in rows.iter() {
        let Some(field) = field_of(row) else { continue };
        let kind = row.labels.get("kind").map_or("retry", String::as_str);
        let of_row =
            |of: &&Value| of["kind"] == kind && of["name"] == row.labels["limiter"].as_str();
        let snapshot = snapshots.as_array().expect("a list").iter().find(of_row);
        let number = snapshot.unwrap_or_else(|| panic!("no snapshot of {row:?}")).pointer(&field);
        let number = number.and_then(Value::as_f64).unwrap_or_else(|| panic!("no {field}"));
        assert_eq!(number, row.metrics, "{field} of the page, {row:?}");
        compared += 1;
    }
    compared
}

/// Returns the place of the number in a snapshot; `None` for what a snapshot does not have.
fn field_of(row: &Row) -> Option<String> {
    let reason = row.labels.get("reason");
    let is_rule = row.labels.get("kind").is_some_and(|kind| kind == "rule");
    let field = match (row.metric.as_str(), reason) {
        ("floodgate_requests_admitted_total", None) if is_rule => "admitted".to_owned(),
        ("floodgate_requests_overflowed_total", None) => "overflowed".to_owned(),
        ("floodgate_dry_run_rejections_total", Some(reason)) => format!("rejected/{reason}"),
        ("floodgate_requests_admitted_total", None) => "counts/admitted".to_owned(),
        ("floodgate_requests_cancelled_total", None) => "counts/cancelled".to_owned(),
        ("floodgate_permits_unused_total", None) => "counts/unused".to_owned(),
        ("floodgate_pauses_total", None) => "counts/pauses".to_owned(),
        ("floodgate_limit_changes_total", None) => "counts/limit_changes".to_owned(),
        ("floodgate_requests_issued_total", None) => "issued".to_owned(),
        ("floodgate_requests_rejected_total", Some(reason)) => format!("rejected/{reason}"),
        ("floodgate_retries_total", None) => "retries".to_owned(),
        ("floodgate_retry_give_ups_total", Some(reason)) => format!("give_ups/{reason}"),
        _ => return None,
    };
    Some(format!("/{field}"))
}
