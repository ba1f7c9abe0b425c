//! S1: the cost of an admitted call without contention.
//!
//! A call is `poll_ready`, `call` and one poll of the future, on one thread, to an empty service
//! that is always ready and answers at once. The run panics if a call waits, is rejected or is
//! retried. A stack with a `Buffer` is driven by a runtime on the same thread instead, together
//! with its worker.
//!
//! The windows are so short that permits expire all the time, and so large that they never fill:
//! the refill is measured, a wait is not. tower-resilience's log therefore never holds more entries
//! than calls fit into a window. Limits that are not services are asked before each call of the
//! empty service.

use std::{
    hint::black_box,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::time::Instant;
use tower::{BoxError, Layer, ServiceBuilder, retry::RetryLayer};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    retry::RetryBudget,
};
use tower_resilience_retry::RetryBudgetBuilder;

use crate::{
    batch::{after, calls, clones, driven},
    contenders::{
        Comparison, floor,
        floor::{Floor, acquire, release},
        other, ours,
        peers::{self, LONG},
        policies::{Attempts, Budgeted},
        same,
        stacks::{ATTEMPTS, LARGE_WINDOW, PERMITS, our_stack, resilience_retry, resilience_stack},
    },
    measure::per_call,
    pace::Pace,
    report::Section,
    service::{Bare, SMALL},
};

/// Retries per request.
const RATIO: f32 = 0.25;
const SMALL_WINDOW: (u32, Duration) = (500, Duration::from_micros(1));
const BUFFER: usize = 1_024;

pub(super) fn run(pace: Pace) -> Vec<Section> {
    comparisons().iter().map(|comparison| per_call::counted(comparison, pace)).collect()
}

pub(super) fn comparisons() -> Vec<Comparison> {
    vec![
        primitives(),
        concurrency::<1>("concurrency, a word"),
        concurrency::<14>("concurrency, 112 bytes"),
        window::<1>("window, 100,000, a word", LARGE_WINDOW),
        window::<14>("window, 100,000, 112 bytes", LARGE_WINDOW),
        window::<1>("window, 500, a word", SMALL_WINDOW),
        retry(),
        budget(),
        stack(),
        concurrency_cloned(),
        window_cloned(),
        stack_cloned(),
    ]
}

/// The steps that the limits consist of.
fn primitives() -> Comparison {
    let free = || AtomicU64::new(1);
    Comparison::above("one step", || calls(SMALL))
        .with(floor("acquire and release"), move || {
            let free = free();
            after(move || {
                assert!(acquire(&free), "one permit is free");
                release(&free);
            })
        })
        .with(other("a clock read", "tokio's"), || {
            after(|| {
                black_box(Instant::now());
            })
        })
        .with(other("semaphore", "tokio's, owned permit"), || {
            let semaphore = peers::semaphore(PERMITS);
            after(move || {
                let semaphore = Arc::clone(&semaphore);
                drop(semaphore.try_acquire_owned().expect("a permit is free"));
            })
        })
}

fn concurrency<const WORDS: usize>(title: &str) -> Comparison {
    let bare = || Bare::<WORDS>;
    Comparison::above(title, move || calls(bare()))
        .with(floor("bare"), move || calls(Floor::new(bare())))
        .with(same("tower ConcurrencyLimit", "shared by clones"), move || {
            calls(peers::concurrency_limit(PERMITS).layer(bare()))
        })
        .with(same("tower GlobalConcurrencyLimit", "shared"), move || {
            calls(peers::global_concurrency_limit(PERMITS).layer(bare()))
        })
        .with(same("tower-resilience bulkhead", "shared, waits in the call"), move || {
            calls(peers::bulkhead(PERMITS).layer(bare()))
        })
        .with(same("tower-resilience bulkhead, ready", "shared"), move || {
            calls(peers::bulkhead_ready(PERMITS).layer(bare()))
        })
        .with(ours("backpressure", "shared"), move || {
            calls(ConcurrencyBackpressureLayer::new(PERMITS).layer(bare()))
        })
        .with(ours("backpressure, bounded queue", "shared"), move || {
            let layer = ConcurrencyBackpressureLayer::new(PERMITS).max_queue(10);
            calls(layer.max_wait(Duration::from_secs(1)).layer(bare()))
        })
}

