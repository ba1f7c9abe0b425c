use std::time::Duration;

use fastrand::Rng;

use super::{any_nanos, any_window, cases, terms};
use crate::shared::agent::terms::{drift, from_micros, micros_down, micros_up, with_drift};

fn any_duration(random: &mut Rng) -> Duration {
    Duration::from_nanos(any_nanos(random))
}

#[test]
fn d1_times_on_the_wire_are_rounded_to_the_safe_side() {
    let mut random = Rng::with_seed(1);
    for _ in 0..cases() * 100 {
        let exact = any_duration(&mut random);
        let (up, down) = (from_micros(micros_up(exact)), from_micros(micros_down(exact)));
        assert!(down <= exact && exact <= up, "{down:?} {exact:?} {up:?}");
        assert!(up - down <= Duration::from_micros(1), "{down:?} {up:?}");
    }
    assert_eq!(micros_up(Duration::from_nanos(1)), 1);
    assert_eq!(micros_up(Duration::from_micros(1)), 1);
    assert_eq!(micros_down(Duration::from_nanos(1_999)), 1);
    assert_eq!(from_micros(-1), Duration::ZERO);
    // Sums of saturated times stay in the range.
    let longest = micros_up(Duration::MAX).max(micros_down(Duration::MAX));
    assert!(longest.checked_mul(2).is_some());
}

/// One clock runs fast by `d`, the other one slow.
#[test]
fn d1_drift_covers_a_fast_clock_beside_a_slow_one() {
    let mut random = Rng::with_seed(2);
    for _ in 0..cases() * 100 {
        let slow = any_duration(&mut random).min(Duration::from_secs(1 << 32));
        let fast = (slow.as_nanos() * 1_000_500).div_ceil(999_500);
        assert!(with_drift(slow).as_nanos() >= fast, "{slow:?}");
        let least = slow.as_nanos() / 1_000;
        assert!(drift(slow).as_nanos() <= least + least / 1_000 + 2, "more than is needed");
    }
    assert_eq!(drift(Duration::ZERO), Duration::ZERO);
}

#[test]
fn d1_window_on_the_wire_has_its_margin_for_every_window() {
    let mut random = Rng::with_seed(3);
    for _ in 0..cases() * 100 {
        let window = any_window(&mut random);
        let terms = terms(1_000, window);
        let margin = from_micros(terms.window_on_wire()) - window;
        // The window, the begin and the end of a lease, each by clocks that are 500 ppm wrong.
        let needed = drift(terms.horizon()) + drift(terms.horizon() + terms.max_length());
        let needed = needed + drift(window) / 2;
        assert!(margin >= needed, "{margin:?} of {needed:?} for {window:?}");
        assert!(terms.horizon() + terms.max_length() < window);
    }
}

#[test]
fn d9_lease_counts_no_shorter_than_until_its_mark() {
    let mut random = Rng::with_seed(4);
    for _ in 0..cases() * 100 {
        let window = any_window(&mut random);
        let terms = terms(1_000, window);
        let delay = terms.horizon().mul_f64(random.f64());
        let length = terms.max_length().mul_f64(random.f64());
        // As the store works it out, from a time that is rounded down.
        let now = i64::try_from(any_nanos(&mut random) >> 2).unwrap();
        let on_wire = terms.window_on_wire();
        let grain = (on_wire + 255) / 256;
        let until = now + micros_up(delay) + micros_up(length) + on_wire;
        let mark = (until + grain - 1) / grain * grain;
        let counts = terms.counts_for(from_micros(micros_up(delay)), length);
        assert!(counts >= from_micros(mark - now), "{counts:?} for {window:?}");
    }
}

#[test]
fn d7_chunk_is_a_share_of_the_limit_and_never_zero() {
    let window = Duration::from_secs(1);
    for (limit, chunk) in [(1, 1), (63, 1), (64, 1), (128, 2), (1_000, 15), (u32::MAX, 67_108_863)]
    {
        assert_eq!(terms(limit, window).chunk(), chunk);
    }
}
