//! S1: what an admitted call costs that meets nobody else.
//!
//! A call is `poll_ready`, `call` and one poll of the future, on one thread, through to an empty service that
//! is always ready and answers at once. None waits, is turned away or retried: if one is, the run panics.
//! What is behind a `Buffer` is driven by a runtime on the same thread instead, with its worker.
//!
//! The windows are so short that places come back all the time, and so large that they never run out:
//! taking places back is measured, waiting isn't. tower-resilience's log therefore never holds more than what
//! fits into the window's length. Limits that aren't services are asked before each call of the empty one.

use std::{
    hint::black_box,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use tower::{
    BoxError, Layer, Service, ServiceBuilder,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer},
    retry::RetryLayer,
};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    retry::RetryBudget,
};
use tower_resilience_retry::{RetryBudgetBuilder, RetryConfigBuilder};

use crate::{
    args::Pace,
    field::{Field, floor, other, ours, same},
    floor::{Floor, enter, leave},
    neighbours::{self, LONG},
    policies::{Attempts, Budgeted},
    race,
    report::Section,
    service::{Bare, SMALL, after, calls, clones, driven},
};

/// As many as are never in flight here.
const PLACES: usize = 1_000;
const ATTEMPTS: u32 = 3;
/// Retries per request.
const RATIO: f32 = 0.25;
const LARGE_WINDOW: (u64, Duration) = (100_000, Duration::from_micros(100));
const SMALL_WINDOW: (u64, Duration) = (500, Duration::from_micros(1));
const BUFFER: usize = 1_024;

pub(crate) fn run(pace: Pace) -> Vec<Section> {
    fields().iter().map(|field| race::counted(field, pace)).collect()
}

pub(crate) fn fields() -> Vec<Field> {
    vec![
        primitives(),
        gate::<1>("gate, a word"),
        gate::<14>("gate, 112 bytes"),
        window::<1>("window, 100,000, a word", LARGE_WINDOW),
        window::<14>("window, 100,000, 112 bytes", LARGE_WINDOW),
        window::<1>("window, 500, a word", SMALL_WINDOW),
        retry(),
        budget(),
        stack(),
        gate_cloned(),
        window_cloned(),
        stack_cloned(),
    ]
}

/// What everything else is made of.
fn primitives() -> Field {
    let free = || AtomicU64::new(1);
    Field::above("one step", || calls(SMALL))
        .with(floor("a place in, a place out"), move || {
            let free = free();
            after(move || {
                assert!(enter(&free));
                leave(&free);
            })
        })
        .with(other("a clock read", "tokio's"), || {
            after(|| {
                black_box(Instant::now());
            })
        })
        .with(other("semaphore", "tokio's, owned permit"), || {
            let semaphore = Arc::new(Semaphore::new(PLACES));
            after(move || {
                let semaphore = Arc::clone(&semaphore);
                drop(semaphore.try_acquire_owned().expect("a permit"));
            })
        })
}

fn gate<const WORDS: usize>(title: &str) -> Field {
    let bare = || Bare::<WORDS>;
    Field::above(title, move || calls(bare()))
        .with(floor("bare"), move || calls(Floor::new(bare())))
        .with(same("tower ConcurrencyLimit", "shared by clones"), move || {
            calls(ConcurrencyLimitLayer::new(PLACES).layer(bare()))
        })
        .with(same("tower GlobalConcurrencyLimit", "shared"), move || {
            calls(GlobalConcurrencyLimitLayer::new(PLACES).layer(bare()))
        })
        .with(same("tower-resilience bulkhead", "shared, waits in the call"), move || {
            calls(neighbours::bulkhead(PLACES).layer(bare()))
        })
        .with(same("tower-resilience bulkhead, ready", "shared"), move || {
            calls(neighbours::bulkhead_ready(PLACES).layer(bare()))
        })
        .with(ours("gate", "shared"), move || {
            calls(ConcurrencyBackpressureLayer::new(PLACES).layer(bare()))
        })
        .with(ours("gate, bounded line", "shared"), move || {
            let layer = ConcurrencyBackpressureLayer::new(PLACES).max_waiting(10);
            calls(layer.max_wait(Duration::from_secs(1)).layer(bare()))
        })
}

