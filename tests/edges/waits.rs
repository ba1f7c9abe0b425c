//! The backoff and the budget.

use std::{cmp::Ordering, time::Duration};

use proptest::prelude::*;

use crate::{
    backoff::{Backoff, Jitter},
    budget::RetryBudget,
    duration, half, holds,
    listed_waits::Waits,
    paused_runtime,
    time::nanos,
};

fn jitter() -> impl Strategy<Value = Jitter> {
    proptest::sample::select(JITTERS.to_vec())
}

const JITTERS: [Jitter; 5] =
    [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::Uniform, Jitter::None];

fn factor() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), Just(1.0 + f64::EPSILON), Just(2.0), 1.0..10.0, Just(f64::MAX)]
}

/// Any valid settings.
fn backoff() -> impl Strategy<Value = (Duration, Duration, Backoff)> {
    (duration(), duration(), factor(), jitter()).prop_map(|(one, other, factor, jitter)| {
        let base = one.min(other).max(Duration::from_nanos(1));
        let max = one.max(other).max(base);
        (base, max, Backoff::new(base, max).factor(factor).jitter(jitter))
    })
}

/// The number of a retry. Numbers beyond a few hundred are alike.
fn retry() -> impl Strategy<Value = u32> {
    prop_oneof![0..200_u32, half()]
}

/// No draw is above `max`, as far as nanoseconds reach, unless a hint asks for it.
#[test]
fn r3_r4_no_wait_is_zero_too_long_or_below_the_hint() {
    let hint = proptest::option::of(duration());
    let last = proptest::option::of(duration());
    holds(file!(), (backoff(), jitter(), retry(), last, hint), |case| {
        let ((base, max, backoff), jitter, retry, last, hint) = case;
        let backoff = backoff.jitter(jitter);
        let ceiling = nanos(backoff.ceiling(retry));
        let (least, most) = match jitter {
            Jitter::Full => (1, ceiling),
            Jitter::Equal => (ceiling.div_ceil(2), ceiling),
            Jitter::Decorrelated => {
                let tripled = nanos(last.unwrap_or(base)).saturating_mul(3);
                (nanos(base), tripled.min(nanos(max)))
            }
            Jitter::Uniform => (nanos(base), nanos(max)),
            Jitter::None => (ceiling, ceiling),
        };
        // The hint raises the lower end of the span, which keeps its width.
        let floor = hint.map_or(0, nanos).max(least);
        let top = floor.saturating_add(most.saturating_sub(least));
        let wait_at = |end: fn((u64, u64)) -> u64| {
            nanos(backoff.wait(retry, last, hint, |span| end(span.into_inner())))
        };
        prop_assert_eq!((wait_at(|span| span.0), wait_at(|span| span.1)), (floor, top));
        prop_assert!(floor > 0 && (hint.is_some() || top <= nanos(max)));
        Ok(())
    });
}

/// The ends of the span from which a wait is drawn.
fn span(
    backoff: Backoff,
    retry: u32,
    last: Option<Duration>,
    hint: Option<Duration>,
) -> (u64, u64) {
    let end = |end: fn((u64, u64)) -> u64| {
        nanos(backoff.wait(retry, last, hint, |span| end(span.into_inner())))
    };
    (end(|span| span.0), end(|span| span.1))
}

/// Neither the number of the retry nor the last wait changes waits that do not grow.
#[test]
fn r14_fixed_and_uniform_waits_are_those_given_at_every_retry() {
    let last = proptest::option::of(duration());
    holds(file!(), (duration(), duration(), retry(), last), |(one, other, retry, last)| {
        let (low, high) = (one.min(other), one.max(other));
        let fixed = Backoff::try_fixed(low);
        prop_assert_eq!(fixed.is_ok(), low > Duration::ZERO);
        if let Ok(fixed) = fixed {
            prop_assert_eq!(span(fixed, retry, last, None), (nanos(low), nanos(low)));
            prop_assert_eq!(nanos(fixed.ceiling(retry)), nanos(low));
        }
        let uniform = Backoff::try_uniform(low..=high);
        prop_assert_eq!(uniform.is_ok(), high > Duration::ZERO);
        if let Ok(uniform) = uniform {
            prop_assert_eq!(span(uniform, retry, last, None), (nanos(low).max(1), nanos(high)));
        }
        prop_assert_eq!(Backoff::try_uniform(high..=low).is_ok(), low == high && !low.is_zero());
        Ok(())
    });
}

