//! Decisions about failed attempts, as the hook sees them.

use std::{error::Error, fmt, time::Duration};

/// A decision about an attempt that the classifier did not judge [`Done`](super::Verdict::Done).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub(super) attempt: u32,
    pub(super) hint: Option<Duration>,
    pub(super) retry_in: Result<Duration, StopReason>,
}

impl Decision {
    /// Returns the number of the attempt, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the wait before the next attempt. `retry_in().is_ok()` tells if there is one.
    ///
    /// # Errors
    ///
    /// With the reason, if there is no next attempt.
    pub const fn retry_in(&self) -> Result<Duration, StopReason> {
        self.retry_in
    }

    /// Returns the wait that the server asked for, if it did.
    #[must_use]
    pub const fn hint(&self) -> Option<Duration> {
        self.hint
    }
}

/// The reason why a failed attempt is not followed by another.
///
/// `MaxAttempts`, `MaxElapsed` and `MaxHint` are named after the settings of
/// [`ExponentialRetry`](super::ExponentialRetry) that would be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// The attempt was the last of `max_attempts`.
    MaxAttempts,
    /// The wait would have ended after `max_elapsed`.
    MaxElapsed,
    /// The wait would have ended at or after the [deadline](crate::deadline) of the request.
    Deadline,
    /// The server asks for a longer wait than `max_hint`.
    MaxHint,
    /// The budget has no retry left.
    BudgetExhausted,
    /// The classifier judged the attempt [`Never`](super::Verdict::Never): the server forbids
    /// retries, or a limiter is closed.
    RetryForbidden,
    /// The copy of the request cannot be sent: [`can_send`] or [`claim`] returned false.
    ///
    /// [`can_send`]: super::CloneRequest::can_send
    /// [`claim`]: super::CloneRequest::claim
    NotReplayable,
}

impl StopReason {
    /// All reasons, in the order of their declaration.
    pub(super) const ALL: [Self; 7] = [
        Self::MaxAttempts,
        Self::MaxElapsed,
        Self::Deadline,
        Self::MaxHint,
        Self::BudgetExhausted,
        Self::RetryForbidden,
        Self::NotReplayable,
    ];

    /// Returns the name of the reason in metrics and traces: `max_attempts`, for instance.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxAttempts => "max_attempts",
            Self::MaxElapsed => "max_elapsed",
            Self::Deadline => "deadline",
            Self::MaxHint => "max_hint",
            Self::BudgetExhausted => "budget_exhausted",
            Self::RetryForbidden => "retry_forbidden",
            Self::NotReplayable => "not_replayable",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxAttempts => "all attempts are spent",
            Self::MaxElapsed => "the wait would end too late",
            Self::Deadline => "the wait would end at the deadline or after it",
            Self::MaxHint => "the server asks for too long a wait",
            Self::BudgetExhausted => "the retry budget is exhausted",
            Self::RetryForbidden => "retries are forbidden",
            Self::NotReplayable => "the request cannot be sent again",
        })
    }
}

impl Error for StopReason {}
