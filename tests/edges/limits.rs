//! The cores of the limits.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;

use crate::{
    TestClock, holds, number, permits,
    semaphore::Semaphore,
    time::{CENTURY, Nanos, nanos},
    window::{Shape, Window},
};

/// The permits that can be acquired are those that the last limit leaves, and the counts are exact.
#[test]
fn b1_b6_limits_of_any_size_follow_one_another() {
    let steps = proptest::collection::vec((permits(), 0..6_u32, 0..6_u32), 1..20);
    holds(file!(), (permits(), steps), |(first, steps)| {
        let semaphore = Semaphore::new(first, TestClock::at(Nanos::ZERO), ());
        let mut held = 0;
        for (limit, arrivals, releases) in steps {
            semaphore.set_limit(limit, || {});
            for _ in 0..arrivals {
                let is_acquired = semaphore.try_acquire();
                prop_assert_eq!(is_acquired, held < limit);
                held += u32::from(is_acquired);
            }
            let releases = releases.min(held);
            held -= releases;
            semaphore.release(releases);
            let view = semaphore.read(|view| view);
            prop_assert_eq!((view.limit, view.held()), (limit, held));
            prop_assert_eq!(view.available, i64::from(limit) - i64::from(held));
        }
        Ok(())
    });
}

/// The last time before the end of the clock.
const END: u64 = u64::MAX - 1;

/// The length of a window, from the shortest to the longest.
fn length() -> impl Strategy<Value = Duration> {
    number().prop_map(|number| Duration::from_nanos(number.clamp(1, nanos(CENTURY))))
}

fn shape() -> impl Strategy<Value = Shape> {
    proptest::sample::select(&[Shape::Sliding, Shape::Fixed][..])
}

/// No issue is one too many, and every permit expires at its nanosecond.
///
/// Limits are of any size, and times of any before the end of the clock, which stops after 584
/// years.
#[test]
fn c8_w1_w2_w3_windows_are_exact_from_a_nanosecond_to_a_century() {
    // Steps in time: by a share of the window, or right to, or beside, a boundary.
    let pass = prop_oneof![Just((0, 0)), (1..4_u64, 0..3_u64), (0..3_u64, 0..3_u64)];
    let steps = proptest::collection::vec((pass, 1..4_u32), 1..60);
    let limit = prop_oneof![1..5_u32, permits()];
    holds(
        file!(),
        (shape(), limit, length(), number(), steps),
        |(shape, limit, length, at, steps)| {
            let (span, mut now) = (nanos(length), at.min(END));
            let clock = TestClock::at(Nanos::new(now));
            let window = Window::<_, ()>::new(shape, limit, length, clock.clone());
            // The times when the permits expire. Those past the end of the clock never do.
            let mut expire: VecDeque<u64> = VecDeque::new();
            for ((part, beside), asks) in steps {
                let pass = match span.checked_div(part) {
                    None => beside,
                    Some(share) => (share + beside).saturating_sub(1),
                };
                now = now.saturating_add(pass).min(END);
                clock.set(Nanos::new(now));
                expire.retain(|&at| at > now);
                for _ in 0..asks {
                    window.refill();
                    // Large limits are not used up here: all requests are admitted.
                    let is_available = (expire.len() as u64) < u64::from(limit);
                    let is_acquired = window.try_acquire();
                    prop_assert_eq!(is_acquired, is_available, "at {} of {:?}", now, &expire);
                    if is_acquired {
                        window.commit();
                        expire.push_back(match shape {
                            Shape::Sliding => now.saturating_add(span),
                            Shape::Fixed => (now - now % span).saturating_add(span),
                        });
                    }
                }
                let wait = window.read().wait;
                if expire.len() == limit as usize {
                    let next = expire.iter().min().expect("full");
                    prop_assert_eq!(wait, Duration::from_nanos(next - now));
                }
            }
            Ok(())
        },
    );
}

/// No count overflows, and no permit is lost.
#[test]
fn w9_settings_of_any_size_follow_one_another() {
    let steps = proptest::collection::vec((permits(), length(), number(), number()), 1..12);
    holds(file!(), (shape(), permits(), length(), steps), |(shape, limit, first, steps)| {
        let clock = TestClock::at(Nanos::ZERO);
        let window = Window::<_, ()>::new(shape, limit, first, clock.clone());
        let (mut now, mut last, mut paused_until) = (0_u64, limit, 0);
        for (limit, length, pass, pause) in steps {
            clock.set(Nanos::new(now));
            window.set_limit(limit);
            window.set_length(length);
            window.pause(Nanos::new(pause));
            if window.try_acquire() {
                window.commit();
            }
            let reading = window.read();
            prop_assert_eq!((reading.limit, reading.length), (limit, length));
            prop_assert!(reading.remaining <= limit);
            if now < pause {
                prop_assert_eq!(reading.remaining, 0);
                prop_assert!(reading.wait >= Duration::from_nanos(pause - now));
            }
            (now, last, paused_until) = (now.saturating_add(pass), limit, pause.max(paused_until));
        }
        // More than a century later, unless the clock has ended.
        if now < END - 2 * nanos(CENTURY) {
            clock.set(Nanos::new(now.saturating_add(nanos(CENTURY))));
            window.read();
            clock.set(Nanos::new(END));
            let remaining = window.read().remaining;
            prop_assert_eq!(remaining, if paused_until > END { 0 } else { last });
        }
        Ok(())
    });
}