fn window<const WORDS: usize>(title: &str, (limit, window): (u64, Duration)) -> Field {
    let bare = || Bare::<WORDS>;
    let field = Field::above(title, move || calls(bare()));
    // Of a large limit, times may be noted for many at once.
    let clock_needed = limit == SMALL_WINDOW.0;
    let field = if clock_needed {
        field.with(floor("bare, with a clock read"), move || calls(Floor::with_clock(bare())))
    } else {
        field.with(floor("bare"), move || calls(Floor::new(bare())))
    };
    field
        .with(other("tower RateLimit", "not shared, up to 2 N"), move || {
            calls(RateLimitLayer::new(limit, window).layer(bare()))
        })
        .with_slow(other("tower RateLimit, Buffer", "shared, up to 2 N"), 10, move || {
            driven(|| {
                let service = ServiceBuilder::new().buffer(BUFFER);
                service.rate_limit(limit, window).service(bare())
            })
        })
        .with(same("tower-resilience log", "shared, exact"), move || {
            calls(neighbours::sliding_log(limit, window, LONG).layer(bare()))
        })
        .with(same("tower-resilience log, ready", "shared, exact"), move || {
            calls(neighbours::sliding_log_ready(limit, window).layer(bare()))
        })
        .with(other("tower-resilience fixed", "shared, up to 2 N"), move || {
            calls(neighbours::fixed(limit, window).layer(bare()))
        })
        .with(other("governor", "shared, up to 2 N"), move || {
            let limiter = neighbours::governor(limit, window);
            after(move || limiter.check().expect("it has room"))
        })
        .with(other("leaky-bucket", "shared, up to 2 N"), move || {
            let limiter = neighbours::leaky_bucket(limit, window);
            after(move || assert!(limiter.try_acquire(1), "it has room"))
        })
        .with(ours("sliding window", "shared, exact"), move || {
            calls(WindowRateLimitLayer::new(limit, window).layer(bare()))
        })
        .with(ours("sliding window, bounded line", "shared, exact"), move || {
            let layer = WindowRateLimitLayer::new(limit, window).max_waiting(10);
            calls(layer.max_wait(Duration::from_secs(1)).layer(bare()))
        })
        .with(ours("fixed window", "shared, up to 2 N"), move || {
            calls(WindowRateLimitLayer::fixed(limit, window).layer(bare()))
        })
}

fn resilience_retry<E: Send + Sync + 'static>() -> RetryConfigBuilder<u32, [u64; 1], E> {
    tower_resilience_retry::RetryLayer::builder().max_attempts(ATTEMPTS as usize)
}