/// A fixed wait and up to as much at random are a range, also above a hint.
#[test]
fn r4_r14_uniform_span_above_a_hint_keeps_its_width() {
    let waits = (1..1_000_000_u64, 0..1_000_000_u64, 0..3_000_000_u64, retry());
    holds(file!(), waits, |(fixed, more, hint, retry)| {
        let [low, high] = [fixed, fixed + more].map(Duration::from_nanos);
        let hint = Duration::from_nanos(hint);
        let floor = fixed.max(nanos(hint));
        let uniform = Backoff::uniform(low..=high);
        prop_assert_eq!(span(uniform, retry, None, Some(hint)), (floor, floor + more));
        Ok(())
    });
}

/// The wait before a retry is that of the list or of the function, with the jitter of an
/// exponential backoff with that ceiling.
#[test]
fn r14_lists_and_functions_give_the_ceiling_that_jitter_spreads() {
    let list = proptest::collection::vec(duration(), 0..6);
    let hint = proptest::option::of(duration());
    holds(file!(), (list, jitter(), retry(), hint), |(list, jitter, retry, hint)| {
        let checked = Waits::try_chain(list.iter().copied());
        let is_valid = !list.is_empty() && !list.contains(&Duration::ZERO);
        prop_assert_eq!(checked.is_ok(), is_valid);
        let Ok(chain) = checked else { return Ok(()) };
        let wait = *list.get(retry as usize).or(list.last()).unwrap();
        let own = Waits::from_fn(move |asked| {
            assert_eq!(asked, retry);
            wait
        });
        prop_assert_eq!(span(chain.at(retry), retry, None, None), (nanos(wait), nanos(wait)));
        prop_assert_eq!(span(own.at(retry), retry, None, None), (nanos(wait), nanos(wait)));

        let is_valid = matches!(jitter, Jitter::Full | Jitter::Equal | Jitter::None);
        prop_assert_eq!(chain.clone().try_jitter(jitter).is_ok(), is_valid);
        if is_valid {
            let like = span(Backoff::new(wait, wait).jitter(jitter), 0, None, hint);
            let (chain, own) = (chain.jitter(jitter), own.jitter(jitter));
            prop_assert_eq!(span(chain.at(retry), retry, None, hint), like);
            prop_assert_eq!(span(own.at(retry), retry, None, hint), like);
        }
        Ok(())
    });
}

/// It is copied for every request.
#[test]
fn c6_r3_backoff_is_four_words() {
    assert_eq!(size_of::<Backoff>(), 32);
}

/// The ceiling grows with the number of the retry, and stays at `max`, as far as nanoseconds reach.
#[test]
fn r3_ceiling_grows_from_base_to_max() {
    holds(file!(), (backoff(), retry(), retry()), |((base, max, backoff), one, other)| {
        prop_assert_eq!(nanos(backoff.ceiling(0)), nanos(base));
        let (one, other) = (one.min(other), one.max(other));
        prop_assert!(backoff.ceiling(one) <= backoff.ceiling(other));
        prop_assert!(backoff.ceiling(other) <= max);
        Ok(())
    });
}

/// With the factor 2, the ceiling is exact to the nanosecond.
#[test]
fn r3_ceiling_is_base_times_a_power_of_two() {
    holds(file!(), (1..u64::MAX, 1..u64::MAX, 0..70_u32), |(one, other, retry)| {
        let (base, max) = (one.min(other), one.max(other));
        let backoff = Backoff::new(Duration::from_nanos(base), Duration::from_nanos(max));
        let exact = (u128::from(base) << retry).min(u128::from(max));
        prop_assert_eq!(backoff.ceiling(retry).as_nanos(), exact);
        Ok(())
    });
}

/// The savings are the deposits, up to the bound.
#[test]
fn r5_savings_are_exact_for_extreme_ratios_and_bounds() {
    let ratio = proptest::sample::select(&[0, 1, 999_999, 1_000_000, 1_000_001, 1_000_000_000][..]);
    holds(file!(), (ratio, half(), 0..300_u64), |(millionths, most, requests)| {
        let budget = RetryBudget::builder(millionths as f64 / 1e6)
            .max_saved(most)
            .floor_per_second(0)
            .build();
        for _ in 0..requests {
            budget.deposit();
        }
        let exact = (requests * millionths).min(u64::from(most) * 1_000_000) / 1_000_000;
        prop_assert_eq!(u64::from(budget.saved()), exact);
        let withdrawn = (0..exact.min(500)).filter(|_| budget.withdraw()).count() as u64;
        prop_assert_eq!(withdrawn, exact.min(500));
        prop_assert_eq!(budget.withdraw(), exact > 500);
        Ok(())
    });
}

