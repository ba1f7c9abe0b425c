//! The layers with waits up to the longest ones.

use std::{
    future::{pending, ready},
    task::{Context, Poll, Waker},
    time::Duration,
};

use proptest::prelude::*;
use tokio_test::task;
use tower::{Layer, Service, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    retry::{Backoff, Verdict},
};

use crate::{duration, holds, paused_runtime::run, time::nanos};

#[test]
fn c8_b3_max_wait_may_have_any_length() {
    holds(file!(), duration(), |wait| {
        run(async {
            let layer = ConcurrencyBackpressureLayer::new(1).max_wait(wait).reject_with(|_| ());
            let handle = layer.handle();
            let mut cx = Context::from_waker(Waker::noop());
            let inner = service_fn(|(): ()| pending::<Result<(), ()>>());
            let (mut first, mut second) = (layer.layer(inner), layer.layer(inner));
            prop_assert!(first.poll_ready(&mut cx).is_ready());
            prop_assert_eq!(second.poll_ready(&mut cx).is_ready(), wait.is_zero());
            prop_assert_eq!(handle.queued(), u32::from(!wait.is_zero()));
            Ok(())
        })
    });
}

/// A request is queued, or rejected at once with its time.
#[test]
fn c8_w5_w6_w7_pause_and_max_wait_may_have_any_length() {
    holds(file!(), (duration(), duration()), |(pause, wait)| {
        run(async {
            let layer = WindowRateLimitLayer::new(1, Duration::from_nanos(1));
            let handle = layer.handle();
            let mut service = layer
                .max_wait(wait)
                .reject_with(Some)
                .layer(service_fn(|(): ()| ready(Ok::<_, ()>(None))));
            let mut cx = Context::from_waker(Waker::noop());
            handle.pause_for(pause);
            let polled = service.poll_ready(&mut cx);
            if pause.is_zero() || nanos(pause) > nanos(wait) {
                prop_assert!(polled.is_ready());
                let mut response = task::spawn(service.call(()));
                let Poll::Ready(Ok(rejected)) = response.poll() else {
                    panic!("the rejection is pending")
                };
                let wait = rejected.map(|rejected| rejected.retry_after().unwrap());
                // The longest time of a rejection: 584 years, less a nanosecond.
                let longest = Duration::from_nanos(u64::MAX - 1);
                let expected = (!pause.is_zero()).then_some(pause.min(longest));
                prop_assert_eq!(wait, expected);
            } else {
                prop_assert!(polled.is_pending());
            }
            Ok(())
        })
    });
}

/// The retry waits if its bounds allow for the wait, and otherwise ends at once.
#[test]
fn c8_r2_r3_r4_hint_backoff_and_max_elapsed_may_have_any_length() {
    let hint = proptest::option::of(duration());
    holds(file!(), (duration(), hint, duration(), duration()), |(base, hint, most, elapsed)| {
        run(async {
            let base = base.max(Duration::from_nanos(1));
            let policy = ExponentialRetry::new(2)
                .backoff(Backoff::new(base, Duration::MAX))
                .max_hint(most)
                .max_elapsed(elapsed)
                .seed(7)
                .classify(move |_: &(), _: &Result<(), ()>| {
                    hint.map_or(Verdict::Retry, Verdict::RetryAfter)
                });
            let mut service = ExponentialRetryLayer::new(policy)
                .layer(service_fn(|(): ()| ready(Err::<(), _>(()))));
            let mut cx = Context::from_waker(Waker::noop());
            prop_assert!(service.poll_ready(&mut cx).is_ready());
            let mut response = task::spawn(service.call(()));
            let ends = response.poll().is_ready();
            // Twice the base and the hint are more than any draw. The hint, as far as nanoseconds
            // reach, is no more than any.
            let floor = hint.map_or(Duration::ZERO, |hint| Duration::from_nanos(nanos(hint)));
            let too_long = hint.is_some_and(|hint| nanos(hint) > nanos(most));
            if too_long || floor > elapsed {
                prop_assert!(ends, "waits beyond its bounds");
            }
            if !too_long && base.saturating_mul(2).saturating_add(floor) < elapsed {
                prop_assert!(!ends, "ends although there is time");
            }
            Ok(())
        })
    });
}
