//! The most events in a span and the most stays at a time, exact for every span and moment, and the
//! union of stays.

use std::time::Duration;

/// Returns the most of `times` in any half-open span of this length.
///
/// A span with the most can be moved on until it begins with one of the times, and loses none.
pub(super) fn most_in_any_span(
    times: impl IntoIterator<Item = Duration>,
    length: Duration,
) -> usize {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_unstable();
    let (mut most, mut end) = (0, 0);
    for (begin, &time) in times.iter().enumerate() {
        while end < times.len() && times[end] < time + length {
            end += 1;
        }
        // A span of length zero is empty, and its end may not have reached its beginning.
        most = most.max(end.saturating_sub(begin));
    }
    most
}

/// Returns the most stays that overlap, each a half-open interval.
pub(super) fn most_at_a_time(stays: impl IntoIterator<Item = (Duration, Duration)>) -> usize {
    // At one moment, stays end before others begin: `false` sorts before `true`.
    let mut steps: Vec<_> =
        stays.into_iter().flat_map(|(from, until)| [(from, true), (until, false)]).collect();
    steps.sort_unstable();
    let (mut most, mut there) = (0_usize, 0_usize);
    for (_, comes) in steps {
        there = if comes { there + 1 } else { there.saturating_sub(1) };
        most = most.max(there);
    }
    most
}

/// Joins the stays that overlap or touch, and sorts them.
pub(super) fn union(mut stays: Vec<(Duration, Duration)>) -> Vec<(Duration, Duration)> {
    stays.sort_unstable();
    let mut union: Vec<(Duration, Duration)> = Vec::new();
    for (from, until) in stays {
        match union.last_mut() {
            Some((_, end)) if from <= *end => *end = until.max(*end),
            _ => union.push((from, until)),
        }
    }
    union
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    const LATEST: u64 = 40;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_span_is_half_open() {
        assert_eq!(most_in_any_span([], ms(10)), 0);
        assert_eq!(most_in_any_span([ms(0), ms(10)], ms(10)), 1);
        assert_eq!(most_in_any_span([ms(0), ms(10), ms(19), ms(20)], ms(10)), 2);
        assert_eq!(most_in_any_span([ms(5), ms(5), ms(5)], ms(1)), 3);
        assert_eq!(most_in_any_span([ms(5)], Duration::ZERO), 0);
    }

    #[test]
    fn spans_agree_with_counting_from_every_moment() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..2_000 {
            let times: Vec<_> = (0..rng.usize(0..12)).map(|_| rng.u64(0..LATEST)).collect();
            let length = rng.u64(0..15);
            let from = |begin| move |&&t: &&u64| begin <= t && t < begin + length;
            let naive = (0..LATEST).map(|begin| times.iter().filter(from(begin)).count()).max();
            let clever = most_in_any_span(times.iter().map(|&t| ms(t)), ms(length));
            assert_eq!(Some(clever), naive, "{times:?} in spans of {length}");
        }
    }

    #[test]
    fn a_union_joins_what_overlaps_or_touches() {
        let stays = [(7, 9), (0, 2), (1, 5), (2, 3), (5, 6), (8, 8)];
        let joined = union(stays.map(|(from, until)| (ms(from), ms(until))).to_vec());
        assert_eq!(joined, [(ms(0), ms(6)), (ms(7), ms(9))]);
    }

    #[test]
    fn stays_agree_with_counting_at_every_moment() {
        let mut rng = Rng::with_seed(2);
        for _ in 0..2_000 {
            let stay = |rng: &mut Rng| {
                let from = rng.u64(0..LATEST);
                (from, from + rng.u64(1..15))
            };
            let stays: Vec<_> = (0..rng.usize(0..12)).map(|_| stay(&mut rng)).collect();
            let at = |now| move |&&(from, until): &&(u64, u64)| from <= now && now < until;
            let naive = (0..LATEST).map(|now| stays.iter().filter(at(now)).count()).max();
            let clever = most_at_a_time(stays.iter().map(|&(from, until)| (ms(from), ms(until))));
            assert_eq!(Some(clever), naive, "{stays:?}");
        }
    }
}
