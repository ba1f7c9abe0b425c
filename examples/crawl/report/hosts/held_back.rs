//! The times in which other hosts held back the requests of a host.

use std::time::Duration;

use tower_floodgate::Quota;

use super::OwnLimits;
use crate::log::Attempt;

/// Returns the spans from the moment at which the limits of its host allowed a request until it was
/// sent, without those of pauses. The spans do not overlap. `pauses` are half-open and in order.
///
/// A limit issues the requests of a host one by one. So a request is allowed once it has arrived
/// at the limit, the one before it was sent, a window has passed since the one that was sent `rate`
/// before it, and all but `in_flight - 1` of those before it have ended. A pause that begins later
/// holds it back as well.
///
/// `by_others` returns the first moment at which further limits allow a request that was sent then.
pub(super) fn held_back<'a>(
    attempts: impl IntoIterator<Item = &'a Attempt>,
    limits: OwnLimits,
    pauses: &[(Duration, Duration)],
    by_others: impl Fn(Duration) -> Option<Duration>,
) -> Vec<Duration> {
    let OwnLimits { rate, window, in_flight } = limits;
    let mut attempts: Vec<_> = attempts.into_iter().collect();
    attempts.sort_by_key(|attempt| attempt.sent);

    // The latest ends of the attempts before, of which the earliest makes room.
    let mut ends: Vec<Duration> = Vec::new();
    let mut held_back = Vec::new();
    for (number, attempt) in attempts.iter().enumerate() {
        let sent = attempt.sent;
        let by_order = number.checked_sub(1).map(|it| attempts[it].sent);
        let by_window = number.checked_sub(rate as usize).map(|it| attempts[it].sent + window);
        ends.sort_unstable_by(|one, other| other.cmp(one));
        ends.truncate(in_flight as usize);
        let by_in_flight = ends.get((in_flight as usize).saturating_sub(1)).copied();
        let limits = [attempt.asked, by_order, by_window, by_in_flight, by_others(sent)];
        let allowed = limits.into_iter().flatten().max().unwrap_or(sent);

        let mut free = allowed;
        for &(from, until) in pauses.iter().filter(|(from, _)| *from < sent) {
            if free < until {
                held_back.push(from.saturating_sub(free));
                free = until;
            }
        }
        held_back.push(sent.saturating_sub(free));
        ends.push(attempt.ended.as_ref().map_or(Duration::MAX, |(at, _)| *at));
    }
    held_back.retain(|span| !span.is_zero());
    held_back
}

