//! Traces of the rejections of a rule, in the span of the caller. None has a part of the request.

use tracing::info;

use super::{KIND, Rejection};

const TARGET: &str = "tower_floodgate";

pub(super) fn record(limiter: &str, is_dry_run: bool, rejection: Rejection) {
    let (kind, reason) = (KIND, rejection.reason.name());
    if is_dry_run {
        info!(target: TARGET, limiter, kind, reason, "would be rejected");
    } else {
        let retry_after = rejection.retry_after.map(|wait| wait.as_secs_f64());
        info!(target: TARGET, limiter, kind, reason, retry_after, "rejected");
    }
}
