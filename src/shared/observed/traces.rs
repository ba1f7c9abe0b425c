//! Traces of the events between a process and the store of a quota.
//!
//! They come from the driver, which is in no span. An event that may cost the limit or the
//! requests is a WARN: it is the effect of no setting, and reaches no caller as an error if the
//! requests pass. Each is told once per change: an outage has one of its begin and one of its end,
//! however many requests and probes fail.

use std::time::Duration;

use tracing::{debug, info, trace, warn};

use super::Observed;
use crate::shared::{SharedSnapshot, StoreError, agent::Terms};

const TARGET: &str = "tower_floodgate";
const KIND: &str = SharedSnapshot::KIND;

/// The name of the limit, which is no field without one, and that of the quota.
fn names(of: &Observed) -> (Option<&str>, &str) {
    (of.observer.name().map(|name| &**name), &of.quota)
}

pub(super) fn replied(of: &Observed, code: &str, took: Duration) {
    let (limiter, quota) = names(of);
    let took = took.as_secs_f64();
    trace!(target: TARGET, limiter, kind = KIND, quota, code, took, "store request");
}

pub(super) fn went_away(of: &Observed, error: &StoreError) {
    let (limiter, quota) = names(of);
    let code = error.code();
    warn!(target: TARGET, limiter, kind = KIND, quota, code, %error, "store away");
}

pub(super) fn no_permission(of: &Observed, error: &StoreError) {
    let (limiter, quota) = names(of);
    let remedy = "grant the user of the connection the rights that the store needs";
    warn!(target: TARGET, limiter, kind = KIND, quota, %error, remedy, "store denies a right");
}

pub(super) fn came_back(of: &Observed, away_for: Duration) {
    let (limiter, quota) = names(of);
    let away_for = away_for.as_secs_f64();
    info!(target: TARGET, limiter, kind = KIND, quota, away_for, "store back");
}

pub(super) fn epoch_changed(of: &Observed) {
    let (limiter, quota) = names(of);
    warn!(target: TARGET, limiter, kind = KIND, quota, "epoch changed");
}

pub(super) fn clock_step(of: &Observed, step: Duration) {
    let (limiter, quota) = names(of);
    let step = step.as_secs_f64();
    warn!(target: TARGET, limiter, kind = KIND, quota, step, "store clock set ahead");
}

/// `terms` are those of this process: the store does not tell the other ones.
pub(super) fn other_terms(of: &Observed, terms: &Terms) {
    let (limiter, quota) = names(of);
    let (limit, window) = (terms.limit, terms.window.as_secs_f64());
    warn!(target: TARGET, limiter, kind = KIND, quota, limit, window, "other terms");
}

/// In the span of the caller.
pub(super) fn issued_late(of: &Observed) {
    let (limiter, quota) = names(of);
    debug!(target: TARGET, limiter, kind = KIND, quota, "issued late");
}
