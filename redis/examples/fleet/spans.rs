//! The most events in a span, exact for every span.

use std::time::Duration;

/// Returns the most of `times`, which are sorted, in any half-open span of this length.
///
/// A span with the most can be moved on until it begins with one of the times, and loses none.
pub(crate) fn most_in_any_span(times: &[Duration], length: Duration) -> usize {
    let (mut most, mut end) = (0, 0);
    for (begin, &time) in times.iter().enumerate() {
        while end < times.len() && times[end] < time + length {
            end += 1;
        }
        most = most.max(end - begin);
    }
    most
}

/// Returns the share of `limit` that was issued, in the whole windows that follow the first issue.
pub(crate) fn used_share(times: &[Duration], limit: u32, window: Duration) -> f64 {
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return 0.0 };
    let windows = ((last - first).as_nanos() / window.as_nanos()).max(1);
    let windows = u32::try_from(windows).unwrap_or(u32::MAX);
    let issued = times.iter().filter(|&&at| at < first + window * windows).count();
    issued as f64 / (f64::from(limit) * f64::from(windows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_span_is_half_open() {
        assert_eq!(most_in_any_span(&[], ms(10)), 0);
        assert_eq!(most_in_any_span(&[ms(0), ms(10)], ms(10)), 1);
        assert_eq!(most_in_any_span(&[ms(0), ms(10), ms(19), ms(20)], ms(10)), 2);
    }

    #[test]
    fn the_used_share_is_that_of_whole_windows() {
        let times = [0, 1, 10, 11, 20].map(ms);
        assert!((used_share(&times, 2, ms(10)) - 1.0).abs() < 1e-9);
        assert!((used_share(&times, 4, ms(10)) - 0.5).abs() < 1e-9);
    }
}
