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

/// Returns the share of `limit` that was issued: the least time that the limit lets so many whole
/// windows take, by the time that they took. `times` are sorted.
pub(crate) fn used_share(times: &[Duration], limit: u32, window: Duration) -> f64 {
    let Some(last) = times.len().checked_sub(1) else { return 0.0 };
    let issues = match last - last % limit as usize {
        0 => last,
        whole => whole,
    };
    let took = (times[issues] - times[0]).max(window);
    issues as f64 / f64::from(limit) * window.as_secs_f64() / took.as_secs_f64()
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
        let share = |times: &[u64], limit| {
            let times: Vec<_> = times.iter().copied().map(ms).collect();
            used_share(&times, limit, ms(10))
        };
        assert!((share(&[0, 1, 10, 11, 20], 2) - 1.0).abs() < 1e-9);
        // The second window begins 2 ms late, and the third one by 4 ms more.
        assert!((share(&[0, 0, 12, 13, 26], 2) - 20.0 / 26.0).abs() < 1e-9);
        assert!((share(&[0, 5, 10], 4) - 0.5).abs() < 1e-9);
        assert_eq!(share(&[], 4), 0.0);
    }
}
