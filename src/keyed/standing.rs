//! The standing of a key: what is left to it in each window, for headers.

use std::{
    sync::atomic::{Ordering::Acquire, fence},
    time::Duration,
};

use super::{
    key::Key,
    rule::WithoutKey,
    rule_state::RuleState,
    table::{KeyHash, Place, limits::Ask, state::Now},
    terms::Terms,
};
use crate::{quota::Quota, time::Clock};

/// The state of a rule in which a request counts, if there is one that headers may tell of.
#[derive(Clone, Copy, Debug)]
pub struct Subject(Option<(State, usize)>);

#[derive(Clone, Copy, Debug)]
enum State {
    Key(KeyHash),
    /// Of all requests of the rule, or of those without a key.
    Common,
}

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
    states: &[RuleState],
    subjects: &[Subject],
    mut report: impl FnMut(Standing),
) {
    let Some(first) = states.first() else { return };
    let mut now = Now::of(first.clock());
    for (rule, (state, subject)) in states.iter().zip(subjects).enumerate() {
        let Some((of, plan)) = subject.0 else { continue };
        let key = match of {
            State::Key(key) => Some(key),
            State::Common => None,
        };
        for (window, quota) in state.plan(plan).windows().iter().enumerate() {
            let (remaining, reset) = state.standing(of, plan, window, *quota, &mut now);
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
        if terms.is_exempt || self.is_dry_run() {
            return Subject(None);
        }
        let of = if self.table().has_slots() {
            match (self.hash_of(key, request), self.without_key()) {
                (Some(key), _) => State::Key(key),
                (None, WithoutKey::Share) => State::Common,
                (None, WithoutKey::Exempt | WithoutKey::Reject) => return Subject(None),
            }
        } else {
            State::Common
        };
        Subject(Some((of, self.ask(terms).plan)))
    }

    /// Returns the permits that are left in a window, and the time of [`Standing::reset`].
    fn standing(
        &self,
        of: State,
        plan: usize,
        window: usize,
        quota: Quota,
        now: &mut Now<'_, Clock>,
    ) -> (u32, Duration) {
        loop {
            let place = self.place(of);
            let state = self.table().state(place);
            while state.expire(now) {}
            let remaining = state.remaining(window, plan);
            let cost = if remaining == 0 { 1 } else { quota.limit() };
            let wait = state.time_until_room(window, Ask { plan, cost }, now.get());
            // Acquire: if the counts are those of another key, which has claimed the slot between
            // the look-up and the reading, then the next look-up finds this key elsewhere.
            fence(Acquire);
            if self.place(of) == place {
                let shortest = if remaining == 0 { Duration::ZERO } else { quota.window() };
                return (remaining, wait.max(shortest));
            }
        }
    }

    fn place(&self, of: State) -> Place {
        match of {
            State::Key(key) => self.table().place_of(key),
            State::Common => self.table().common(),
        }
    }
}