fn window<const WORDS: usize>(title: &str, (limit, window): (u32, Duration)) -> Comparison {
    let bare = || Bare::<WORDS>;
    let comparison = Comparison::above(title, move || calls(bare()));
    // A large limit can read the clock once for many calls.
    let clock_needed = limit == SMALL_WINDOW.0;
    let comparison = if clock_needed {
        comparison.with(floor("bare, with a clock read"), move || calls(Floor::with_clock(bare())))
    } else {
        comparison.with(floor("bare"), move || calls(Floor::new(bare())))
    };
    comparison
        .with(other("tower RateLimit", "not shared, up to 2 N"), move || {
            calls(peers::rate_limit(limit, window).layer(bare()))
        })
        .with_slow(other("tower RateLimit, Buffer", "shared, up to 2 N"), 10, move || {
            driven(|| {
                let service = ServiceBuilder::new().buffer(BUFFER);
                service.layer(peers::rate_limit(limit, window)).service(bare())
            })
        })
        .with(same("tower-resilience log", "shared, exact"), move || {
            calls(peers::sliding_log(limit, window, LONG).layer(bare()))
        })
        .with(same("tower-resilience log, ready", "shared, exact"), move || {
            calls(peers::sliding_log_ready(limit, window).layer(bare()))
        })
        .with(other("tower-resilience fixed", "shared, up to 2 N"), move || {
            calls(peers::fixed(limit, window).layer(bare()))
        })
        .with(other("governor", "shared, up to 2 N"), move || {
            let limiter = peers::governor(limit, window);
            after(move || limiter.check().expect("the window has room"))
        })
        .with(other("leaky-bucket", "shared, up to 2 N"), move || {
            let limiter = peers::leaky_bucket(limit, window);
            after(move || assert!(limiter.try_acquire(1), "the window has room"))
        })
        .with(ours("sliding window", "shared, exact"), move || {
            calls(WindowRateLimitLayer::new(limit, window).layer(bare()))
        })
        .with(ours("sliding window, bounded queue", "shared, exact"), move || {
            let layer = WindowRateLimitLayer::new(limit, window).max_queue(10);
            calls(layer.max_wait(Duration::from_secs(1)).layer(bare()))
        })
        .with(ours("fixed window", "shared, up to 2 N"), move || {
            calls(WindowRateLimitLayer::fixed(limit, window).layer(bare()))
        })
}

fn retry() -> Comparison {
    Comparison::above("retry", || calls(SMALL))
        .with(same("tower Retry, counts attempts", "no backoff"), || {
            calls(RetryLayer::new(Attempts(ATTEMPTS)).layer(SMALL))
        })
        .with(same("tower-resilience retry", "backoff"), || {
            calls(resilience_retry::<BoxError>().build().layer(SMALL))
        })
        .with(ours("retry", "backoff, jitter"), || {
            calls(ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS)).layer(SMALL))
        })
        .with(ours("retry, max_elapsed", "backoff, jitter"), || {
            let policy = ExponentialRetry::new(ATTEMPTS).max_elapsed(Duration::from_secs(60));
            calls(ExponentialRetryLayer::new(policy).layer(SMALL))
        })
}

