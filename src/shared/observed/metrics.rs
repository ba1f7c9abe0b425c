//! Metrics of the requests to a store and of its outages, recorded as they happen.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ::metrics::{Counter, Histogram, Label};

use crate::{
    limiter::labels,
    metric::{LateHandle, Metric},
};

const REQUESTS: Metric = Metric::count(
    "floodgate_store_requests_total",
    "Requests to the store of a shared quota that have ended, by code.",
);
const REQUEST: Metric = Metric::seconds(
    "floodgate_store_request_seconds",
    "Time from a request to the store of a shared quota to its reply.",
);
const OUTAGES: Metric = Metric::count(
    "floodgate_store_outages_total",
    "Times that the store of a shared quota went away.",
);
const OUTAGE: Metric = Metric::seconds(
    "floodgate_store_outage_seconds",
    "Time that the store of a shared quota was away, once it is back.",
);

/// The handles of one limit.
pub(super) struct Metrics {
    requests: Codes,
    request: LateHandle<Histogram>,
    outages: LateHandle<Counter>,
    outage: LateHandle<Histogram>,
}

impl Metrics {
    pub(super) fn new(name: &Arc<str>, kind: &'static str) -> Self {
        let labels = labels(name, kind);
        let this = Self {
            request: LateHandle::unregistered(REQUEST, &labels),
            outages: LateHandle::unregistered(OUTAGES, &labels),
            outage: LateHandle::unregistered(OUTAGE, &labels),
            requests: Codes::new(labels),
        };
        this.register();
        this
    }

    /// Registers the metrics that are not yet, and have values before their first event.
    pub(super) fn register(&self) {
        self.requests.known.iter().for_each(LateHandle::register);
        self.request.register();
        self.outages.register();
        self.outage.register();
    }

    /// `round_trip` is that of a request that had a reply.
    pub(super) fn replied(&self, code: &str, round_trip: Option<Duration>) {
        self.requests.of(code).with(|requests| requests.increment(1));
        if let Some(round_trip) = round_trip {
            self.request.with(|request| request.record(round_trip));
        }
    }

    pub(super) fn went_away(&self) {
        self.outages.with(|outages| outages.increment(1));
    }

    pub(super) fn came_back(&self, away_for: Duration) {
        self.outage.with(|outage| outage.record(away_for));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The codes of a good reply and of the driver's own errors.
const KNOWN: [&str; 3] = ["ok", "timeout", "invalid_reply"];

/// The most codes of a store that are told apart.
const MAX_FURTHER: usize = 16;

/// The code of all that come after these: a store might make codes of texts.
const OTHER: &str = "other";

/// Counters by code.
struct Codes {
    known: [LateHandle<Counter>; KNOWN.len()],
    /// Those of the store, in the order of their first events.
    further: [OnceLock<(Box<str>, LateHandle<Counter>)>; MAX_FURTHER],
    other: LateHandle<Counter>,
    labels: [Label; 2],
}

impl Codes {
    fn new(labels: [Label; 2]) -> Self {
        Self {
            known: KNOWN.map(|code| handle(&labels, code)),
            further: [const { OnceLock::new() }; MAX_FURTHER],
            other: handle(&labels, OTHER),
            labels,
        }
    }

    fn of(&self, code: &str) -> &LateHandle<Counter> {
        if let Some(at) = KNOWN.iter().position(|known| *known == code) {
            return &self.known[at];
        }
        let new = || (code.into(), handle(&self.labels, code));
        let further = self.further.iter().map(|slot| slot.get_or_init(new));
        further.into_iter().find(|(of, _)| **of == *code).map_or(&self.other, |(_, of)| of)
    }
}

fn handle([limiter, kind]: &[Label; 2], code: &str) -> LateHandle<Counter> {
    let code = Label::new("code", code.to_owned());
    LateHandle::unregistered(REQUESTS, &[limiter.clone(), kind.clone(), code])
}
