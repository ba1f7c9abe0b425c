//! The issues of all processes, and the most of them in any span.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

/// The issues of all processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Issues(Arc<Mutex<Vec<Issue>>>);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Issue {
    /// In nanoseconds since the start of the scene.
    pub(crate) at: u64,
    pub(crate) process: usize,
    /// The number of the request in its process.
    pub(crate) request: u64,
}

impl Issues {
    pub(crate) fn record(&self, at: Duration, process: usize, request: u64) {
        let at = u64::try_from(at.as_nanos()).unwrap();
        self.0.lock().unwrap().push(Issue { at, process, request });
    }

    /// All issues, in the order of their records: by time.
    pub(crate) fn all(&self) -> Vec<Issue> {
        self.0.lock().unwrap().clone()
    }

    fn times(&self) -> Vec<u64> {
        self.all().into_iter().map(|issue| issue.at).collect()
    }

    /// The issues of one process.
    pub(crate) fn of(&self, process: usize) -> Self {
        let mut issues = self.all();
        issues.retain(|issue| issue.process == process);
        Self(Arc::new(Mutex::new(issues)))
    }

    /// The issues from a time on.
    pub(crate) fn since(&self, start: Duration) -> Self {
        let mut issues = self.all();
        issues.retain(|issue| u128::from(issue.at) >= start.as_nanos());
        Self(Arc::new(Mutex::new(issues)))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
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

    /// The share of the permits that was used: over whole windows of `limit` issues from the last
    /// of the first window on, however these lie in time.
    pub(crate) fn used_share(&self, limit: u32, window: Duration) -> f64 {
        let (times, limit) = (self.times(), limit as usize);
        let windows = (times.len() / limit).saturating_sub(1);
        if windows == 0 {
            return 0.0;
        }
        let took = times[(windows + 1) * limit - 1] - times[limit - 1];
        windows as f64 * window.as_nanos() as f64 / took as f64
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
    use crate::hold::{hold, name_of};

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
        let test = |(mut times, span): (Vec<u64>, u64)| {
            times.sort();
            let count = |from: u64| times.iter().filter(|&&t| t >= from && t < from + span).count();
            let most = (0..60).map(count).max().unwrap();
            prop_assert_eq!(most_in_any_span(&times, Duration::from_nanos(span)), most);
            Ok(times.len())
        };
        hold(file!(), name_of(&test), cases, test);
    }

    #[test]
    fn d3_used_share_is_that_of_whole_windows() {
        let issues = Issues::default();
        let second = Duration::from_secs(1);
        for millis in [0, 500, 1250, 1750, 2500, 3000, 3700] {
            assert_eq!(issues.used_share(2, second), if millis < 2500 { 0.0 } else { 0.8 });
            issues.record(Duration::from_millis(millis), 0, 0);
        }
        assert_eq!(issues.within(second..2 * second), 2);
    }
}