fn budget() -> Comparison {
    let policy = || ExponentialRetry::new(ATTEMPTS);
    Comparison::above("retry, budget", || calls(SMALL))
        .with(same("tower Retry, TpsBudget", "a share of the requests"), || {
            calls(RetryLayer::new(Budgeted::new(RATIO)).layer(SMALL))
        })
        .with(other("tower-resilience retry, tokens", "a deposit a request"), || {
            let budget =
                RetryBudgetBuilder::new().token_bucket().build().expect("the defaults are valid");
            calls(resilience_retry::<BoxError>().budget(budget).build().layer(SMALL))
        })
        .with(ours("retry, full budget", "a share of the requests"), move || {
            let budget = RetryBudget::new(RATIO.into());
            // Full, as without failures.
            (0..1_000).for_each(|_| budget.deposit());
            calls(ExponentialRetryLayer::new(policy().budget(budget)).layer(SMALL))
        })
        .with(ours("retry, deposits", "a share of the requests"), move || {
            // Never full, so that every request makes a deposit.
            let budget = RetryBudget::builder(RATIO.into()).max_saved(u32::MAX).build();
            calls(ExponentialRetryLayer::new(policy().budget(budget)).layer(SMALL))
        })
}

fn stack() -> Comparison {
    let (limit, window) = LARGE_WINDOW;
    Comparison::above("stack of three", || calls(SMALL))
        .with(floor("bare, with a clock read"), || calls(Floor::with_clock(SMALL)))
        .with(other("tower, not shared", "concurrency, rate, retry"), move || {
            let service = ServiceBuilder::new()
                .layer(peers::concurrency_limit(PERMITS))
                .layer(peers::rate_limit(limit, window))
                .layer(RetryLayer::new(Attempts(ATTEMPTS)));
            calls(service.service(SMALL))
        })
        .with_slow(same("tower, shared", "concurrency, retry, Buffer, rate"), 10, move || {
            driven(|| {
                let service = ServiceBuilder::new()
                    .layer(peers::global_concurrency_limit(PERMITS))
                    .layer(RetryLayer::new(Attempts(ATTEMPTS)))
                    .buffer(BUFFER);
                service.layer(peers::rate_limit(limit, window)).service(SMALL)
            })
        })
        .with(same("tower-resilience", "concurrency, retry, rate"), || calls(resilience_stack()))
        .with(ours("ours, tower's order", "concurrency, rate, retry"), move || {
            let service = ServiceBuilder::new()
                .layer(ConcurrencyBackpressureLayer::new(PERMITS))
                .layer(WindowRateLimitLayer::new(limit, window))
                .layer(ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS)));
            calls(service.service(SMALL))
        })
        .with(ours("ours", "concurrency, retry, rate"), || calls(our_stack()))
}

fn concurrency_cloned() -> Comparison {
    Comparison::above("concurrency, a clone per call", || clones(SMALL))
        .with(floor("bare"), || clones(Floor::new(SMALL)))
        .with(same("tower ConcurrencyLimit", "shared by clones"), || {
            clones(peers::concurrency_limit(PERMITS).layer(SMALL))
        })
        .with(same("tower-resilience bulkhead", "shared, waits in the call"), || {
            clones(peers::bulkhead(PERMITS).layer(SMALL))
        })
        .with(ours("backpressure", "shared"), || {
            clones(ConcurrencyBackpressureLayer::new(PERMITS).layer(SMALL))
        })
}

fn window_cloned() -> Comparison {
    let (limit, window) = LARGE_WINDOW;
    Comparison::above("window, a clone per call", || clones(SMALL))
        .with(floor("bare, with a clock read"), || clones(Floor::with_clock(SMALL)))
        .with(same("tower-resilience log", "shared, exact"), move || {
            clones(peers::sliding_log(limit, window, LONG).layer(SMALL))
        })
        .with(other("governor", "shared, up to 2 N"), move || {
            let limiter = Arc::new(peers::governor(limit, window));
            after(move || {
                let limiter = black_box(Arc::clone(&limiter));
                limiter.check().expect("the window has room");
            })
        })
        .with(ours("sliding window", "shared, exact"), move || {
            clones(WindowRateLimitLayer::new(limit, window).layer(SMALL))
        })
}

fn stack_cloned() -> Comparison {
    Comparison::above("stack of three, a clone per call", || clones(SMALL))
        .with(floor("bare, with a clock read"), || clones(Floor::with_clock(SMALL)))
        .with(same("tower-resilience", "concurrency, retry, rate"), || clones(resilience_stack()))
        .with(ours("ours", "concurrency, retry, rate"), || clones(our_stack()))
}
