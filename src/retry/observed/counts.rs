use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::super::{Decision, StopReason};

/// The number of failed requests that a policy did not retry, by reason.
///
/// The fields are named after [`StopReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GiveUpCounts {
    /// All attempts were spent.
    pub max_attempts: u64,
    /// The wait would have ended after `max_elapsed`.
    pub max_elapsed: u64,
    /// The wait would have ended at or after the deadline of the request.
    pub deadline: u64,
    /// The server asked for a longer wait than `max_hint`.
    pub max_hint: u64,
    /// The budget had no retry left.
    pub budget_exhausted: u64,
    /// The classifier judged the attempt [`Never`](crate::retry::Verdict::Never).
    pub retry_forbidden: u64,
    /// The copy of the request could not be sent.
    pub not_replayable: u64,
}

impl GiveUpCounts {
    /// Returns the sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { max_attempts, max_elapsed, deadline, max_hint, .. } = self;
        let Self { budget_exhausted, retry_forbidden, not_replayable, .. } = self;
        max_attempts
            + max_elapsed
            + deadline
            + max_hint
            + budget_exhausted
            + retry_forbidden
            + not_replayable
    }
}

/// Counts the events of a named policy.
///
/// A request counts before its retries, and they before its give-up. A reader that loads them in
/// the opposite order never sees more give-ups than requests.
#[derive(Debug, Default)]
pub(in super::super) struct Counts {
    requests: AtomicU64,
    retries: AtomicU64,
    give_ups: [AtomicU64; StopReason::ALL.len()],
}

impl Counts {
    pub(super) fn begun(&self) {
        // Relaxed: it comes first, so it releases nothing.
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn decided(&self, decision: &Decision) {
        let count = match decision.retry_in() {
            Ok(_) => &self.retries,
            Err(reason) => &self.give_ups[reason as usize],
        };
        // Release: a reader of this count sees the request, and the retries before.
        count.fetch_add(1, Release);
    }

    pub(in super::super) fn requests(&self) -> u64 {
        // Relaxed: it is loaded last, after what others have acquired.
        self.requests.load(Relaxed)
    }

    pub(in super::super) fn retries(&self) -> u64 {
        // Acquire: the requests of these retries are seen by loads after it.
        self.retries.load(Acquire)
    }

    pub(in super::super) fn give_ups(&self) -> GiveUpCounts {
        // Acquire: the requests and the retries of these give-ups are seen by loads after it.
        let count = |reason: StopReason| self.give_ups[reason as usize].load(Acquire);
        GiveUpCounts {
            max_attempts: count(StopReason::MaxAttempts),
            max_elapsed: count(StopReason::MaxElapsed),
            deadline: count(StopReason::Deadline),
            max_hint: count(StopReason::MaxHint),
            budget_exhausted: count(StopReason::BudgetExhausted),
            retry_forbidden: count(StopReason::RetryForbidden),
            not_replayable: count(StopReason::NotReplayable),
        }
    }
}
