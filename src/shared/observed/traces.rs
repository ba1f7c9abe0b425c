//! Traces of the events between a process and the store of a quota.
//!
//! They come from the driver, which is in no span. An event that may cost the limit or the
//! requests is a WARN: it is the effect of no setting, and reaches no caller as an error if the
//! requests pass. Each is told once per change: an outage has one of its begin and one of its end,
//! however many requests and probes fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tracing::{debug, info, trace, warn};

use crate::{
    shared::{
        StoreError,
        agent::{Remark, Terms},
    },
    time::{Clock, Time},
};

const TARGET: &str = "tower_floodgate";

/// The keys of a quota notice one event of their store within a time of each other.
const ONCE_IN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
pub(super) enum Event<'a> {
    Replied {
        code: &'a str,
        took: Duration,
    },
    Failed {
        error: &'a StoreError,
        is_new: bool,
    },
    CameBack {
        away_for: Duration,
    },
    /// `terms` are those of this process: the store does not tell the other ones.
    Remark {
        remark: Remark,
        terms: &'a Terms,
    },
    /// In the span of the caller.
    IssuedLate,
}

/// The sink of a quota, or of those of all keys. All flags and times are `Relaxed`: they order
/// nothing.
#[derive(Debug)]
pub(super) struct Traces {
    quota: Arc<str>,
    kind: &'static str,
    /// Of a sink of keys.
    keys: Option<Keys>,
    /// Other terms have been reported, and those of this process are the same since.
    has_told_terms: AtomicBool,
    /// A missing right has been reported.
    has_told_right: AtomicBool,
}

/// The events that the keys of a quota have in common.
#[derive(Debug)]
struct Keys {
    clock: Clock,
    is_away: AtomicBool,
    epoch_changed: Last,
    clock_step: Last,
}

/// The time at which an event was told last, in nanoseconds; zero at first.
#[derive(Debug, Default)]
struct Last(AtomicU64);

impl Last {
    fn may_tell(&self, clock: Clock) -> bool {
        let now = clock.now().get().max(1);
        let once_in = u64::try_from(ONCE_IN.as_nanos()).unwrap_or(u64::MAX);
        let is_due = |last| last == 0 || now.saturating_sub(last) >= once_in;
        self.0.fetch_update(Relaxed, Relaxed, |last| is_due(last).then_some(now)).is_ok()
    }
}

impl Traces {
    /// `clock` is that of keys.
    pub(super) fn new(quota: Arc<str>, kind: &'static str, clock: Option<Clock>) -> Self {
        let keys = clock.map(|clock| Keys {
            clock,
            is_away: AtomicBool::new(false),
            epoch_changed: Last::default(),
            clock_step: Last::default(),
        });
        let [has_told_terms, has_told_right] = [const { AtomicBool::new(false) }; 2];
        Self { quota, kind, keys, has_told_terms, has_told_right }
    }

    pub(super) fn terms_changed(&self) {
        self.has_told_terms.store(false, Relaxed);
    }

    /// Traces an event of the limit of this name, which is no field without one.
    pub(super) fn record(&self, limiter: Option<&str>, event: Event<'_>) {
        let (quota, kind) = (&*self.quota, self.kind);
        match event {
            Event::Replied { code, took } => {
                let took = took.as_secs_f64();
                trace!(target: TARGET, limiter, kind, quota, code, took, "store request");
            }
            Event::Failed { error, is_new } => self.failed(limiter, error, is_new),
            Event::CameBack { away_for } => {
                if self.keys.as_ref().is_none_or(|keys| keys.is_away.swap(false, Relaxed)) {
                    let away_for = away_for.as_secs_f64();
                    info!(target: TARGET, limiter, kind, quota, away_for, "store back");
                }
            }
            Event::Remark { remark, terms } => self.remark(limiter, remark, terms),
            Event::IssuedLate => debug!(target: TARGET, limiter, kind, quota, "issued late"),
        }
    }

    fn failed(&self, limiter: Option<&str>, error: &StoreError, is_new: bool) {
        let (quota, kind) = (&*self.quota, self.kind);
        let is_first = |keys: &Keys| !keys.is_away.swap(true, Relaxed);
        if is_new && self.keys.as_ref().is_none_or(is_first) {
            let code = error.code();
            warn!(target: TARGET, limiter, kind, quota, code, %error, "store away");
        }
        // An outage may begin by another error.
        if error.code() == "no_permission" && !self.has_told_right.swap(true, Relaxed) {
            let remedy = "grant the user of the connection the rights that the store needs";
            warn!(
                target: TARGET, limiter, kind, quota, %error, remedy,
                "store denies a right"
            );
        }
    }

    fn remark(&self, limiter: Option<&str>, remark: Remark, terms: &Terms) {
        let (quota, kind) = (&*self.quota, self.kind);
        let may_tell = |last: fn(&Keys) -> &Last| {
            self.keys.as_ref().is_none_or(|keys| last(keys).may_tell(keys.clock))
        };
        match remark {
            Remark::EpochChanged if may_tell(|keys| &keys.epoch_changed) => {
                warn!(target: TARGET, limiter, kind, quota, "epoch changed");
            }
            Remark::ClockStep(step) if may_tell(|keys| &keys.clock_step) => {
                let step = step.as_secs_f64();
                warn!(target: TARGET, limiter, kind, quota, step, "store clock set ahead");
            }
            // Each reply tells of them while two processes ask in turns.
            Remark::OtherTerms if !self.has_told_terms.swap(true, Relaxed) => {
                let (limit, window) = (terms.limit, terms.window.as_secs_f64());
                warn!(target: TARGET, limiter, kind, quota, limit, window, "other terms");
            }
            Remark::EpochChanged | Remark::ClockStep(_) | Remark::OtherTerms => {}
        }
    }
}
