//! Traces of the decisions of a named policy, in the span of the caller.
//!
//! A retry is at DEBUG: the request may still succeed, and in an outage there is one for each
//! request. A request that is not retried is at INFO: its failure is returned to the caller, which
//! reports it, and the event tells why there was no further attempt. So is a change of settings.

use tracing::{debug, info};

use super::{
    super::{Decision, ErrorType},
    RetrySettings,
};

const TARGET: &str = "tower_floodgate";
const KIND: &str = "retry";

pub(super) fn decided(limiter: &str, decision: &Decision, error_type: ErrorType) {
    let attempt = decision.attempt();
    let retry_after = decision.hint().map(|hint| hint.as_secs_f64());
    match decision.retry_in() {
        Ok(wait) => {
            let backoff = wait.as_secs_f64();
            debug!(
                target: TARGET, limiter, kind = KIND, attempt, "error.type" = %error_type, backoff,
                retry_after, "retry"
            );
        }
        Err(reason) => {
            let reason = reason.name();
            info!(
                target: TARGET, limiter, kind = KIND, attempt, "error.type" = %error_type, reason,
                retry_after, "not retried"
            );
        }
    }
}

pub(super) fn changed(limiter: &str, settings: &RetrySettings) {
    let RetrySettings { max_attempts, backoff, max_hint, max_elapsed } = settings;
    let max_hint = max_hint.as_secs_f64();
    let max_elapsed = max_elapsed.map(|max| max.as_secs_f64());
    info!(
        target: TARGET, limiter, kind = KIND, max_attempts, ?backoff, max_hint, max_elapsed,
        "settings changed"
    );
}
