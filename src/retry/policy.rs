//! The retry loop's decisions: the [`Policy`] of tower's `Retry`.
//!
//! For each attempt, tower first asks for a copy of the request, and then for a decision about the
//! result. [`Position`] is the state between the two:
//!
//! | attempt | `clone_request` | after a retry is decided on |
//! | --- | --- | --- |
//! | `First` | begins the request; copies | `Middle` or `Last` |
//! | `Middle` | copies | `Middle` or `Last` |
//! | `Last` | copies if the hook, the classifier or the observer must see the result | none is |
//! | `Only` | begins the request; copies as for `Last` | none is |
//!
//! To begin a request is to read the time, if `max_elapsed` is set, and to deposit in the budget. A
//! named policy reads its live settings then, which may change the position of the attempt.

use std::time::Duration;

use tokio::time::Instant;
use tower::retry::Policy;

use super::{
    Classify, CloneRequest, Decision, ExponentialRetry, Observer, OnDecision, StopReason, Verdict,
    budget::Reservation, config::Inline, future::Delay, request::Position,
};
use crate::{
    current_deadline,
    time::{self, TICK, nanos},
};

impl<C, D, H, O, Req, Res, E> Policy<Req, Res, E> for ExponentialRetry<C, D, H, O>
where
    C: Classify<Req, Res, E>,
    D: CloneRequest<Req>,
    H: OnDecision<Req, Res, E>,
    O: Observer,
{
    type Future = Delay;

    #[inline]
    fn retry(&mut self, request: &mut Req, result: &mut Result<Res, E>) -> Option<Delay> {
        let delay = match self.classify.classify(request, result) {
            Verdict::Done => None,
            verdict => self.retry_or_stop(verdict, request, result),
        };
        if delay.is_none() {
            let attempts = self.inline.request.attempt();
            self.observer.ended(attempts);
            self.classify.settled(request, attempts, result);
        }
        delay
    }

    #[inline]
    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        let position = self.inline.request.position;
        if position == Position::First {
            self.begin();
        } else if !self.wants_copy::<Req, Res, E>(position) {
            return None;
        }
        self.clone_with.clone_request(request)
    }
}

impl<C, D, H, O: Observer> ExponentialRetry<C, D, H, O> {
    /// Begins a request, whether it can be copied or not.
    #[inline]
    fn begin(&mut self) {
        self.observer.begin(&mut self.inline);
        // `SharedRef::get` would choose between two addresses, which slows down a policy without a
        // reference.
        let Some(shared) = &self.shared.0 else { return };
        if let (false, Some(max)) = (O::OBSERVES, shared.max_elapsed) {
            self.inline.request.no_wait_after = from_now(max);
        }
        if let Some(budget) = &shared.budget {
            budget.deposit();
        }
    }

    /// Begins an only attempt, and returns true if a copy of the request is of use.
    ///
    /// After a last attempt no copy is sent. But tower asks `retry` about a result only if it has a
    /// copy, so the copy is made if the hook must see that the attempts are spent, or the
    /// classifier must see the result, or the observer its end.
    #[cold]
    fn wants_copy<Req, Res, E>(&mut self, position: Position) -> bool
    where
        C: Classify<Req, Res, E>,
        H: OnDecision<Req, Res, E>,
    {
        if position == Position::Only {
            self.begin();
        }
        position == Position::Middle
            || O::OBSERVES
            || self.hook.is_enabled()
            || self.classify.needs_settled(self.inline.request.attempt())
    }

    /// Retries or stops after an attempt whose verdict is not `Done`. Cold: most verdicts are.
    ///
    /// Between the withdrawal and the commit the hook and methods of the classifier are called, and
    /// the timer is made, which needs a runtime. If one of them panics, the request ends and its
    /// retry is not made. So the reservation, dropped by the panic, is refunded. The observer sees
    /// a decision when nothing else can keep it from being carried out.
    #[cold]
    fn retry_or_stop<Req, Res, E>(
        &mut self,
        verdict: Verdict,
        request: &mut Req,
        result: &Result<Res, E>,
    ) -> Option<Delay>
    where
        C: Classify<Req, Res, E>,
        D: CloneRequest<Req>,
        H: OnDecision<Req, Res, E>,
    {
        let (decision, reservation) = self.decide(verdict, request);
        self.hook.on_decision(&decision, request, result);
        let error_type = || self.classify.error_type(result);
        let Ok(wait) = decision.retry_in else {
            self.observer.decided(&decision, error_type);
            return None;
        };
        self.classify.prepare(request, decision.attempt);
        let delay = Delay::of(wait);
        self.observer.decided(&decision, error_type);
        let _: Option<()> = reservation.map(Reservation::commit);
        let Inline { max_attempts, request, .. } = &mut self.inline;
        request.retries = decision.attempt;
        request.position = Position::of(decision.attempt + 1, *max_attempts);
        request.waited = nanos(wait);
        Some(delay)
    }

