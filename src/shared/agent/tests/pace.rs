use std::time::Duration;

use fastrand::Rng;

use super::{SECOND, any_nanos, any_window, at, cases, ms, terms};
use crate::{shared::agent::pace::Pace, time::Nanos};

const NOW: Nanos = Nanos::ZERO;

/// A pace after a reply with this many free permits, of a round trip of a millisecond.
fn with_free(free: u32) -> Pace {
    let mut pace = Pace::new(NOW);
    pace.replied(NOW, at(ms(1)), free, &terms(1_000, SECOND));
    pace
}

#[test]
fn d3_lease_is_short_while_permits_are_scarce_and_long_while_they_are_plenty() {
    let terms = terms(1_000, SECOND);
    assert_eq!(with_free(0).length(at(ms(1)), &terms), SECOND / 128);
    assert_eq!(with_free(499).length(at(ms(1)), &terms), SECOND / 128);
    assert_eq!(with_free(500).length(at(ms(1)), &terms), SECOND / 16);
    let mut slow = Pace::new(NOW);
    slow.replied(NOW, at(ms(10)), 0, &terms);
    assert_eq!(slow.length(at(ms(10)), &terms), ms(40), "four round trips");
}

#[test]
fn d3_lease_is_within_its_bounds_for_all_windows_and_round_trips() {
    let mut random = Rng::with_seed(1);
    for _ in 0..cases() * 10 {
        let terms = terms(random.u32(1..1 << 31), any_window(&mut random));
        let mut pace = Pace::new(NOW);
        let mut now = NOW;
        for _ in 0..20 {
            let recv = now.after(Duration::from_nanos(any_nanos(&mut random) >> 24));
            pace.replied(now, recv, random.u32(..=terms.limit), &terms);
            pace.served(random.u64(..1_000), random.u64(..100));
            pace.arrived(any_nanos(&mut random), recv, &terms);
            now = recv;
            let length = pace.length(now, &terms);
            let longest = terms.max_length();
            assert!(length <= longest && length >= ms(3).min(longest), "{length:?} {longest:?}");
            let free = random.u32(..=terms.limit);
            assert!(pace.in_advance(free, length, now, &terms) <= free / 8);
        }
    }
}

#[test]
fn d3_permits_are_scarce_for_two_windows_after_the_last_reply_that_left_few() {
    let terms = terms(1_000, SECOND);
    let mut pace = with_free(499);
    let scarce_at = ms(1);
    pace.replied(at(ms(10)), at(ms(11)), 1_000, &terms);
    assert!(!pace.is_plenty(at(scarce_at + SECOND * 2), &terms));
    assert!(pace.is_plenty(at(scarce_at + SECOND * 2 + Duration::from_nanos(1)), &terms));
    pace.replied(at(SECOND * 3), at(SECOND * 3), 0, &terms);
    assert!(!pace.is_plenty(at(SECOND * 10), &terms), "the last reply left none");
}

#[test]
fn d3_leases_grow_while_permits_lapse_and_shrink_while_none_does() {
    let terms = terms(1_000, SECOND * 100);
    let mut pace = with_free(0);
    let short = pace.length(at(ms(1)), &terms);
    pace.served(32, 2);
    assert_eq!(pace.length(at(ms(1)), &terms), short, "a sixteenth has lapsed");
    pace.served(0, 1);
    assert_eq!(pace.length(at(ms(1)), &terms), short * 2);
    pace.served(0, 1);
    assert_eq!(pace.length(at(ms(1)), &terms), short * 4);
    pace.served(256, 1);
    assert_eq!(pace.length(at(ms(1)), &terms), short * 4, "one has lapsed");
    pace.served(255, 0);
    assert_eq!(pace.length(at(ms(1)), &terms), short * 4, "too few to tell");
    pace.served(1, 0);
    assert_eq!(pace.length(at(ms(1)), &terms), short * 2);
    (0..40).for_each(|_| pace.served(256, 0));
    assert_eq!(pace.length(at(ms(1)), &terms), short);
    (0..40).for_each(|_| pace.served(0, 1));
    assert_eq!(pace.length(at(ms(1)), &terms), terms.max_length());
}

#[test]
fn d5_rate_follows_the_arrivals_and_only_plenty_permits_are_asked_for_in_advance() {
    let terms = terms(1_000, SECOND);
    let mut pace = with_free(1_000);
    // 200 arrivals a second, for eight time constants.
    for step in 1..=100 {
        pace.arrived(step * 2, at(ms(step * 10)), &terms);
    }
    let now = at(SECOND);
    assert_eq!(pace.in_advance(1_000, SECOND / 10, now, &terms), 20);
    assert_eq!(pace.in_advance(80, SECOND / 10, now, &terms), 10, "an eighth of the free ones");
    assert_eq!(pace.low_mark(now, &terms), 1, "two round trips of a millisecond");
    pace.arrived(200, at(SECOND * 3), &terms);
    assert!(pace.in_advance(1_000, SECOND / 10, at(SECOND * 3), &terms) <= 1, "none arrive");
    pace.replied(now, now, 100, &terms);
    assert_eq!(pace.in_advance(1_000, SECOND, now, &terms), 0);
    assert_eq!(pace.low_mark(now, &terms), 0);
}

#[test]
fn d5_round_trip_is_smoothed_and_no_time_is_no_rate() {
    let terms = terms(1_000, SECOND);
    let mut pace = Pace::new(NOW);
    assert_eq!(pace.round_trip(), ms(1), "assumed");
    pace.replied(NOW, at(ms(8)), 1_000, &terms);
    assert_eq!(pace.round_trip(), ms(8));
    pace.replied(NOW, at(ms(16)), 1_000, &terms);
    assert_eq!(pace.round_trip(), ms(9));
    pace.arrived(u64::MAX, NOW, &terms);
    assert_eq!(pace.low_mark(NOW, &terms), 0);
}
