use std::{sync::Arc, time::Duration};

use super::RuleRejectedCounts;
use crate::{
    keyed::{Plan, RuleHandle},
    quota::Quota,
};

/// The state and the counts of a [`Rule`](crate::keyed::Rule) at one moment.
///
/// Returned by [`snapshot`](RuleHandle::snapshot) of the handle. Serialized (feature `serde`), each
/// duration is a number of seconds, in a field whose name ends in `_seconds`, and each quota is its
/// text.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuleSnapshot {
    /// The name of the rule.
    pub name: Arc<str>,
    /// The limits of a key, by plan: one plan, unless the rule [has
    /// several](crate::keyed::Rule::plans).
    pub plans: Vec<PlanSnapshot>,
    /// The rule decides and counts, and admits every request.
    pub is_dry_run: bool,
    /// The number of keys that hold a permit, or have a request in flight.
    pub live_keys: u64,
    /// The number of keys that are kept apart; 0 for a rule without keys.
    pub max_keys: u32,
    /// The number of requests that were decided in an overflow, because the table was full of live
    /// keys.
    pub overflowed: u64,
    /// The number of requests that wait at this rule.
    pub queued: u32,
    /// The time that the first of them has waited; `None` if there is none.
    #[cfg_attr(feature = "serde", serde(rename = "queue_age_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub queue_age: Option<Duration>,
    /// The number of requests that were issued with permits of the rule; `None` unless it [counts
    /// them](crate::keyed::Rule::count_admitted).
    pub admitted: Option<u64>,
    /// The number of rejections, by reason. In a dry run, of those that would have been.
    pub rejected: RuleRejectedCounts,
    /// The keys that are rejected most, as [`RuleHandle::top`] returns them.
    pub top: Vec<TopKey>,
    /// The length of the list, which may have fewer keys.
    #[cfg(feature = "metrics")]
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) ranks: u32,
}

/// The limits of a key in one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PlanSnapshot {
    /// The requests that may be issued, for each window.
    pub quotas: Vec<Quota>,
    /// The requests that may be in flight; `None` if they are not limited.
    pub max_in_flight: Option<u32>,
}

/// A key that a rule rejects often, of the list that [`RuleHandle::top`] returns.
///
/// The rejections for want of permits are estimated by the algorithm *Space-Saving* (A. Metwally,
/// D. Agrawal, A. El Abbadi, 2005) with 8 counters for each key that is listed. Each rejection
/// counts 1, and half as much after each full minute since the layer was made. The sum lies between
/// `rejected_at_least` and `rejected_at_most`. They are equal while the rule has rejected no more
/// keys than it has counters, in the first minute, and in one thread. Otherwise they differ by at
/// most the sum over all keys divided by the number of counters, the rejections that were missed
/// because another thread was counting, and a rounding of three.
///
/// A key with a larger sum than that difference has a counter. A key that is never rejected is not
/// listed, however much it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopKey {
    /// The text of the key: see [`Key::label`](crate::keyed::Key::label). A client may have chosen
    /// it. `None` for a key without a label, such as a token or the value of a closure, and until
    /// its second rejection.
    pub label: Option<String>,
    /// A number that stands for the key, and stays the same while it has a counter and after. It
    /// is random: another layer or process has another one. Two keys may have the same.
    pub id: u32,
    /// A lower bound of its rejections.
    pub rejected_at_least: u64,
    /// An upper bound of its rejections.
    pub rejected_at_most: u64,
    /// What the key uses now of the limit that is nearest to its bound: permits of a window, or
    /// requests in flight. Permits that are [owed](crate::keyed::Rule::settle) do not show.
    pub used: u32,
    /// That limit, in the plan of the key's last rejection.
    pub limit: u32,
    /// The window of that limit; `None` for requests in flight.
    #[cfg_attr(feature = "serde", serde(rename = "window_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub window: Option<Duration>,
    /// The key has no slot now, and shares an overflow: `used` is that of all who share it.
    pub is_shared: bool,
}

impl RuleSnapshot {
    /// The kind, in metrics and traces.
    pub(crate) const KIND: &'static str = super::KIND;

    pub(in crate::keyed) fn of(handle: &RuleHandle) -> Self {
        let state = handle.state();
        let (queued, queue_age) = handle.waiting();
        let observed = state.observed();
        Self {
            name: Arc::clone(state.name()),
            plans: state.settings().plans.iter().map(PlanSnapshot::of).collect(),
            is_dry_run: state.is_dry_run(),
            live_keys: handle.live_keys() as u64,
            max_keys: state.settings().max_keys,
            overflowed: handle.overflowed(),
            queued,
            queue_age,
            admitted: state.admitted(),
            rejected: observed.rejected(),
            top: handle.top(),
            #[cfg(feature = "metrics")]
            ranks: state.settings().top,
        }
    }
}

impl PlanSnapshot {
    fn of(plan: &Plan) -> Self {
        Self { quotas: plan.windows().to_vec(), max_in_flight: plan.in_flight() }
    }
}