/// Returns the first moment at which a window allows the request that was `sent`, of all that were:
/// a window after the one that was sent `limit` before it. `all` is sorted.
pub(super) fn by_window(all: &[Duration], quota: Quota, sent: Duration) -> Option<Duration> {
    let number = all.partition_point(|&other| other < sent);
    Some(all[number.checked_sub(quota.limit() as usize)?] + quota.window())
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::log::Outcome;

    const LATEST: u64 = 60;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn attempt([asked, sent, ended]: [u64; 3]) -> Attempt {
        let ended = Some((ms(ended), Outcome::Error(String::new())));
        Attempt { asked: Some(ms(asked)), sent: ms(sent), ended }
    }

    fn limits(rate: u32, window: u64, in_flight: u32) -> OwnLimits {
        OwnLimits { rate, window: ms(window), in_flight }
    }

    fn check(limits: OwnLimits, pauses: &[(u64, u64)], attempts: &[[u64; 3]]) -> Vec<Duration> {
        let pauses: Vec<_> = pauses.iter().map(|&(from, until)| (ms(from), ms(until))).collect();
        let attempts: Vec<_> = attempts.iter().copied().map(attempt).collect();
        held_back(&attempts, limits, &pauses, |_| None)
    }

    #[test]
    fn a_request_is_not_held_back_by_its_own_window() {
        let held_back = check(limits(2, 10, 9), &[], &[[0, 0, 1], [0, 0, 1], [0, 10, 11]]);
        assert_eq!(held_back, []);
    }

    #[test]
    fn a_request_is_not_held_back_by_its_own_requests_in_flight() {
        let held_back = check(limits(9, 10, 2), &[], &[[0, 0, 7], [0, 0, 5], [0, 5, 9], [6, 7, 8]]);
        assert_eq!(held_back, []);
    }

    #[test]
    fn a_request_is_not_held_back_by_its_own_pauses() {
        let held_back = check(limits(9, 10, 9), &[(3, 9), (9, 15), (20, 30)], &[[4, 15, 16]]);
        assert_eq!(held_back, []);
    }

    #[test]
    fn a_request_is_held_back_before_and_after_a_pause() {
        let held_back = check(limits(9, 10, 9), &[(5, 20), (10, 15)], &[[0, 22, 23]]);
        assert_eq!(held_back, [5, 2].map(ms));
    }

    #[test]
    fn a_request_is_not_held_back_by_the_one_before_it() {
        let held_back = check(limits(9, 10, 9), &[], &[[0, 3, 5], [0, 7, 9]]);
        assert_eq!(held_back, [3, 4].map(ms));
    }

    #[test]
    fn a_request_without_a_reason_to_wait_is_held_back() {
        let held_back = check(limits(1, 10, 1), &[], &[[0, 4, 5], [0, 20, 21], [25, 31, 32]]);
        assert_eq!(held_back, [4, 6, 1].map(ms));
    }

    #[test]
    fn a_window_allows_a_request_once_the_limit_before_it_has_expired() {
        let quota = Quota::try_new(2, ms(10)).expect("it is valid");
        let sent = [0, 1, 12, 13].map(ms);
        let allowed = sent.map(|it| by_window(&sent, quota, it));
        assert_eq!(allowed, [None, None, Some(ms(10)), Some(ms(11))]);
        let held_back = held_back(&[attempt([0, 12, 13])], limits(9, 10, 9), &[], |at| {
            by_window(&sent, quota, at)
        });
        assert_eq!(held_back, [ms(2)]);
    }

    #[test]
    fn requests_agree_with_looking_at_every_moment() {
        let mut rng = Rng::with_seed(3);
        for _ in 0..2_000 {
            let request = |rng: &mut Rng| {
                let asked = rng.u64(0..LATEST);
                let sent = asked + rng.u64(0..15);
                [asked, sent, sent + rng.u64(1..15)]
            };
            let mut requests: Vec<_> = (0..rng.usize(0..10)).map(|_| request(&mut rng)).collect();
            requests.sort_by_key(|&[_, sent, _]| sent);
            let (rate, window, in_flight) = (rng.u32(1..4), rng.u64(1..15), rng.u32(1..4));
            let from = rng.u64(0..LATEST);
            let pause = (from, from + rng.u64(1..15));

            let mut naive = Vec::new();
            for (number, &[asked, sent, _]) in requests.iter().enumerate() {
                let before = &requests[..number];
                let last = before.last().map_or(0, |[_, sent, _]| *sent);
                let allowed = (asked.max(last)..sent).find(|&now| {
                    let recent = before.iter().filter(|[_, sent, _]| now < sent + window).count();
                    let there = before.iter().filter(|[.., ended]| now < *ended).count();
                    recent < rate as usize && there < in_flight as usize
                });
                let moments: Vec<_> = (allowed.unwrap_or(sent)..sent).collect();
                let spans = moments.split(|now| (pause.0..pause.1).contains(now));
                naive.extend(spans.map(|span| ms(span.len() as u64)));
            }
            naive.retain(|span| !span.is_zero());
            let clever = check(limits(rate, window, in_flight), &[pause], &requests);
            assert_eq!(clever, naive, "{requests:?}, {rate} in {window}, {in_flight}, {pause:?}");
        }
    }
}
