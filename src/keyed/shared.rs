//! What all services of a layer share.

use std::{fmt, sync::Arc};

use super::{
    rule_state::RuleState,
    rules::{RuleList, Rules},
    table::state::Now,
};
use crate::{rejected::Rejected, settings::InvalidSetting, time::Clock};

/// The rules of a layer, and their states.
pub(crate) struct Shared<R> {
    pub(crate) rules: R,
    pub(crate) states: Arc<[RuleState]>,
    clock: Clock,
    /// A request holds something of a rule until its response.
    outlives_call: bool,
}

impl<R: RuleList> Shared<R> {
    pub(super) fn new(rules: R) -> Result<Self, InvalidSetting> {
        let clock = Clock::start();
        let states: Arc<[RuleState]> = rules.states(clock)?.into();
        for (index, state) in states.iter().enumerate() {
            if states[..index].iter().any(|other| other.name() == state.name()) {
                let expected = "another one than that of each other rule";
                return Err(InvalidSetting::new("name of a rule", state.name(), expected));
            }
        }
        let outlives_call = states.iter().any(RuleState::outlives_call);
        Ok(Self { rules, states, clock, outlives_call })
    }

    /// Returns a reading of the time that is still to be made.
    pub(super) const fn now(&self) -> Now<'_, Clock> {
        Now::of(&self.clock)
    }

    #[inline]
    pub(super) fn decide<Request>(&self, request: &Request) -> Result<R::Held, Rejected>
    where
        R: Rules<Request>,
    {
        self.rules.decide(&self.states, request, &mut self.now())
    }
}

/// Commits what a request holds when it is dropped, after the inner service was called: the request
/// may have been issued, even if the call has panicked.
pub(super) struct Issuing<'a, R: RuleList> {
    shared: &'a Shared<R>,
    held: &'a R::Held,
}

impl<'a, R: RuleList> Issuing<'a, R> {
    pub(super) const fn new(shared: &'a Shared<R>, held: &'a R::Held) -> Self {
        Self { shared, held }
    }
}

impl<R: RuleList> Drop for Issuing<'_, R> {
    #[inline]
    fn drop(&mut self) {
        let mut now = self.shared.now();
        for (state, held) in self.shared.states.iter().zip(self.held.as_ref()) {
            if !state.is_late {
                state.commit(*held, &mut now);
            }
        }
    }
}

/// What a request holds until its response: requests in flight, and permits whose cost is not
/// settled. A drop releases the former, and commits the latter as they were acquired.
pub(crate) struct InFlight<R: RuleList> {
    shared: Arc<Shared<R>>,
    held: R::Held,
    is_settled: bool,
}

impl<R: RuleList> InFlight<R> {
    /// Returns `None` if nothing outlives the call.
    #[inline]
    pub(super) fn new(shared: &Arc<Shared<R>>, held: R::Held) -> Option<Self> {
        let new = || Self { shared: Arc::clone(shared), held, is_settled: false };
        shared.outlives_call.then(new)
    }

    /// Settles the costs by the result. Requests in flight stay.
    pub(super) fn settle<Response, Error>(&mut self, result: Result<&Response, &Error>)
    where
        R: super::rules::SettleRules<Response, Error>,
    {
        let Self { shared, held, is_settled } = self;
        shared.rules.settle(&shared.states, held, result, &mut shared.now());
        *is_settled = true;
    }
}

impl<R: RuleList> fmt::Debug for InFlight<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").finish_non_exhaustive()
    }
}

impl<R: RuleList> Drop for InFlight<R> {
    fn drop(&mut self) {
        let mut now = self.shared.now();
        for (state, held) in self.shared.states.iter().zip(self.held.as_ref()) {
            if state.is_late && !self.is_settled {
                state.commit(*held, &mut now);
            }
            state.release(*held);
        }
    }
}
