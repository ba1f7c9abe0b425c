//! Terms of a request: its deadline and its class, and the layers that ask for them.

mod by_request;
mod layer;
mod limiter;
mod shares;
mod with_terms;

use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "server")]
pub(crate) use self::limiter::{Measured, TermsLimiter};
pub use self::{
    by_request::{ByRequest, ByRequestFuture, ReadTerms},
    layer::{ByRequestLayer, TermsLayer},
    with_terms::TermsBackpressure,
};
pub use crate::class::Class;
use crate::{
    current_deadline,
    time::{Clock, Nanos, Time, TimerUse},
};

const READYING: TimerUse = TimerUse {
    what: "ConcurrencyBackpressureLayer: a request with a deadline, while its service is not ready",
    otherwise: "leave deadlines out",
};

/// The deadline and the class of one request. See [deadlines](crate::backpressure#deadlines) and
/// [classes](crate::backpressure#classes).
///
/// The default has neither. A request without a class may fill the whole queue, so give one to each
/// request where some have one.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::backpressure::{Class, Terms};
///
/// let terms = Terms::new().deadline(Duration::from_millis(250)).class(Class::Critical);
/// # let _ = terms;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    left: Option<Duration>,
    at: Option<Instant>,
    class: Option<Class>,
}

impl Terms {
    /// Creates terms without a deadline and without a class.
    #[must_use]
    pub const fn new() -> Self {
        Self { left: None, at: None, class: None }
    }

    /// Sets the time in which the request is to be done, counted from its arrival at the layer.
    ///
    /// Takes a `Duration`, or an `Option` of one as `GrpcTimeout` and other
    /// [readers](crate::deadline::ReadDeadline) return it. A time of zero rejects the request. One
    /// beyond the range of the clock, some centuries, sets no deadline.
    #[must_use]
    pub fn deadline(self, left: impl Into<Option<Duration>>) -> Self {
        Self { left: left.into(), ..self }
    }

    /// Sets the time by which the request is to be done.
    ///
    /// With a [`deadline`](Self::deadline) too, the earlier one counts.
    #[must_use]
    pub fn deadline_at(self, at: impl Into<Option<Instant>>) -> Self {
        Self { at: at.into(), ..self }
    }

    /// Sets the class.
    #[must_use]
    pub const fn class(self, class: Class) -> Self {
        Self { class: Some(class), ..self }
    }

    /// Returns the terms of a request that arrives now. The [current
    /// deadline](crate::deadline::current) is one of them.
    fn of_arrival(self, clock: &Clock) -> ArrivalTerms {
        let left = self.left.map_or(Nanos::NEVER, |left| clock.now().after(left));
        let at = current_deadline::earliest(self.at, current_deadline::current());
        let at = at.map_or(Nanos::NEVER, |at| clock.read(at));
        ArrivalTerms { done_by: left.min(at), class: self.class }
    }
}

/// The terms of a request that has arrived.
#[derive(Clone, Copy)]
pub(crate) struct ArrivalTerms {
    done_by: Nanos,
    class: Option<Class>,
}

impl Default for ArrivalTerms {
    fn default() -> Self {
        Self { done_by: Nanos::NEVER, class: None }
    }
}

impl crate::limiter::Terms for ArrivalTerms {
    const READYING: &TimerUse = &READYING;

    #[inline]
    fn done_by(&self) -> Nanos {
        self.done_by
    }
}
