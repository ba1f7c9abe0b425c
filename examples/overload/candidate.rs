//! The candidates: a server without a limit, and the limits before it.

use std::{
    fmt::{self, Debug},
    time::Duration,
};

use axum::{Router, extract::Request};
use tower_floodgate::{
    ConcurrencyBackpressureLayer,
    backpressure::{Adaptive, Class, ConcurrencyBackpressureHandle, Terms},
    server::http_rejection,
};

use super::{
    bottleneck::Kind,
    load::{CLASS, TIME_LEFT},
};

/// Requests that wait for a permit. A length that was chosen well: with a tenth of the capacity the
/// last of them is still in time.
const QUEUE: u32 = 20;
/// With deadlines, any length will do.
const QUEUE_OF_TERMS: u32 = 200;
/// A guess that is wrong: so many requests at a time take longer than the deadline.
const TOO_HIGH: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    Unlimited,
    /// The least limit with which the bottleneck is fully used.
    Fixed,
    /// A multiple of it.
    FixedTooHigh,
    Adaptive,
    AdaptiveTerms,
}

impl Candidate {
    /// Returns the candidates in groups that run at the same time, of a short run in fewer.
    pub(crate) const fn groups(kind: Kind, is_short: bool) -> &'static [&'static [Self]] {
        use Candidate::{Adaptive, AdaptiveTerms, Fixed, FixedTooHigh, Unlimited};
        match (kind, is_short) {
            (Kind::Sleep, false) => {
                &[&[Unlimited, FixedTooHigh], &[Fixed, Adaptive], &[AdaptiveTerms]]
            }
            (Kind::Sleep, true) => &[&[Unlimited, FixedTooHigh], &[Fixed, Adaptive, AdaptiveTerms]],
            // A processor for each is too much for a small machine.
            (Kind::Computation, _) => {
                &[&[Unlimited], &[FixedTooHigh], &[Fixed], &[Adaptive], &[AdaptiveTerms]]
            }
        }
    }

    pub(crate) const fn is_adaptive(self) -> bool {
        matches!(self, Self::Adaptive | Self::AdaptiveTerms)
    }

    pub(crate) const fn has_classes(self) -> bool {
        matches!(self, Self::AdaptiveTerms)
    }

    pub(crate) fn name(self, kind: Kind) -> String {
        match self {
            Self::Unlimited => "no limit".to_owned(),
            Self::Fixed => format!("fixed, {}", kind.knee()),
            Self::FixedTooHigh => format!("fixed, {}", kind.knee() * TOO_HIGH),
            Self::Adaptive => "adaptive".to_owned(),
            Self::AdaptiveTerms => "adaptive, deadlines, classes".to_owned(),
        }
    }

    /// Puts the limit on the routes.
    pub(crate) fn limit(self, kind: Kind, routes: Router) -> Limited {
        let fixed = |limit| {
            let layer = ConcurrencyBackpressureLayer::new(limit).max_queue(QUEUE);
            let handle = layer.handle();
            (layer.reject_with(http_rejection), handle)
        };
        // It begins at 20, and searches from 1 to 1,000.
        let adaptive = || ConcurrencyBackpressureLayer::adaptive(Adaptive::new());
        match self {
            Self::Unlimited => Limited { app: routes, limit: Box::new(|| None) },
            Self::Fixed => {
                let (layer, handle) = fixed(kind.knee());
                Limited::new(routes.layer(layer), handle)
            }
            Self::FixedTooHigh => {
                let (layer, handle) = fixed(kind.knee() * TOO_HIGH);
                Limited::new(routes.layer(layer), handle)
            }
            Self::Adaptive => {
                let layer = adaptive().max_queue(QUEUE);
                let handle = layer.handle();
                Limited::new(routes.layer(layer.reject_with(http_rejection)), handle)
            }
            Self::AdaptiveTerms => {
                let layer = adaptive().max_queue(QUEUE_OF_TERMS);
                let handle = layer.handle();
                let layer = layer.by_request(terms).reject_with(http_rejection);
                Limited::new(routes.layer(layer), handle)
            }
        }
    }
}

/// Reads the terms of a request. A server takes the class from a source that it trusts, such as the
/// account or the route.
fn terms(request: &Request) -> Terms {
    let header = |name| request.headers().get(name)?.to_str().ok();
    let left = header(TIME_LEFT).and_then(|left| left.parse().ok()).map(Duration::from_millis);
    let class = match header(CLASS) {
        Some("critical") => Class::Critical,
        Some("sheddable") => Class::Sheddable,
        _ => Class::Normal,
    };
    Terms::new().deadline(left).class(class)
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
