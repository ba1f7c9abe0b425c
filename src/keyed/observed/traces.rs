//! Traces of the rejections of a rule, in the span of the caller. None has a part of the request.

use tracing::info;

use super::{KIND, Rejection};

const TARGET: &str = "tower_floodgate";

pub(super) fn record(limiter: &str, rejection: Rejection<'_>) {
    let (kind, reason) = (KIND, rejection.reason.name());
    match rejection.rejected {
        None => info!(target: TARGET, limiter, kind, reason, "would be rejected"),
        Some(rejected) => {
            let retry_after = rejected.retry_after().map(|wait| wait.as_secs_f64());
            info!(target: TARGET, limiter, kind, reason, retry_after, "rejected");
        }
    }
}
