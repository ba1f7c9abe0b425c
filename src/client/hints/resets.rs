//! The times until the resets of the quotas of a response.

use std::time::Duration;

use super::values::Remaining;

/// The times until the resets of quotas: the longest.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::client) struct Resets {
    /// Of quotas of which nothing remains.
    pub(in crate::client) spent: Option<Duration>,
    /// Of quotas whose rest is not stated.
    pub(in crate::client) unexplained: Option<Duration>,
}

impl Resets {
    pub(super) fn add(&mut self, remaining: Option<Remaining>, reset: Duration) {
        let longest = match remaining {
            Some(Remaining::Nothing) => &mut self.spent,
            None => &mut self.unexplained,
            Some(Remaining::More | Remaining::Unreadable) => return,
        };
        *longest = (*longest).max(Some(reset));
    }

    pub(super) fn map(self, to_wait: impl Fn(Duration) -> Duration) -> Self {
        Self { spent: self.spent.map(&to_wait), unexplained: self.unexplained.map(&to_wait) }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.spent = self.spent.max(other.spent);
        self.unexplained = self.unexplained.max(other.unexplained);
    }
}
