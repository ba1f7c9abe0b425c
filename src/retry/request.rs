//! The state of one request, across its attempts.

use tokio::time::Instant;

/// The state of one request, which begins with its first attempt.
///
/// tower clones the policy for each request, right after it has asked the shared policy to clone
/// the request. So the changes made there, at the start, go with the request's own clone. All
/// others are made in `retry`, which is never called on the shared policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestState {
    pub(super) position: Position,
    pub(super) retries: u32,
    /// The wait before the last retry, in nanoseconds.
    pub(super) waited: u64,
    /// No wait ends later. Set only if `max_elapsed` is: otherwise the clock is not read.
    pub(super) no_wait_after: Option<Instant>,
}

impl RequestState {
    pub(super) const fn new(max_attempts: u32) -> Self {
        Self { position: Position::of(1, max_attempts), retries: 0, waited: 0, no_wait_after: None }
    }

    /// Returns the number of the attempt under way, counted from 1.
    pub(super) const fn attempt(&self) -> u32 {
        self.retries.saturating_add(1)
    }
}

/// The position of the attempt that is sent next among those allowed.
///
/// One word, so that one comparison identifies the most frequent case, the first of several
/// attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Position {
    First,
    Middle,
    Last,
    /// The first and the last.
    Only,
}

impl Position {
    pub(super) const fn of(attempt: u32, max_attempts: u32) -> Self {
        match (attempt == 1, attempt >= max_attempts) {
            (true, false) => Self::First,
            (false, false) => Self::Middle,
            (false, true) => Self::Last,
            (true, true) => Self::Only,
        }
    }
}