fn retry() -> Field {
    Field::above("retry", || calls(SMALL))
        .with(same("tower Retry, counts attempts", "waits for nothing"), || {
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

fn budget() -> Field {
    let policy = || ExponentialRetry::new(ATTEMPTS);
    Field::above("retry, budget", || calls(SMALL))
        .with(same("tower Retry, TpsBudget", "a share of the requests"), || {
            calls(RetryLayer::new(Budgeted::new(RATIO)).layer(SMALL))
        })
        .with(other("tower-resilience retry, tokens", "a deposit a request"), || {
            let budget = RetryBudgetBuilder::new().token_bucket().build().expect("its defaults");
            calls(resilience_retry::<BoxError>().budget(budget).build().layer(SMALL))
        })
        .with(ours("retry, saved up", "a share of the requests"), move || {
            let budget = RetryBudget::new(RATIO.into());
            // As it is while all goes well: as much is saved as can be.
            (0..1_000).for_each(|_| budget.deposit());
            calls(ExponentialRetryLayer::new(policy().budget(budget)).layer(SMALL))
        })
        .with(ours("retry, paying in", "a share of the requests"), move || {
            // Never as much as can be, so that every request pays in.
            let budget = RetryBudget::new(RATIO.into()).max_saved(u32::MAX);
            calls(ExponentialRetryLayer::new(policy().budget(budget)).layer(SMALL))
        })
}

fn stack() -> Field {
    let (limit, window) = LARGE_WINDOW;
    Field::above("stack of three", || calls(SMALL))
        .with(floor("bare, with a clock read"), || calls(Floor::with_clock(SMALL)))
        .with(other("tower, not shared", "gate, rate, retry"), move || {
            let service = ServiceBuilder::new()
                .layer(ConcurrencyLimitLayer::new(PLACES))
                .layer(RateLimitLayer::new(limit, window))
                .layer(RetryLayer::new(Attempts(ATTEMPTS)));
            calls(service.service(SMALL))
        })
        .with_slow(same("tower, shared", "gate, retry, Buffer, rate"), 10, move || {
            driven(|| {
                let service = ServiceBuilder::new()
                    .layer(GlobalConcurrencyLimitLayer::new(PLACES))
                    .layer(RetryLayer::new(Attempts(ATTEMPTS)))
                    .buffer(BUFFER);
                service.rate_limit(limit, window).service(SMALL)
            })
        })
        .with(same("tower-resilience", "gate, retry, rate"), || calls(resilience_stack()))
        .with(ours("ours, tower's order", "gate, rate, retry"), move || {
            let service = ServiceBuilder::new()
                .layer(ConcurrencyBackpressureLayer::new(PLACES))
                .layer(WindowRateLimitLayer::new(limit, window))
                .layer(ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS)));
            calls(service.service(SMALL))
        })
        .with(ours("ours", "gate, retry, rate"), || calls(our_stack()))
}

pub(crate) fn our_stack()
-> impl Service<u32, Error = BoxError, Future: Send> + Clone + Send + 'static {
    let (limit, window) = LARGE_WINDOW;
    ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(PLACES))
        .layer(ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS)))
        .layer(WindowRateLimitLayer::new(limit, window))
        .service(SMALL)
}

pub(crate) fn resilience_stack() -> impl Service<u32> + Clone + Send + 'static {
    let (limit, window) = LARGE_WINDOW;
    ServiceBuilder::new()
        .layer(neighbours::bulkhead(PLACES))
        .layer(resilience_retry().build())
        .layer(neighbours::sliding_log(limit, window, LONG))
        .service(SMALL)
}

fn gate_cloned() -> Field {
    Field::above("gate, a clone per call", || clones(SMALL))
        .with(floor("bare"), || clones(Floor::new(SMALL)))
        .with(same("tower ConcurrencyLimit", "shared by clones"), || {
            clones(ConcurrencyLimitLayer::new(PLACES).layer(SMALL))
        })
        .with(same("tower-resilience bulkhead", "shared, waits in the call"), || {
            clones(neighbours::bulkhead(PLACES).layer(SMALL))
        })
        .with(ours("gate", "shared"), || {
            clones(ConcurrencyBackpressureLayer::new(PLACES).layer(SMALL))
        })
}

fn window_cloned() -> Field {
    let (limit, window) = LARGE_WINDOW;
    Field::above("window, a clone per call", || clones(SMALL))
        .with(floor("bare, with a clock read"), || clones(Floor::with_clock(SMALL)))
        .with(same("tower-resilience log", "shared, exact"), move || {
            clones(neighbours::sliding_log(limit, window, LONG).layer(SMALL))
        })
        .with(other("governor", "shared, up to 2 N"), move || {
            let limiter = Arc::new(neighbours::governor(limit, window));
            after(move || {
                let limiter = black_box(Arc::clone(&limiter));
                limiter.check().expect("it has room");
            })
        })
        .with(ours("sliding window", "shared, exact"), move || {
            clones(WindowRateLimitLayer::new(limit, window).layer(SMALL))
        })
}

fn stack_cloned() -> Field {
    Field::above("stack of three, a clone per call", || clones(SMALL))
        .with(floor("bare, with a clock read"), || clones(Floor::with_clock(SMALL)))
        .with(same("tower-resilience", "gate, retry, rate"), || clones(resilience_stack()))
        .with(ours("ours", "gate, retry, rate"), || clones(our_stack()))
}
