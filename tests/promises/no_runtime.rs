//! Waits without a runtime, or in one without a timer.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook},
    sync::{Mutex, PoisonError},
    task::Waker,
};

use futures::executor::block_on;
use tower::{Layer, ServiceExt, retry::Policy, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, ExponentialRetry, WindowRateLimitLayer};

use crate::support::{Probe, poll_ready, secs};

/// The message and the file of the last panic of `panics`.
fn panic_of(panics: impl FnOnce()) -> (String, String) {
    static ONE: Mutex<()> = Mutex::new(());
    thread_local!(static PANICS: Mutex<Vec<(String, String)>> = const { Mutex::new(Vec::new()) });
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = take_hook();
    set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let message = panic.payload().downcast_ref::<String>().cloned().unwrap_or_default();
        let file = panic.location().map_or("", |at| at.file()).to_owned();
        PANICS.with(|panics| panics.lock().unwrap().push((message, file)));
    }));
    let outcome = catch_unwind(AssertUnwindSafe(panics));
    set_hook(before);
    outcome.expect_err("a panic");
    PANICS.with(|panics| std::mem::take(&mut *panics.lock().unwrap())).pop().expect("a panic")
}

/// Polls a service at a window without a free permit.
fn wait_for_a_window() {
    let layer = WindowRateLimitLayer::new(1, secs(60));
    let mut holder = layer.layer(Probe::new());
    assert!(poll_ready::<_, u32>(&mut holder, Waker::noop()).is_ready());
    let _ = poll_ready::<_, u32>(&mut layer.layer(Probe::new()), Waker::noop());
}

/// Polls a service with a `max_wait` at a limit without a free permit.
fn wait_with_a_bound() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let mut holder = layer.layer(Probe::new());
    assert!(poll_ready::<_, u32>(&mut holder, Waker::noop()).is_ready());
    let _ = poll_ready::<_, u32>(&mut layer.layer(Probe::new()), Waker::noop());
}

const REMEDY: &str = "wait inside a runtime that is built with `enable_time` or `enable_all`, or ";

/// The panics without a runtime, and within one without a timer.
fn both(wait: fn()) -> [(String, String); 2] {
    let without = panic_of(wait);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    [without, panic_of(wait)]
}

#[test]
fn c2_wait_for_a_window_without_a_timer_names_layer_and_remedy() {
    for (panic, missing) in
        both(wait_for_a_window).into_iter().zip(["there is none here", "this one has none"])
    {
        let (message, file) = panic;
        assert_eq!(
            message,
            format!(
                "WindowRateLimitLayer: a wait for a permit needs a Tokio runtime with a timer, and {missing}: \
                 {REMEDY}reject what would wait, with `max_queue(0)` or `try_acquire`"
            )
        );
        assert!(file.ends_with("tests/promises/support.rs"), "at the poll, not in {file}");
    }
}

#[test]
fn c2_bounded_wait_without_a_timer_names_layer_and_remedy() {
    for (panic, missing) in
        both(wait_with_a_bound).into_iter().zip(["there is none here", "this one has none"])
    {
        let (message, file) = panic;
        assert_eq!(
            message,
            format!(
                "ConcurrencyBackpressureLayer: a wait that `max_wait` or a deadline bounds needs a \
                 Tokio runtime with a timer, and {missing}: {REMEDY}leave both out"
            )
        );
        assert!(file.ends_with("tests/promises/support.rs"), "at the poll, not in {file}");
    }
}

#[test]
fn c2_backoff_without_a_timer_names_layer_and_remedy() {
    let retry = || {
        let mut policy = ExponentialRetry::new(3);
        let _: Option<_> = Policy::<(), (), &str>::retry(&mut policy, &mut (), &mut Err("broken"));
    };
    for ((message, _), missing) in
        both(retry).into_iter().zip(["there is none here", "this one has none"])
    {
        assert_eq!(
            message,
            format!(
                "ExponentialRetry: the wait of its `backoff` before another attempt needs a Tokio runtime \
                 with a timer, and {missing}: {REMEDY}make one attempt only with `ExponentialRetry::new(1)`"
            )
        );
    }
}

#[test]
fn c2_c4_wait_that_panics_without_a_timer_leaves_the_queue() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let (handle, mut holder) = (layer.handle(), layer.layer(Probe::new()));
    assert!(poll_ready::<_, u32>(&mut holder, Waker::noop()).is_ready());
    let mut waiter = layer.layer(service_fn(|_: u32| async { Ok::<_, Infallible>(()) }));
    panic_of(|| drop(poll_ready::<_, u32>(&mut waiter, Waker::noop())));
    drop(waiter);
    assert_eq!((handle.in_flight(), handle.queued()), (1, 0));
    drop(holder);
    block_on(layer.layer(Probe::new()).oneshot(1)).unwrap();
}