/// Ratios up to three, few of which are exact in binary.
#[test]
fn r5_every_thousandth_is_exact() {
    for thousandths in 0..=3000 {
        let budget = RetryBudget::builder(thousandths as f64 / 1000.0).max_saved(u32::MAX).build();
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(budget.saved(), thousandths);
    }
}

#[test]
fn r5_floor_gives_exactly_its_rate_at_once() {
    let runtime = paused_runtime::runtime();
    holds(file!(), 0..2000_u32, |floor| {
        let _paused = runtime.enter();
        let budget = RetryBudget::builder(0.0).floor_per_second(floor).build();
        for _ in 0..floor {
            prop_assert!(budget.withdraw());
        }
        prop_assert!(!budget.withdraw());
        Ok(())
    });
    // The largest floor has too many retries to count.
    assert!(RetryBudget::builder(0.0).floor_per_second(u32::MAX).build().withdraw());
}

/// A refund is exact to the millionth and the nanosecond, and bounded.
#[test]
fn r5_refund_restores_the_amount_withdrawn() {
    let runtime = paused_runtime::runtime();
    let ratio = (0..=3_000_000_u32).prop_map(|millionths| f64::from(millionths) / 1e6);
    let steps = proptest::collection::vec((0..4_u32, 0..3_u32, 0..400_u64), 1..30);
    holds(file!(), (ratio, 0..5_u32, 0..4_u32, steps), |(ratio, floor, most, steps)| {
        let _paused = runtime.enter();
        let new = || RetryBudget::builder(ratio).floor_per_second(floor).max_saved(most).build();
        let (refunded, untouched) = (new(), new());
        for (deposits, withdrawals, wait) in steps {
            for _ in 0..deposits {
                refunded.deposit();
                untouched.deposit();
            }
            // Up to three at once, the last of which is refunded first.
            let mut reserved: Vec<_> = (0..3).filter_map(|_| refunded.reserve()).collect();
            while reserved.pop().is_some() {}
            for _ in 0..withdrawals {
                prop_assert_eq!(refunded.withdraw(), untouched.withdraw());
            }
            prop_assert_eq!(refunded.saved(), untouched.saved());
            runtime.block_on(tokio::time::advance(Duration::from_millis(wait)));
        }
        Ok(())
    });
}

/// The bound holds for deposits between a withdrawal and its refund.
#[test]
fn r5_refunded_savings_are_bounded() {
    let budget = RetryBudget::builder(1.0).floor_per_second(0).max_saved(2).build();
    budget.deposit();
    let reserved = budget.reserve();
    assert!(reserved.is_some());
    budget.deposit();
    budget.deposit();
    drop(reserved);
    assert_eq!(budget.saved(), 2);
}

/// A refunded share of the floor that lies before a later withdrawal is not given again.
#[test]
fn r5_refunded_floor_is_not_given_twice() {
    let runtime = paused_runtime::runtime();
    let _paused = runtime.enter();
    let budget = RetryBudget::builder(0.0).floor_per_second(2).build();
    let reserved = budget.reserve();
    assert!(reserved.is_some() && budget.withdraw());
    drop(reserved);
    // Half a second later the schedule has room for one.
    assert!(!budget.withdraw());
    runtime.block_on(tokio::time::advance(Duration::from_millis(500)));
    assert!(budget.withdraw() && !budget.withdraw());
}

#[test]
fn c7_r5_every_ratio_is_valid_or_refused() {
    let ratio = prop_oneof![any::<f64>(), -2.0..2000.0, Just(f64::NAN), Just(f64::INFINITY)];
    holds(file!(), ratio, |ratio| {
        let valid = ratio.partial_cmp(&0.0).is_some_and(Ordering::is_ge) && ratio <= 1000.0;
        prop_assert_eq!(RetryBudget::try_new(ratio).is_ok(), valid);
        let valid = ratio >= 1.0 && ratio.is_finite();
        prop_assert_eq!(Backoff::default().try_factor(ratio).is_ok(), valid);
        Ok(())
    });
}
