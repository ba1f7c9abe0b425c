//! Times and settings.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    duration, half, holds, number, paused_runtime,
    rejected::{Limit, Reason, Rejected},
    settings,
    time::{CENTURY, Clock, Nanos, TimerUse, nanos},
};

const TIMER: TimerUse = TimerUse { what: "a test", otherwise: "wait for nothing" };

/// Times beyond the end of the clock are its end.
#[test]
fn c8_times_saturate_and_never_wrap() {
    holds(file!(), (number(), duration(), number()), |(at, wait, other)| {
        let exact = u128::from(at) + wait.as_nanos();
        let after = Nanos::new(at).after(wait);
        prop_assert_eq!(u128::from(after.get()), exact.min(u128::from(u64::MAX)));
        let since = Nanos::new(at).since(Nanos::new(other));
        prop_assert_eq!(since.as_nanos(), u128::from(at.saturating_sub(other)));
        prop_assert_eq!(u128::from(nanos(wait)), wait.as_nanos().min(u128::from(u64::MAX)));
        Ok(())
    });
}

/// The timer fires at once only if its time has passed.
#[test]
fn c8_timer_can_be_set_for_any_time() {
    let runtime = paused_runtime::runtime();
    holds(file!(), number(), |at| {
        runtime.block_on(async {
            let clock = Clock::start();
            let mut timer = clock.timer(Nanos::new(at), &TIMER);
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(timer.poll(cx))).await;
            prop_assert_eq!(polled.is_ready(), at == 0);
            Ok(())
        })
    });
}

/// The error of a refused setting has its name and its value.
#[test]
fn c7_every_number_is_valid_or_refused() {
    holds(file!(), (half(), duration()), |(limit, length)| {
        let permits = settings::permits("limit", limit);
        if (1..=2_147_483_647).contains(&limit) {
            prop_assert_eq!(permits, Ok(limit));
        } else {
            let error = permits.unwrap_err().to_string();
            prop_assert!(error.starts_with(&format!("limit is {limit}: ")), "{}", error);
        }
        let window = settings::window(length);
        if !length.is_zero() && length <= CENTURY {
            prop_assert_eq!(window, Ok(length));
        } else {
            let error = window.unwrap_err().to_string();
            prop_assert!(error.starts_with(&format!("window is {length:?}: ")), "{}", error);
        }
        prop_assert_eq!(settings::queue(limit), limit.min(settings::MAX_QUEUE));
        Ok(())
    });
}

/// The longest wait is 584 years.
#[test]
fn w6_any_wait_is_rounded_up_to_seconds_and_never_zero() {
    holds(file!(), duration(), |wait| {
        let rejected = Rejected::new(Limit::Rate, Reason::QueueFull, Some(wait));
        let wait = wait.min(Duration::from_nanos(u64::MAX - 1));
        prop_assert_eq!(rejected.retry_after(), Some(wait));
        let exact = wait.as_nanos().div_ceil(1_000_000_000).max(1);
        prop_assert_eq!(rejected.retry_after_secs().map(u128::from), Some(exact));
        Ok(())
    });
}
