use std::time::Duration;

use super::super::{Backoff, config::Inline, shared::Shared};
use crate::{settings::InvalidSetting, time::nanos};

/// The settings of a policy that can change while it runs.
///
/// [`settings`](crate::ExponentialRetryHandle::settings) of a handle returns them, and
/// [`set`](crate::ExponentialRetryHandle::set) changes all of them in one step. The fields are
/// named after the setters of [`ExponentialRetry`](crate::ExponentialRetry), which describe them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetrySettings {
    /// The attempts of one request, the first one included: at least 1.
    pub max_attempts: u32,
    /// The wait between attempts. Not used by a policy with
    /// [`waits`](crate::ExponentialRetry::waits), which come before it.
    pub backoff: Backoff,
    /// A longer wait that a server asks for stops the request. Saturates at 584 years.
    pub max_hint: Duration,
    /// No wait ends later than this after the request was made. `None`, and 584 years, are no
    /// bound.
    pub max_elapsed: Option<Duration>,
}

/// The number of words that hold the settings.
pub(super) const WORDS: usize = 7;

/// Stands for no `max_elapsed`.
const UNBOUNDED: u64 = u64::MAX;

impl RetrySettings {
    /// Returns the settings with which a policy was built.
    pub(in super::super) fn built(inline: &Inline, shared: &Shared) -> Self {
        Self {
            max_attempts: inline.max_attempts,
            backoff: inline.backoff,
            max_hint: Duration::from_nanos(inline.max_hint),
            max_elapsed: shared.max_elapsed,
        }
    }

    pub(super) fn to_words(self) -> [u64; WORDS] {
        let Self { max_attempts, backoff, max_hint, max_elapsed } = self;
        let [base, max, factor, jitter] = backoff.to_words();
        let max_elapsed = max_elapsed.map_or(UNBOUNDED, nanos);
        [max_attempts.into(), base, max, factor, jitter, nanos(max_hint), max_elapsed]
    }

    pub(super) fn from_words(words: [u64; WORDS]) -> Self {
        let [max_attempts, base, max, factor, jitter, max_hint, max_elapsed] = words;
        Self {
            // No truncation: it is stored as a `u32`.
            max_attempts: u32::try_from(max_attempts).unwrap_or(u32::MAX),
            backoff: Backoff::from_words([base, max, factor, jitter]),
            max_hint: Duration::from_nanos(max_hint),
            max_elapsed: (max_elapsed != UNBOUNDED).then(|| Duration::from_nanos(max_elapsed)),
        }
    }
}

/// Checks a number of attempts.
pub(in super::super) fn checked_attempts(max_attempts: u32) -> Result<u32, InvalidSetting> {
    if max_attempts == 0 {
        let expected = "at least 1, which is the first attempt";
        return Err(InvalidSetting::new("max_attempts", max_attempts, expected));
    }
    Ok(max_attempts)
}
