//! What all services of a layer share.

use std::{fmt, sync::Arc};

use super::{
    observed::Rejection,
    rule::{
        Look, RuleList, Rules,
        state::{Held, RuleState},
    },
    states::{Denied, States},
    table::{Freed, state::Now},
};
use crate::{rejected::Rejected, settings::InvalidSetting, time::Clock};

/// Decisions of one request that are made while others leave the queue.
const DECISIONS: u32 = 16;

const FIRST_LOOK: Look = Look { notified: 0, brings_penalties: true };

/// The rules of a layer, and their states.
pub(crate) struct Shared<R> {
    pub(crate) rules: R,
    pub(crate) states: Arc<States>,
    /// A request holds something of a rule until its response.
    outlives_call: bool,
    /// A rule counts the requests that it admits.
    counts_admitted: bool,
}

impl<R: RuleList> Shared<R> {
    pub(super) fn new(rules: R) -> Result<Self, InvalidSetting> {
        let states = rules.states()?;
        for (index, state) in states.iter().enumerate() {
            if states[..index].iter().any(|other| other.name() == state.name()) {
                let expected = "another one than that of each other rule";
                return Err(InvalidSetting::new("name of a rule", state.name(), expected));
            }
        }
        let outlives_call = states.iter().any(RuleState::outlives_call);
        let counts_admitted = states.iter().any(|state| state.admitted().is_some());
        let states = Arc::new(States::new(states, Clock::start()));
        Ok(Self { rules, states, outlives_call, counts_admitted })
    }

    #[inline]
    pub(super) fn decide<Request>(&self, request: &Request) -> Result<R::Held, Rejected>
    where
        R: Rules<Request>,
    {
        let Self { rules, states, .. } = self;
        let mut now = states.now();
        match rules.decide(states, request, FIRST_LOOK, &mut now) {
            Ok(held) => Ok(held),
            Err(denied) => self.reject(denied, request, &mut now),
        }
    }

    /// Rejects a request, unless it is admitted at another look.
    #[cold]
    fn reject<'a, Request>(
        &'a self,
        mut denied: Denied,
        request: &Request,
        now: &mut Now<'a, Clock>,
    ) -> Result<R::Held, Rejected>
    where
        R: Rules<Request>,
    {
        let Self { rules, states, .. } = self;
        let mut look = FIRST_LOOK;
        // Requests of a layer that waits may have left in the meantime.
        for _ in 0..DECISIONS {
            if !states.is_worth_another_try(&denied) {
                break;
            }
            *now = states.now();
            look = look.after(&denied);
            match rules.decide(states, request, look, now) {
                Ok(held) => return Ok(held),
                Err(again) => denied = again,
            }
        }
        let rule = denied.rule;
        let rejected = rules.reject(denied, states, request, now);
        rules.notify_rejected(states, rule, Rejection::of(&rejected), request, now);
        Err(rejected)
    }
}

impl<R: RuleList> Shared<R> {
    /// Issues a request by `call`, and commits what it holds.
    #[inline]
    pub(super) fn issue<F>(
        self: &Arc<Self>,
        held: R::Held,
        call: impl FnOnce() -> F,
    ) -> (F, Option<InFlight<R>>) {
        let in_flight = InFlight::new(self, held);
        let issuing = Issuing { shared: self, held: &held };
        let future = call();
        drop(issuing);
        (future, in_flight)
    }
}

/// Counts the issue of a request and commits what it holds when this is dropped, after the inner
/// service was called: the request may have been issued, even if the call has panicked.
struct Issuing<'a, R: RuleList> {
    shared: &'a Shared<R>,
    held: &'a R::Held,
}

impl<R: RuleList> Drop for Issuing<'_, R> {
    #[inline]
    fn drop(&mut self) {
        let mut now = self.shared.states.now();
        let states = &self.shared.states;
        if self.shared.counts_admitted {
            count_issue(states, self.held.as_ref());
        }
        states.free(self.held.as_ref(), |state, held| {
            if state.is_late { Freed::Nothing } else { state.commit(held, &mut now) }
        });
    }
}

/// Not inlined, so that calls that are not counted have a short path.
#[inline(never)]
fn count_issue(states: &States, held: &[Held]) {
    states.iter().zip(held).for_each(|(state, held)| state.count_issue(*held));
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
    fn new(shared: &Arc<Shared<R>>, held: R::Held) -> Option<Self> {
        let new = || Self { shared: Arc::clone(shared), held, is_settled: false };
        shared.outlives_call.then(new)
    }

    /// Settles the costs by the result. Requests in flight stay.
    #[inline]
    pub(super) fn settle<Response, Error>(&mut self, result: Result<&Response, &Error>)
    where
        R: super::rule::SettleRules<Response, Error>,
    {
        let Self { shared, held, is_settled } = self;
        shared.rules.settle(&shared.states, held, result, &mut shared.states.now());
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
        let mut now = self.shared.states.now();
        let states = &self.shared.states;
        states.free(self.held.as_ref(), |state, held| {
            let is_open = state.is_late && !self.is_settled;
            let committed = if is_open { state.commit(held, &mut now) } else { Freed::Nothing };
            committed.and(state.release(held))
        });
    }
}
