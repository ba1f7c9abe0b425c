//! Permits that a handle acquires, without a request of a service.

use std::{
    error::Error,
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{Event, Limiter, QueueLimits, Refusal, Terms, Waiter};
use crate::{
    rejected::{Reason, Rejected},
    settings::InvalidSetting,
    time::{Nanos, Time},
};

/// The error of acquiring several permits at once.
///
/// Returned by `acquire_many` and `try_acquire_many` of the handle of
/// [either](crate::ConcurrencyBackpressureHandle::acquire_many)
/// [limit](crate::WindowRateLimitHandle::acquire_many). [`Rejected::find`] finds a rejection in it.
///
/// ```
/// use tower_floodgate::{ConcurrencyBackpressureLayer, backpressure::AcquireManyError};
///
/// let handle = ConcurrencyBackpressureLayer::new(3).handle();
/// let AcquireManyError::Invalid(invalid) = handle.try_acquire_many(5).unwrap_err() else {
///     panic!("more than there are")
/// };
/// assert_eq!(
///     invalid.to_string(),
///     "permits is 5: it must be between 1 and 3, the limit: acquire fewer at a time, or raise \
///      the limit",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireManyError {
    /// No permit was asked for, or more than the limit has.
    ///
    /// A wait ends with this error, too, if a change of the limit leaves fewer permits.
    Invalid(InvalidSetting),
    /// The limit has rejected the request.
    Rejected(Rejected),
}

impl AcquireManyError {
    fn invalid(permits: u32, limit: u32) -> Self {
        let expected = if permits == 0 {
            "at least 1".to_owned()
        } else {
            format!("between 1 and {limit}, the limit: acquire fewer at a time, or raise the limit")
        };
        Self::Invalid(InvalidSetting::new("permits", permits, expected))
    }

    /// Returns the rejection of a request for one permit, which is a valid number.
    fn into_rejected(self) -> Rejected {
        match self {
            Self::Rejected(rejected) => rejected,
            Self::Invalid(invalid) => unreachable!("{invalid}"),
        }
    }
}

impl fmt::Display for AcquireManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Rejected(rejected) => rejected.fmt(f),
        }
    }
}

impl Error for AcquireManyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Invalid(_) => None,
            Self::Rejected(rejected) => Some(rejected),
        }
    }
}

/// Permits that their drop releases, or refunds.
pub(crate) struct Held<L: Limiter> {
    limiter: Arc<L>,
    /// Zero once they are taken.
    permits: u32,
}

impl<L: Limiter> Held<L> {
    fn new(limiter: &Arc<L>, permits: u32) -> Self {
        Self { limiter: Arc::clone(limiter), permits }
    }

    pub(crate) const fn permits(&self) -> u32 {
        self.permits
    }

    pub(crate) const fn limiter(&self) -> &Arc<L> {
        &self.limiter
    }

    /// Takes the permits out, so that the drop releases none.
    pub(crate) fn take(&mut self) -> u32 {
        std::mem::take(&mut self.permits)
    }
}

impl<L: Limiter> Drop for Held<L> {
    fn drop(&mut self) {
        if self.permits > 0 {
            self.limiter.release_many(self.permits);
        }
    }
}

/// A permit of a request that is admitted in its call, until the call. Its drop releases it.
pub(crate) struct Unissued<L: Limiter> {
    limiter: Arc<L>,
    permit: Option<L::Permit>,
}

impl<L: Limiter> Unissued<L> {
    fn new(limiter: &Arc<L>, permit: L::Permit) -> Self {
        Self { limiter: Arc::clone(limiter), permit: Some(permit) }
    }

    /// Takes the permit out, so that the drop releases none.
    pub(crate) fn take(mut self) -> L::Permit {
        self.permit.take().expect("taken once")
    }
}

impl<L: Limiter> Drop for Unissued<L> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.limiter.release(permit);
            self.limiter.observer().notify(|| Event::Unused { permits: 1 });
        }
    }
}

/// Acquires a permit that is available now.
pub(crate) fn try_acquire<L: Limiter>(limiter: &Arc<L>) -> Result<Held<L>, Rejected> {
    try_acquire_many(limiter, 1).map_err(AcquireManyError::into_rejected)
}

