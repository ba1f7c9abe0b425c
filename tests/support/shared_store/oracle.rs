//! The issues of all processes, and the most of them in any span.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

/// The issues of all processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Issues(Arc<Mutex<Vec<Issue>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Issue {
    /// In nanoseconds since the start of the scene.
    pub(crate) at: u64,
    pub(crate) process: usize,
}

impl Issues {
    pub(crate) fn record(&self, at: Duration, process: usize) {
        let at = u64::try_from(at.as_nanos()).unwrap();
        self.0.lock().unwrap().push(Issue { at, process });
    }

    pub(crate) fn all(&self) -> Vec<Issue> {
        let mut issues = self.0.lock().unwrap().clone();
        issues.sort();
        issues
    }

    fn times(&self) -> Vec<u64> {
        self.all().into_iter().map(|issue| issue.at).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn of(&self, process: usize) -> usize {
        self.all().iter().filter(|issue| issue.process == process).count()
    }

    /// The most issues in any half-open span of a length.
    pub(crate) fn most_in_any_span(&self, span: Duration) -> usize {
        most_in_any_span(&self.times(), span)
    }

    /// The issues in a half-open span.
    pub(crate) fn within(&self, span: Range<Duration>) -> usize {
        let (start, end) = (span.start.as_nanos(), span.end.as_nanos());
        self.times().iter().filter(|&&at| (start..end).contains(&at.into())).count()
    }

    /// The share of the permits of a span that was used, with `limit` permits in a `window`.
    pub(crate) fn used_share(&self, limit: u32, window: Duration, span: Range<Duration>) -> f64 {
        let windows = (span.end - span.start).div_duration_f64(window);
        self.within(span) as f64 / (f64::from(limit) * windows)
    }
}

/// Returns the most of the ascending `times` in any half-open span of a length: one that begins
/// with an issue holds the most.
pub(crate) fn most_in_any_span(times: &[u64], span: Duration) -> usize {
    assert!(times.is_sorted());
    let span = u64::try_from(span.as_nanos()).unwrap();
    let inside = |(before, from): (usize, &u64)| {
        times.partition_point(|&time| time < from.saturating_add(span)) - before
    };
    times.iter().enumerate().map(inside).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Issues, most_in_any_span};
    use crate::hold::hold;

    #[test]
    fn d1_span_is_half_open() {
        let span = Duration::from_nanos(10);
        assert_eq!(most_in_any_span(&[], span), 0);
        assert_eq!(most_in_any_span(&[0, 10], span), 1);
        assert_eq!(most_in_any_span(&[0, 9], span), 2);
        assert_eq!(most_in_any_span(&[0, 10, 10, 19, 20], span), 3);
    }

    #[test]
    fn d1_most_in_any_span_agrees_with_a_count_at_every_time() {
        let cases = (proptest::collection::vec(0..60_u64, 0..40), 1..30_u64);
        hold(file!(), "spans", cases, |(mut times, span)| {
            times.sort();
            let count = |from: u64| times.iter().filter(|&&t| t >= from && t < from + span).count();
            let most = (0..60).map(count).max().unwrap();
            prop_assert_eq!(most_in_any_span(&times, Duration::from_nanos(span)), most);
            Ok(times.len())
        });
    }

    #[test]
    fn d3_used_share_counts_the_issues_of_the_span_only() {
        let issues = Issues::default();
        for millis in [0, 500, 1000, 1500, 2000] {
            issues.record(Duration::from_millis(millis), 0);
        }
        let second = Duration::from_secs(1);
        assert_eq!(issues.used_share(4, second, second..2 * second), 0.5);
        assert_eq!(issues.within(second..2 * second), 2);
    }
}
