//! The layers with the longest waits there are.

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

use crate::{clock::nanos, duration, holds, paused_runtime::run};

/// B3, C8: one may wait for any time, up to the longest there is.
#[test]
fn c8_b3_max_wait_may_have_any_length() {
    holds(file!(), duration(), |wait| {
        run(async {
            let layer = ConcurrencyBackpressureLayer::new(1).max_wait(wait).respond(|_| ());
            let handle = layer.handle();
            let mut cx = Context::from_waker(Waker::noop());
            let inner = service_fn(|(): ()| pending::<Result<(), ()>>());
            let (mut first, mut second) = (layer.layer(inner), layer.layer(inner));
            prop_assert!(first.poll_ready(&mut cx).is_ready());
            prop_assert_eq!(second.poll_ready(&mut cx).is_ready(), wait.is_zero());
            prop_assert_eq!(handle.waiting(), usize::from(!wait.is_zero()));
            Ok(())
        })
    });
}

/// W5, W6, W7, C8: pauses and waits of any length: turned away at once with the time, or let wait.
#[test]
fn c8_w5_w6_w7_pause_and_max_wait_may_have_any_length() {
    holds(file!(), (duration(), duration()), |(pause, wait)| {
        run(async {
            let layer = WindowRateLimitLayer::new(1, Duration::from_nanos(1));
            let handle = layer.handle();
            let mut service = layer
                .max_wait(wait)
                .respond(Some)
                .layer(service_fn(|(): ()| ready(Ok::<_, ()>(None))));
            let mut cx = Context::from_waker(Waker::noop());
            handle.pause_for(pause);
            let polled = service.poll_ready(&mut cx);
            if pause.is_zero() || nanos(pause) > nanos(wait) {
                prop_assert!(polled.is_ready());
                let mut answer = task::spawn(service.call(()));
                let Poll::Ready(Ok(answer)) = answer.poll() else { panic!("answered at once") };
                let told = answer.map(|rejected| rejected.retry_after().unwrap());
                // As far as can be told: 584 years, less a nanosecond.
                let longest = Duration::from_nanos(u64::MAX - 1);
                let expected = (!pause.is_zero()).then_some(pause.min(longest));
                prop_assert_eq!(told, expected);
            } else {
                prop_assert!(polled.is_pending());
            }
            Ok(())
        })
    });
}

/// R2, R3, R4, C8: hints, backoffs and bounds of any length; who may not wait gives up at once, and who may
/// waits.
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
            let mut answer = task::spawn(service.call(()));
            let gave_up = answer.poll().is_ready();
            // Twice the wait and the hint is more than any draw; the hint (as far as nanoseconds reach) is
            // no more than any.
            let floor = hint.map_or(Duration::ZERO, |hint| Duration::from_nanos(nanos(hint)));
            let too_long = hint.is_some_and(|hint| nanos(hint) > nanos(most));
            if too_long || floor > elapsed {
                prop_assert!(gave_up, "waits longer than it may");
            }
            if !too_long && base.saturating_mul(2).saturating_add(floor) < elapsed {
                prop_assert!(!gave_up, "gave up although there is time");
            }
            Ok(())
        })
    });
}