/// Acquires `permits` that are available now.
pub(crate) fn try_acquire_many<L: Limiter>(
    limiter: &Arc<L>,
    permits: u32,
) -> Result<Held<L>, AcquireManyError> {
    if permits == 0 {
        return Err(AcquireManyError::invalid(permits, limiter.limit()));
    }
    if !limiter.try_acquire_many(permits) {
        limiter.refill();
        if !limiter.try_acquire_many(permits) {
            let limit = limiter.limit();
            return Err(if permits > limit {
                AcquireManyError::invalid(permits, limit)
            } else {
                reject(&**limiter, Reason::QueueFull, permits, &L::Terms::default())
            });
        }
    }
    let held = Held::new(limiter, permits);
    limiter.observer().notify(|| Event::Acquired { permits });
    Ok(held)
}

fn reject<L: Limiter>(
    limiter: &L,
    reason: Reason,
    permits: u32,
    terms: &L::Terms,
) -> AcquireManyError {
    reject_arrival(limiter, reason, None, permits, terms)
}

/// Rejects a request that arrives now, if the `limits` that it is rejected by are given.
fn reject_arrival<L: Limiter>(
    limiter: &L,
    reason: Reason,
    limits: Option<&QueueLimits>,
    permits: u32,
    terms: &L::Terms,
) -> AcquireManyError {
    let rejected = limiter.rejection(reason, limits, permits, terms);
    limiter.observer().notify_rejected(&rejected);
    AcquireManyError::Rejected(rejected)
}

/// The acquisition of permits, which may wait.
///
/// A wait is its future's: unlike that of a [`Readiness`](super::Readiness), it goes on in whatever
/// task polls it, and ends with its drop.
pub(crate) struct Acquiring<L: Limiter> {
    limiter: Arc<L>,
    permits: u32,
    /// The bounds of the layer or the service that the handle was taken from.
    limits: QueueLimits,
    terms: L::Terms,
    /// The wait, from the first poll that finds too few permits.
    waiter: Option<Waiter>,
    is_done: bool,
}

impl<L: Limiter> Acquiring<L> {
    pub(crate) fn new(limiter: &Arc<L>, limits: QueueLimits, permits: u32) -> Self {
        Self::on_terms(limiter, limits, permits, L::Terms::default())
    }

    /// Creates the acquisition of permits for a request with these terms.
    pub(crate) fn on_terms(
        limiter: &Arc<L>,
        limits: QueueLimits,
        permits: u32,
        terms: L::Terms,
    ) -> Self {
        let limiter = Arc::clone(limiter);
        Self { limiter, permits, limits, terms, waiter: None, is_done: false }
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Polls for one permit.
    pub(crate) fn poll_one(&mut self, cx: &mut Context<'_>) -> Poll<Result<Held<L>, Rejected>> {
        self.poll(cx).map_err(AcquireManyError::into_rejected)
    }

    /// Polls for the permits. Pending after the end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Held<L>, AcquireManyError>> {
        let permits = self.permits;
        let held = |limiter: &Arc<L>| Held::new(limiter, permits);
        self.poll_with(
            cx,
            |limiter| limiter.try_acquire_many(permits).then(|| held(limiter)),
            |limiter, _| held(limiter),
        )
    }

