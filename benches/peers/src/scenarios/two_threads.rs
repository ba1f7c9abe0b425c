//! S2: two threads that call through one shared limit which never fills.
//!
//! Each thread has a clone of its own and calls it as in S1, for a fixed time. The figure is the
//! calls of both per second.

use std::{sync::Arc, time::Duration};

use tower::{BoxError, Layer, Service, retry::RetryLayer};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    retry::RetryBudget,
};

use crate::{
    batch::{after, calls},
    contenders::{
        Comparison, floor,
        floor::Floor,
        other, ours,
        peers::{self, LONG},
        policies::{Attempts, Budgeted},
        same,
        stacks::{ATTEMPTS, PERMITS, our_stack, resilience_stack},
    },
    measure::pair::{self, Pair},
    pace::Pace,
    report::Section,
    service::SMALL,
};

/// A window with more permits than two threads use, and longer than a thread is preempted: governor
/// rejects a call that reads an older time than the one before it.
const WINDOW: (u32, Duration) = (1_000_000, Duration::from_millis(10));

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let comparisons = [concurrency(), window(), retry(), stack()];
    comparisons.iter().flat_map(|comparison| pair::measured(comparison, pace)).collect()
}

fn concurrency() -> Comparison<Pair> {
    Comparison::new("concurrency")
        .with(floor("bare"), || pair(Floor::new(SMALL)))
        .with(same("tower ConcurrencyLimit", "shared by clones"), || {
            pair(peers::concurrency_limit(PERMITS).layer(SMALL))
        })
        .with(same("tower GlobalConcurrencyLimit", "shared"), || {
            pair(peers::global_concurrency_limit(PERMITS).layer(SMALL))
        })
        .with(same("tower-resilience bulkhead", "shared"), || {
            pair(peers::bulkhead(PERMITS).layer(SMALL))
        })
        .with(ours("backpressure", "shared"), || {
            pair(ConcurrencyBackpressureLayer::new(PERMITS).layer(SMALL))
        })
}

fn window() -> Comparison<Pair> {
    let (limit, window) = WINDOW;
    Comparison::new("window")
        .with(floor("bare, with a clock read"), || pair(Floor::with_clock(SMALL)))
        .with(same("tower-resilience log", "exact"), move || {
            pair(peers::sliding_log(limit, window, LONG).layer(SMALL))
        })
        .with(other("governor", "up to 2 N"), move || {
            let limiter = Arc::new(peers::governor(limit, window));
            [Arc::clone(&limiter), limiter]
                .map(|limiter| after(move || limiter.check().expect("the window has room")))
        })
        .with(other("leaky-bucket", "up to 2 N"), move || {
            let limiter = Arc::new(peers::leaky_bucket(limit, window));
            [Arc::clone(&limiter), limiter].map(|limiter| {
                after(move || assert!(limiter.try_acquire(1), "the window has room"))
            })
        })
        .with(ours("sliding window", "exact"), move || {
            pair(WindowRateLimitLayer::new(limit, window).layer(SMALL))
        })
        .with(ours("fixed window", "up to 2 N"), move || {
            pair(WindowRateLimitLayer::fixed(limit, window).layer(SMALL))
        })
}

fn retry() -> Comparison<Pair> {
    let policy = || ExponentialRetry::new(ATTEMPTS);
    Comparison::new("retry")
        .with(other("tower Retry, counts attempts", "no budget"), || {
            pair(RetryLayer::new(Attempts(ATTEMPTS)).layer(SMALL))
        })
        .with(same("tower Retry, TpsBudget", "budget"), || {
            pair(RetryLayer::new(Budgeted::new(0.25)).layer(SMALL))
        })
        .with(other("tower-resilience retry", "no budget"), || {
            let layer = tower_resilience_retry::RetryLayer::<u32, [u64; 1], BoxError>::builder();
            pair(layer.build().layer(SMALL))
        })
        .with(ours("retry, no budget", "no budget"), move || {
            pair(ExponentialRetryLayer::new(policy()).layer(SMALL))
        })
        .with(ours("retry, full budget", "budget"), move || {
            let budget = RetryBudget::new(0.25);
            (0..1_000).for_each(|_| budget.deposit());
            pair(ExponentialRetryLayer::new(policy().budget(budget)).layer(SMALL))
        })
        .with(ours("retry, deposits", "budget"), move || {
            let budget = RetryBudget::builder(0.25).max_saved(u32::MAX).build();
            pair(ExponentialRetryLayer::new(policy().budget(budget)).layer(SMALL))
        })
}

fn stack() -> Comparison<Pair> {
    Comparison::new("stack of three")
        .with(floor("bare, with a clock read"), || pair(Floor::with_clock(SMALL)))
        .with(same("tower-resilience", "concurrency, retry, rate"), || pair(resilience_stack()))
        .with(ours("ours", "concurrency, retry, rate"), || pair(our_stack()))
}

fn pair<S: Service<u32> + Clone + Send + 'static>(service: S) -> Pair {
    [calls(service.clone()), calls(service)]
}
