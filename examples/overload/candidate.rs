//! The candidates: a server without a limit, and the limits before it.

use std::fmt::{self, Debug};

use axum::Router;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, backpressure::ConcurrencyBackpressureHandle,
    server::http_rejection,
};

use super::bottleneck::Kind;

/// Requests that wait for a permit. A length that was chosen well: with a tenth of the capacity the
/// last of them is still in time.
const QUEUE: u32 = 20;
/// A guess that is wrong: so many requests at a time take longer than the deadline.
const TOO_HIGH: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    Unlimited,
    /// The least limit with which the bottleneck is fully used.
    Fixed,
    /// A multiple of it.
    FixedTooHigh,
}

impl Candidate {
    /// Returns the candidates in groups that run at the same time.
    pub(crate) const fn groups(kind: Kind) -> &'static [&'static [Self]] {
        match kind {
            Kind::Sleep => &[&[Self::Unlimited, Self::FixedTooHigh], &[Self::Fixed]],
            // A thread each is too much for a small machine.
            Kind::Computation => &[&[Self::Unlimited], &[Self::FixedTooHigh], &[Self::Fixed]],
        }
    }

    pub(crate) const fn is_adaptive(self) -> bool {
        false
    }

    pub(crate) fn name(self, kind: Kind) -> String {
        match self {
            Self::Unlimited => "no limit".to_owned(),
            Self::Fixed => format!("fixed, {}", kind.knee()),
            Self::FixedTooHigh => format!("fixed, {}", kind.knee() * TOO_HIGH),
        }
    }

    /// Puts the limit on the routes.
    pub(crate) fn limit(self, kind: Kind, routes: Router) -> Limited {
        let fixed = |limit| {
            let layer = ConcurrencyBackpressureLayer::new(limit).max_queue(QUEUE);
            let handle = layer.handle();
            Limited::new(routes.clone().layer(layer.reject_with(http_rejection)), handle)
        };
        match self {
            Self::Unlimited => Limited { app: routes.clone(), limit: Box::new(|| None) },
            Self::Fixed => fixed(kind.knee()),
            Self::FixedTooHigh => fixed(kind.knee() * TOO_HIGH),
        }
    }
}

/// A server with its limit, and a reading of the limit.
pub(crate) struct Limited {
    pub(crate) app: Router,
    pub(crate) limit: Box<dyn Fn() -> Option<u32> + Send>,
}

impl Limited {
    fn new(app: Router, handle: ConcurrencyBackpressureHandle) -> Self {
        Self { app, limit: Box::new(move || Some(handle.limit())) }
    }
}

impl Debug for Limited {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Limited").field("limit", &(self.limit)()).finish_non_exhaustive()
    }
}
