//! The figures of a span of a run.

use std::{ops::Range, time::Duration};

use super::{
    load::{End, Importance, Outcome},
    run::Run,
    scene::DEADLINE,
};

/// Figures of the requests that arrived in a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Requests per second.
    pub(crate) offered: f64,
    /// Responses in time, per second.
    pub(crate) goodput: f64,
    /// Of the requests that were not rejected, if any; of a dropped one, the time until its drop.
    pub(crate) median: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    /// Shares of the requests: rejected, and neither rejected nor in time.
    pub(crate) rejected: f64,
    pub(crate) late: f64,
    /// The mean limit.
    pub(crate) limit: Option<f64>,
}

impl Figures {
    pub(crate) fn of(run: &Run, span: &Range<Duration>) -> Self {
        Self::among(run, span, |_| true)
    }

    pub(crate) fn of_class(run: &Run, span: &Range<Duration>, class: Importance) -> Self {
        Self::among(run, span, |outcome| outcome.arrival.importance == class)
    }

    fn among(run: &Run, span: &Range<Duration>, of: impl Fn(&Outcome) -> bool) -> Self {
        let mut latencies = Vec::new();
        let (mut all, mut good, mut rejected) = (0, 0, 0);
        let inside = run.outcomes.iter().filter(|outcome| span.contains(&outcome.arrival.at));
        for outcome in inside.filter(|outcome| of(outcome)) {
            all += 1;
            good += u32::from(outcome.end == End::Done && outcome.latency <= DEADLINE);
            match outcome.end {
                End::Rejected => rejected += 1,
                End::Done | End::Dropped => latencies.push(outcome.latency),
                End::Lost => {}
            }
        }
        latencies.sort_unstable();
        let quantile = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            latencies.get(index).or(latencies.last()).copied()
        };
        let limits = run.limits.iter().filter(|(at, _)| span.contains(at));
        let limits: Vec<f64> = limits.map(|&(_, limit)| f64::from(limit)).collect();
        let seconds = (span.end - span.start).as_secs_f64();
        let share = |count: u32| f64::from(count) / f64::from(all.max(1));
        Self {
            offered: f64::from(all) / seconds,
            goodput: f64::from(good) / seconds,
            median: quantile(0.5),
            p99: quantile(0.99),
            rejected: share(rejected),
            late: share(all - rejected - good),
            limit: (!limits.is_empty()).then(|| limits.iter().sum::<f64>() / limits.len() as f64),
        }
    }

    /// Returns the share of the requests that are in time.
    pub(crate) fn in_time(&self) -> f64 {
        1.0 - self.rejected - self.late
    }
}