    /// Decides how long to wait before a retry, or why there is none.
    ///
    /// The budget comes after all other conditions, so that nothing is withdrawn for a retry that
    /// they rule out. Only then is the copy claimed, which ends the attempt sent before. The claim
    /// fails if the copy was lost after `can_send`; then the retry is refunded before the decision
    /// is reported.
    ///
    /// A retry is returned with its reservation. The caller commits it when the retry is certain.
    fn decide<Req>(&self, verdict: Verdict, copy: &Req) -> (Decision, Option<Reservation<'_>>)
    where
        D: CloneRequest<Req>,
    {
        let Inline { max_attempts, max_hint, backoff, request } = &self.inline;
        let hint = match verdict {
            Verdict::RetryAfter(hint) | Verdict::RetryExactly(hint) => Some(hint),
            Verdict::Done | Verdict::Retry | Verdict::Never => None,
        };
        let attempt = request.attempt();
        let retry = if verdict == Verdict::Never {
            Err(StopReason::RetryForbidden)
        } else if hint.is_some_and(|hint| nanos(hint) > *max_hint) {
            Err(StopReason::MaxHint)
        } else if attempt >= *max_attempts {
            Err(StopReason::MaxAttempts)
        } else if !self.clone_with.can_send(copy) {
            Err(StopReason::NotReplayable)
        } else {
            let last_wait = (request.retries > 0).then(|| Duration::from_nanos(request.waited));
            let draw = |span| self.shared.get().random.draw(span);
            let wait = match verdict {
                Verdict::RetryExactly(wait) => wait,
                _ => {
                    let waits = self.shared.get().waits.as_ref();
                    let backoff = waits.map_or(*backoff, |waits| waits.at(request.retries));
                    backoff.wait(request.retries, last_wait, hint, draw)
                }
            };
            if self.ends_too_late(wait) {
                Err(StopReason::MaxElapsed)
            } else if ends_after_deadline(wait) {
                Err(StopReason::Deadline)
            } else {
                match self.reserve() {
                    Err(reason) => Err(reason),
                    Ok(_) if !self.clone_with.claim(copy) => Err(StopReason::NotReplayable),
                    Ok(reservation) => Ok((wait, reservation)),
                }
            }
        };
        let (retry_in, reservation) = match retry {
            Ok((wait, reservation)) => (Ok(wait), reservation),
            Err(reason) => (Err(reason), None),
        };
        (Decision { attempt, hint, retry_in }, reservation)
    }

    fn ends_too_late(&self, wait: Duration) -> bool {
        self.inline.request.no_wait_after.is_some_and(|latest| {
            // A wait that ends after the range of the clock is too late for any bound.
            time::now().checked_add(wait).is_none_or(|end| end > latest)
        })
    }

    /// Withdraws a retry from the budget, if there is one.
    fn reserve(&self) -> Result<Option<Reservation<'_>>, StopReason> {
        let Some(budget) = &self.shared.get().budget else { return Ok(None) };
        budget.reserve().map(Some).ok_or(StopReason::BudgetExhausted)
    }
}

/// Returns the time after `max`; `None` if it is beyond the range of the clock.
///
/// Out of line, so that the code of policies without `max_elapsed` is short enough to be inlined.
#[inline(never)]
fn from_now(max: Duration) -> Option<Instant> {
    time::now().checked_add(max)
}

/// Returns true if a wait from now would leave no time until the deadline of the request.
fn ends_after_deadline(wait: Duration) -> bool {
    let left = current_deadline::current().map(|at| at.saturating_duration_since(time::now()));
    // A timer may fire a tick late.
    left.is_some_and(|left| left <= wait.saturating_add(TICK))
}
