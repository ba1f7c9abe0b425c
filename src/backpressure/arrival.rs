//! CORE: whether an arrival may queue, by its position and the pace (pure).
//!
//! ```text
//! arrival, no permit free:
//!     deadline has passed:                    reject, TooLate
//!     closed:                                 reject, Closed
//!     queue as long as the share of its class: reject, QueueFull
//!     queue empty, or pace unknown:           queue
//!     wait > max_wait:                        reject, WaitTimeout, retry after the excess
//!     wait / share + p95 > time left:         reject, TooLate, retry after share * excess
//!     queue
//! ```
//!
//! The excess assumes that nothing else arrives, so it is a lower bound. The wait shrinks by a
//! second each second then, and the wait by which a class is judged by 1 / share of that. If the
//! time in service alone is longer than the time left, no wait is short enough, and the rejection
//! has no time.

use std::time::Duration;

use crate::{limiter::QueueLimits, rejected::Reason, semaphore::View, time::Nanos};

/// The terms of one request, as the queue sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// The time by which the request is to be done; [`Nanos::NEVER`] for none.
    pub(crate) done_by: Nanos,
    pub(crate) share: Share,
}

impl Ask {
    /// Any time will do, and any position of the queue.
    pub(crate) const PLAIN: Self = Self { done_by: Nanos::NEVER, share: Share::WHOLE };
}

/// A share of the queue: above 0, and at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl Share {
    pub(crate) const WHOLE: Self = Self(1.0);

    /// Returns the number of waiters at which the queue is full: rounded down, and at least 1 of a
    /// queue that has any.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and `max_queue`"
    )]
    fn of(self, max_queue: u32) -> u32 {
        // 0.29 of 100 is 28.999...: a millionth is added for that.
        let waiters = (f64::from(max_queue) * self.0 + 1e-6) as u32;
        waiters.clamp(1.min(max_queue), max_queue)
    }

    /// Returns the time in which a wait that is [stretched](Self::stretch) shrinks by `excess`.
    fn shrink(self, excess: Duration) -> Duration {
        if self == Self::WHOLE { excess } else { excess.mul_f64(self.0) }
    }

    /// Returns the wait by which a request with this share is judged.
    fn stretch(self, wait: Duration) -> Duration {
        if self == Self::WHOLE {
            return wait;
        }
        Duration::try_from_secs_f64(wait.as_secs_f64() / self.0).unwrap_or(Duration::MAX)
    }
}

/// The reason for which an arrival is rejected, and the time after which it would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) reason: Reason,
    pub(crate) after: Option<Duration>,
}

impl From<Reason> for Unfit {
    fn from(reason: Reason) -> Self {
        Self { reason, after: None }
    }
}

/// Decides whether a request may queue.
///
/// `wait` returns the predicted wait, if there is one, and `reserve` the time in service that has
/// to be left. `now` is called for a request that is to be done by a time.
pub(crate) fn decide(
    ask: &Ask,
    limits: &QueueLimits,
    view: View,
    wait: impl FnOnce() -> Option<Duration>,
    reserve: impl FnOnce() -> Duration,
    now: impl FnOnce() -> Nanos,
) -> Result<(), Unfit> {
    let has_end = ask.done_by != Nanos::NEVER;
    let left = if has_end { ask.done_by.since(now()) } else { Duration::MAX };
    if left.is_zero() {
        return Err(Reason::TooLate.into());
    }
    limits.map_max_queue(|max_queue| ask.share.of(max_queue)).admit(view)?;
    if limits.has_zero_wait() {
        return Err(Reason::WaitTimeout.into());
    }
    let max_wait = limits.max_wait();
    if !has_end && max_wait.is_none() {
        return Ok(());
    }
    let Some(wait) = wait() else { return Ok(()) };
    if let Some(excess) = max_wait.and_then(|max_wait| wait.checked_sub(max_wait)) {
        if !excess.is_zero() {
            return Err(Unfit { reason: Reason::WaitTimeout, after: Some(excess) });
        }
    }
    if has_end {
        let reserve = reserve();
        let needed = ask.share.stretch(wait).saturating_add(reserve);
        if needed > left {
            let after = (reserve <= left).then(|| ask.share.shrink(needed - left));
            return Err(Unfit { reason: Reason::TooLate, after });
        }
    }
    Ok(())
}
