//! The standing of a key: what is left to it in each window, for headers.

use std::time::Duration;

use super::{
    key::Key,
    rule::{
        Terms,
        state::{RuleState, Target},
    },
    states::States,
    table::{KeyHash, limits::Ask, state::Now},
};
use crate::{quota::Quota, time::Clock};

/// The state of a rule in which a request counts, by a plan, if there is one that headers may tell
/// of.
#[derive(Clone, Copy, Debug)]
pub struct Subject(Option<(Target, usize)>);

/// The standing of a key in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The indices of the rule, and of the window in the rule.
    pub(crate) rule: usize,
    pub(crate) window: usize,
    pub(crate) quota: Quota,
    /// `None` for a state that is not of a key.
    pub(crate) key: Option<KeyHash>,
    /// Permits that are left.
    pub(crate) remaining: u32,
    /// The time until there is a permit if none is left. Otherwise the window, or the time until
    /// all permits that are held now have expired if that is longer.
    pub(crate) reset: Duration,
}

/// Calls `report` for each window of each rule in which the request counts.
pub(crate) fn report_standings(
    states: &States,
    subjects: &[Subject],
    mut report: impl FnMut(Standing),
) {
    let mut now = states.now();
    for (rule, (state, subject)) in states.iter().zip(subjects).enumerate() {
        let Some((target, plan)) = subject.0 else { continue };
        let key = if let Target::Key(key) = target { Some(key) } else { None };
        for (window, quota) in state.plan(plan).windows().iter().enumerate() {
            let (remaining, reset) = state.standing(target, plan, window, *quota, &mut now);
            states.tell_noticed(rule, &mut now);
            report(Standing { rule, window, quota: *quota, key, remaining, reset });
        }
    }
}

impl RuleState {
    /// Returns where a request counts. Nowhere, if the rule does not apply to it, rejects all
    /// requests like it, or limits none.
    pub(super) fn subject<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
        terms: Terms,
    ) -> Subject {
        if terms.is_exempt || self.is_dry_run {
            return Subject(None);
        }
        let target = self.target(key, request).filter(|target| *target != Target::Nothing);
        Subject(target.map(|target| (target, self.ask(terms).plan)))
    }

    /// Returns the permits that are left in a window, and the time of [`Standing::reset`].
    fn standing(
        &self,
        target: Target,
        plan: usize,
        window: usize,
        quota: Quota,
        now: &mut Now<'_, Clock>,
    ) -> (u32, Duration) {
        self.read(target, now, |state, place, now| {
            let paused = self.table().paused_until(place, now);
            let paused = paused.map(|until| until.since(now.get()));
            let remaining = if paused.is_some() { 0 } else { state.remaining(window, plan) };
            let cost = if remaining == 0 { 1 } else { quota.limit() };
            let wait = state.time_until_room(window, Ask { plan, cost }, now.get());
            let shortest = if remaining == 0 { Duration::ZERO } else { quota.window() };
            (remaining, wait.max(shortest).max(paused.unwrap_or_default()))
        })
    }
}
