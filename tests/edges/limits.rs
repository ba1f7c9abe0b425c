//! The gate and the windows.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;

use crate::{
    clock::{CENTURY, Nanos, nanos},
    gate::Gate,
    holds, number, places,
    window::{Shape, Window},
};

/// B1, B6: however limits of any size follow one another, as many can enter as the last one leaves room
/// for, and the counts are exact.
#[test]
fn b1_b6_limits_of_any_size_follow_one_another() {
    let steps = proptest::collection::vec((places(), 0..6_u32, 0..6_u32), 1..20);
    holds(file!(), (places(), steps), |(first, steps)| {
        let gate = Gate::<()>::new(first);
        let mut inside = 0;
        for (limit, come, leave) in steps {
            gate.set_limit(limit, || {}, &|| Nanos::ZERO);
            for _ in 0..come {
                let entered = gate.try_enter();
                prop_assert_eq!(entered, inside < limit);
                inside += u32::from(entered);
            }
            let leave = leave.min(inside);
            inside -= leave;
            gate.put_back(leave, &|| Nanos::ZERO);
            let standing = gate.read(|standing| standing);
            prop_assert_eq!((standing.limit, standing.taken()), (limit, inside));
            prop_assert_eq!(standing.room, i64::from(limit) - i64::from(inside));
        }
        Ok(())
    });
}

/// The last moment before the end of the clock.
const END: u64 = u64::MAX - 1;

/// A window, from the shortest to the longest there may be.
fn length() -> impl Strategy<Value = Duration> {
    number().prop_map(|number| Duration::from_nanos(number.clamp(1, nanos(CENTURY))))
}

fn shape() -> impl Strategy<Value = Shape> {
    proptest::sample::select(&[Shape::Sliding, Shape::Fixed][..])
}

/// W1, W2, W3, C8: windows from a nanosecond to a century, limits from one to the largest, at any time before
/// the end of the clock (after 584 years, when it stands still): never one too many, and a place comes
/// back at the very nanosecond.
#[test]
fn c8_w1_w2_w3_windows_are_exact_from_a_nanosecond_to_a_century() {
    // Steps in time: by a share of the window, or right to, or beside, a boundary.
    let pass = prop_oneof![Just((0, 0)), (1..4_u64, 0..3_u64), (0..3_u64, 0..3_u64)];
    let steps = proptest::collection::vec((pass, 1..4_u32), 1..60);
    let limit = prop_oneof![1..5_u32, places()];
    holds(
        file!(),
        (shape(), limit, length(), number(), steps),
        |(shape, limit, length, at, steps)| {
            let window = Window::<()>::new(shape, limit, length);
            let (span, mut now) = (nanos(length), at.min(END));
            // When the places that are taken come back. What would be after the end of the clock never does.
            let mut over: VecDeque<u64> = VecDeque::new();
            for ((part, beside), asks) in steps {
                let pass = match span.checked_div(part) {
                    None => beside,
                    Some(share) => (share + beside).saturating_sub(1),
                };
                now = now.saturating_add(pass).min(END);
                over.retain(|&at| at > now);
                for _ in 0..asks {
                    window.refill(&|| Nanos::new(now));
                    let free = (over.len() as u64) < u64::from(limit);
                    let entered = window.try_enter();
                    // Large limits are never filled here; but they have room, and say so.
                    prop_assert_eq!(entered, free, "at {} of {:?}", now, &over);
                    if entered {
                        window.issue(|| Nanos::new(now));
                        over.push_back(match shape {
                            Shape::Sliding => now.saturating_add(span),
                            Shape::Fixed => (now - now % span).saturating_add(span),
                        });
                    }
                }
                let wait = window.read(&|| Nanos::new(now)).wait;
                if over.len() == limit as usize {
                    let next = over.iter().min().expect("full");
                    prop_assert_eq!(wait, Duration::from_nanos(next - now));
                }
            }
            Ok(())
        },
    );
}

/// W9: settings of any size follow one another, and nothing overflows or is lost.
#[test]
fn w9_settings_of_any_size_follow_one_another() {
    let steps = proptest::collection::vec((places(), length(), number(), number()), 1..12);
    holds(file!(), (shape(), places(), length(), steps), |(shape, limit, first, steps)| {
        let window = Window::<()>::new(shape, limit, first);
        let (mut now, mut last, mut paused_until) = (0_u64, limit, 0);
        for (limit, length, pass, pause) in steps {
            let clock = || Nanos::new(now);
            window.set_limit(limit, &clock);
            window.set_length(length, &clock);
            window.pause(Nanos::new(pause), &clock);
            if window.try_enter() {
                window.issue(clock);
            }
            let reading = window.read(&clock);
            prop_assert_eq!((reading.limit, reading.length), (limit, length));
            prop_assert!(reading.remaining <= limit);
            if now < pause {
                prop_assert_eq!(reading.remaining, 0);
                prop_assert!(reading.wait >= Duration::from_nanos(pause - now));
            }
            (now, last, paused_until) = (now.saturating_add(pass), limit, pause.max(paused_until));
        }
        // A century and more after everything, unless the clock has come to its end.
        if now < END - 2 * nanos(CENTURY) {
            window.read(&|| Nanos::new(now.saturating_add(nanos(CENTURY))));
            let remaining = window.read(&|| Nanos::new(END)).remaining;
            prop_assert_eq!(remaining, if paused_until > END { 0 } else { last });
        }
        Ok(())
    });
}
