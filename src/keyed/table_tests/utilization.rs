//! The share of a quota that is issued under demand.

use std::collections::VecDeque;

use super::{Hand, MS, limits};
use crate::keyed::table::{Table, WhenFull, limits::Ask, state::Now};

const WINDOW: u64 = 1_000 * MS;
/// Windows until a load is steady.
const WARM: u64 = 3;

/// Requests that arrive in a window, for each permit of the quota.
#[derive(Clone, Copy, Debug)]
enum Load {
    Even(f64),
    Poisson(f64),
}

/// Returns the windows that are counted: enough for an average of random loads.
fn counted(quota: u32) -> u64 {
    (20_000 / u64::from(quota)).max(10)
}

/// Returns the shares of a quota that the table issues, and an exact list of the issues.
fn shares(quota: u32, load: Load) -> (f64, f64) {
    let table = Table::new(0, limits(&[(quota, 1_000)]), WhenFull::Share);
    let (place, time) = (table.common(), Hand::at(0));
    let mut random = fastrand::Rng::with_seed(quota.into());
    let (mut issued, mut exact) = (VecDeque::new(), VecDeque::new());
    let (mut count, mut exact_count) = (0, 0);
    let mut at = 0.0;
    loop {
        at += match load {
            Load::Even(times) => WINDOW as f64 / (times * f64::from(quota)),
            Load::Poisson(times) => {
                -(1.0 - random.f64()).ln() * WINDOW as f64 / (times * f64::from(quota))
            }
        };
        let now = at as u64;
        if now >= (WARM + counted(quota)) * WINDOW {
            let all = f64::from(quota) * counted(quota) as f64;
            return (f64::from(count) / all, f64::from(exact_count) / all);
        }
        let is_counted = now >= WARM * WINDOW;
        for list in [&mut issued, &mut exact] {
            while list.front().is_some_and(|old| old + WINDOW <= now) {
                list.pop_front();
            }
        }
        time.0.set(now);
        let one = Ask { plan: 0, cost: 1 };
        if table.acquire_at(place, one, &mut Now::of(&time)).is_ok() {
            table.state(place).commit(one, &mut Now::of(&time));
            issued.push_back(now);
            assert!(issued.len() <= quota as usize, "{quota}: {load:?}");
            count += i32::from(is_counted);
        }
        if exact.len() < quota as usize {
            exact.push_back(now);
            exact_count += i32::from(is_counted);
        }
    }
}

/// Asserts a share of the quota; of random loads, of the part that an exact window issues.
fn assert_at_least(quota: u32, load: Load, least: f64) {
    let (share, exact) = shares(quota, load);
    let of = if matches!(load, Load::Poisson(_)) { exact } else { 1.0 };
    assert!(share >= least * of, "{quota}: {load:?}: {share:.3}, exactly {exact:.3}");
    assert!(share <= exact + 0.01, "{quota}: {load:?}: {share:.3}, exactly {exact:.3}");
}

const LOADS: [Load; 5] =
    [Load::Even(1.05), Load::Even(1.2), Load::Even(2.0), Load::Even(10.0), Load::Poisson(1.2)];

#[test]
fn k2_quota_of_multiples_of_20_is_issued_to_93_percent() {
    for quota in [20, 40, 100, 1_000] {
        LOADS.iter().for_each(|load| assert_at_least(quota, *load, 0.93));
        assert_at_least(quota, Load::Even(1.0), 0.93);
    }
}

#[test]
fn k2_quota_of_other_numbers_is_issued_to_90_percent() {
    for quota in [10, 11, 13, 17, 19, 21, 33, 41, 50, 57, 79, 101, 199, 399, 999] {
        LOADS.iter().for_each(|load| assert_at_least(quota, *load, 0.90));
        assert_at_least(quota, Load::Even(1.0), 0.90);
    }
}

#[test]
fn k2_small_quota_at_an_even_load_of_itself_is_issued_but_for_one() {
    for quota in 1..20 {
        let least = f64::from(quota) / f64::from(quota + 1);
        assert_at_least(quota, Load::Even(1.0), least - 0.001);
    }
}

#[test]
fn k2_burst_that_returns_after_little_more_than_a_window_is_issued_in_full() {
    for quota in [1, 5, 20, 100, 1_000] {
        let table = Table::new(0, limits(&[(quota, 1_000)]), WhenFull::Share);
        for burst in 0..20 {
            let time = Hand::at(WINDOW + burst * WINDOW * 102 / 100);
            for _ in 0..quota {
                let one = Ask { plan: 0, cost: 1 };
                let got = table.acquire_at(table.common(), one, &mut Now::of(&time));
                assert_eq!(got, Ok(()), "{quota}: burst {burst}");
                table.state(table.common()).commit(one, &mut Now::of(&time));
            }
        }
    }
}
