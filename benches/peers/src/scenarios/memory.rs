//! S5: the memory of a limit: by itself, per clone and per waiter.
//!
//! *Service* is the size of the service without the inner one, which is empty. *Limit*, *clone* and
//! *waiter* are bytes on the heap that are live after a limit was made, a service was cloned, and a
//! number of waiters have queued, divided by that number; spare capacity counts. *In all* is a
//! waiter with the service, or where the limit waits in the call, with its future. The memory of
//! tokio's timers for a sleeping task is included.

use std::sync::{Arc, Mutex};

use tower::{Layer, limit::ConcurrencyLimitLayer};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

use crate::{
    contenders::{
        Comparison, floor, other, ours,
        peers::{self, LONG},
        same,
        slab::{InSlab, Slab},
        waiters::{in_call, pending, queued, ready, spend},
    },
    measure::{allocations::live_bytes, rounds::rounds},
    pace::Pace,
    report::{Figure, Section, less, plain},
    service::{SMALL, Stuck},
};

const SERVICE: Figure = plain("service", "bytes");
const LIMIT: Figure = plain("limit", "bytes");
const CLONE: Figure = plain("clone", "bytes");
const WAITER: Figure = less("waiter", "heap bytes");
pub(super) const IN_ALL: Figure = less("waiter", "bytes in all");

/// Returns the figures for a number of waiters.
type Weigh = Box<dyn Fn(usize) -> Vec<(Figure, f64)>>;

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let counts =
        pace.pick(&[100][..], &[100, 1_000, 10_000, 100_000], &[100, 1_000, 10_000, 100_000]);
    let mut sections = Vec::new();
    let kinds =
        [("concurrency", concurrency as fn(String) -> Comparison<Weigh>), ("window", window)];
    for (kind, comparison) in kinds {
        for &waiters in counts {
            let comparison = comparison(format!("{kind}, {waiters} waiting"));
            let mut section = rounds(&comparison, 1, |contender| (contender.make)()(waiters));
            section.at = Some((kind.to_owned(), waiters));
            sections.push(section);
        }
    }
    sections
}

fn concurrency(title: String) -> Comparison<Weigh> {
    Comparison::new(title)
        .with(floor("wakers in a slab"), slab)
        .with(same("tower ConcurrencyLimit", "shared by clones"), || {
            services(|| ConcurrencyLimitLayer::new(1).layer(SMALL), ready, queued)
        })
        .with(same("tower-resilience bulkhead", "shared, waits in the call"), || {
            services(|| peers::bulkhead(1).layer(Stuck), in_call, in_call)
        })
        .with(same("tower-resilience bulkhead, ready", "shared"), || {
            services(|| peers::bulkhead_ready(1).layer(SMALL), ready, queued)
        })
        .with(ours("backpressure", "shared"), || {
            services(|| ConcurrencyBackpressureLayer::new(1).layer(SMALL), ready, queued)
        })
}

fn window(title: String) -> Comparison<Weigh> {
    Comparison::new(title)
        .with(floor("wakers in a slab"), slab)
        .with(same("tower-resilience log", "exact, waits in the call"), || {
            services(|| peers::sliding_log(1, LONG, LONG).layer(SMALL), spend, in_call)
        })
        .with(same("tower-resilience log, ready", "exact"), || {
            services(|| peers::sliding_log_ready(1, LONG).layer(SMALL), spend, queued)
        })
        .with(other("governor", "up to 2 N"), || {
            let make = || Arc::new(peers::governor(1, LONG));
            let wait = |limiter: &Arc<governor::DefaultDirectRateLimiter>| {
                let limiter = Arc::clone(limiter);
                pending(Box::pin(async move { limiter.until_ready().await }))
            };
            services(make, |limiter| limiter.check().expect("the first call is admitted"), wait)
        })
        .with(other("leaky-bucket", "up to 2 N"), || {
            let make = || Arc::new(peers::leaky_bucket(1, LONG));
            let wait = |limiter: &Arc<leaky_bucket::RateLimiter>| {
                pending(Box::pin(Arc::clone(limiter).acquire_owned(1)))
            };
            services(
                make,
                |limiter| assert!(limiter.try_acquire(1), "the first call is admitted"),
                wait,
            )
        })
        .with(ours("sliding window", "exact"), || {
            services(|| WindowRateLimitLayer::new(1, LONG).layer(SMALL), spend, queued)
        })
}

fn slab() -> Weigh {
    services(|| Arc::new(Mutex::new(Slab::default())), |_| (), InSlab::new)
}

/// Weighs a service or a limiter.
///
/// `make` creates it, `take` acquires its last permit, `wait` adds a waiter.
fn services<S: Clone + 'static, H, W>(
    make: impl Fn() -> S + 'static,
    take: impl Fn(&S) -> H + 'static,
    wait: impl Fn(&S) -> W + 'static,
) -> Weigh {
    Box::new(move |waiters| {
        let (service, limit) = live_bytes(&make);
        let (clone, cloned) = live_bytes(|| service.clone());
        let taken = take(&service);
        let mut queue: Vec<Option<W>> = (0..waiters).map(|_| None).collect();
        let ((), heap) =
            live_bytes(|| queue.iter_mut().for_each(|entry| *entry = Some(wait(&service))));
        let heap = heap / waiters as f64;
        let figures = vec![
            (SERVICE, size_of::<S>() as f64),
            (LIMIT, limit),
            (CLONE, cloned),
            (WAITER, heap),
            (IN_ALL, heap + size_of::<W>() as f64),
        ];
        drop((queue, taken, clone));
        figures
    })
}