    /// Polls for the permit of a request that is admitted in its call. Pending after the end.
    pub(crate) fn poll_unissued(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Unissued<L>, Rejected>> {
        self.poll_with(
            cx,
            |limiter| limiter.try_acquire().map(|permit| Unissued::new(limiter, permit)),
            Unissued::new,
        )
        .map_err(AcquireManyError::into_rejected)
    }

    /// Polls for the permits, of which `try_acquire` makes a guard, or `guard` after a wait.
    fn poll_with<G>(
        &mut self,
        cx: &mut Context<'_>,
        try_acquire: impl Fn(&Arc<L>) -> Option<G>,
        guard: impl Fn(&Arc<L>, L::Permit) -> G,
    ) -> Poll<Result<G, AcquireManyError>> {
        if self.is_done {
            return Poll::Pending;
        }
        let result = ready!(self.poll_permits(cx, try_acquire, guard));
        (self.waiter, self.is_done) = (None, true);
        Poll::Ready(result)
    }

    fn poll_permits<G>(
        &mut self,
        cx: &mut Context<'_>,
        try_acquire: impl Fn(&Arc<L>) -> Option<G>,
        guard: impl Fn(&Arc<L>, L::Permit) -> G,
    ) -> Poll<Result<G, AcquireManyError>> {
        let Self { limiter, permits, limits, terms, waiter, .. } = self;
        let (limiter, permits, observer) = (&*limiter, *permits, limiter.observer());
        if permits == 0 {
            return Poll::Ready(Err(AcquireManyError::invalid(permits, limiter.limit())));
        }
        let done_by = terms.done_by();
        if waiter.is_none() {
            if done_by != Nanos::NEVER && limiter.clock().has_come(done_by) {
                return Poll::Ready(Err(reject(&**limiter, Reason::TooLate, permits, terms)));
            }
            let mut held = try_acquire(limiter);
            if held.is_none() && limiter.bounds().are_set() {
                // So that no lock is taken for permits that have expired.
                limiter.refill();
                held = try_acquire(limiter);
            }
            if let Some(held) = held {
                observer.notify(|| Event::Acquired { permits });
                return Poll::Ready(Ok(held));
            }
        }
        loop {
            let in_force = limiter.bounds().in_force(*limits);
            // The waiter stays in its place until the outcome is known, because wakers and timers
            // may panic.
            let waiting = waiter.get_or_insert_with(|| {
                Waiter::new(&in_force, done_by, limiter.clock(), cx.waker())
            });
            let was_queued = waiting.key.is_some();
            match limiter.poll_acquire(waiting, permits, &in_force, terms, cx) {
                Poll::Pending => {
                    if !was_queued {
                        observer.notify(|| Event::Queued);
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(permit)) => {
                    let held = guard(limiter, permit);
                    let since = waiting.since;
                    observer.notify(|| {
                        if was_queued {
                            let queued_for = limiter.clock().now().since(since);
                            Event::AcquiredAfterWait { permits, queued_for }
                        } else {
                            Event::Acquired { permits }
                        }
                    });
                    return Poll::Ready(Ok(held));
                }
                Poll::Ready(Err(Refusal::Rejected(_)))
                    if !was_queued && limiter.bounds().in_force(*limits) != in_force =>
                {
                    *waiter = None;
                }
                Poll::Ready(Err(Refusal::Rejected(reason))) => {
                    let limits = (!was_queued).then_some(&in_force);
                    let rejected = reject_arrival(&**limiter, reason, limits, permits, terms);
                    return Poll::Ready(Err(rejected));
                }
                Poll::Ready(Err(Refusal::TooMany { limit })) => {
                    if was_queued {
                        observer.notify(|| Event::Cancelled);
                    }
                    return Poll::Ready(Err(AcquireManyError::invalid(permits, limit)));
                }
            }
        }
    }
}

/// Leaves the queue, and releases permits that were granted meanwhile.
impl<L: Limiter> Drop for Acquiring<L> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        let was_queued = waiter.key.is_some();
        self.limiter.cancel(waiter);
        if was_queued {
            self.limiter.observer().notify(|| Event::Cancelled);
        }
    }
}

/// Defines the futures of a limit's handle: `Acquire` and `AcquireMany`.
macro_rules! acquire_futures {
    ($limiter:ty, $permit:ident, $handle:literal, $waits:literal) => {
        acquire_futures!(
            #[doc = concat!("The future of [`acquire`](crate::", $handle, "::acquire).")]
            #[doc = $waits]
            Acquire(poll_one) -> Result<$permit, crate::Rejected>, $limiter, $permit
        );
        acquire_futures!(
            #[doc = concat!("The future of [`acquire_many`](crate::", $handle, "::acquire_many).")]
            #[doc = $waits]
            AcquireMany(poll) -> Result<$permit, crate::limiter::AcquireManyError>,
            $limiter, $permit
        );
    };
    (
        $(#[$doc:meta])*
        $name:ident($poll:ident) -> $output:ty, $limiter:ty, $permit:ident
    ) => {
        $(#[$doc])*
        ///
        /// The request arrives at the first poll. A drop leaves the queue, and releases permits
        /// that were granted meanwhile. After the end, the future is terminated, and a poll of it
        /// is pending for good.
        #[must_use = "futures do nothing unless polled"]
        pub struct $name(crate::limiter::Acquiring<$limiter>);

        impl std::future::Future for $name {
            type Output = $output;

            fn poll(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<$output> {
                self.0.$poll(cx).map_ok($permit)
            }
        }

        impl futures_util::future::FusedFuture for $name {
            fn is_terminated(&self) -> bool {
                self.0.is_done()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut fields = f.debug_struct(stringify!($name));
                fields.field("is_done", &self.0.is_done()).finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use acquire_futures;
