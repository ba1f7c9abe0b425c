//! S5: what a limit takes of memory: by itself, for a clone, and for each who waits.
//!
//! *Service* is its size above the inner one's, which is nothing. *Limit*, *clone* and *waiter* are bytes on the
//! heap that are live after a limit was made, a service was cloned, and so many have begun to wait, divided by
//! them; capacities that grew for them count. *In all* is a waiter with what holds its place: the service, or where
//! one waits in the call, its future. What tokio's timers keep for a sleeper is in it.

use std::sync::{Arc, Mutex};

use allocation_counter::measure;
use tower::{Layer, limit::ConcurrencyLimitLayer};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

use crate::{
    args::Pace,
    field::{Field, floor, other, ours, same},
    neighbours::{self, LONG},
    race,
    report::{Figure, Section, less, plain},
    service::{SMALL, Stuck},
    waiters::{InSlab, Slab, in_call, in_line, pending, ready, spend},
};

const SERVICE: Figure = plain("service", "bytes");
const LIMIT: Figure = plain("limit", "bytes");
const CLONE: Figure = plain("clone", "bytes");
const WAITER: Figure = less("waiter", "heap bytes");
pub(crate) const IN_ALL: Figure = less("waiter", "bytes in all");

/// Figures with so many waiters.
type Weigh = Box<dyn Fn(usize) -> Vec<(Figure, f64)>>;

pub(crate) fn run(pace: Pace) -> Vec<Section> {
    let counts =
        pace.pick(&[100][..], &[100, 1_000, 10_000, 100_000], &[100, 1_000, 10_000, 100_000]);
    let mut sections = Vec::new();
    for (kind, field) in [("gate", gate as fn(String) -> Field<Weigh>), ("window", window)] {
        for &waiting in counts {
            let field = field(format!("{kind}, {waiting} waiting"));
            let mut section = race::rounds(&field, 1, |contender| (contender.make)()(waiting));
            section.at = Some((kind.to_owned(), waiting));
            sections.push(section);
        }
    }
    sections
}

fn gate(title: String) -> Field<Weigh> {
    Field::new(title)
        .with(floor("wakers in a slab"), slab)
        .with(same("tower ConcurrencyLimit", "shared by clones"), || {
            services(|| ConcurrencyLimitLayer::new(1).layer(SMALL), ready, in_line)
        })
        .with(same("tower-resilience bulkhead", "shared, waits in the call"), || {
            services(|| neighbours::bulkhead(1).layer(Stuck), in_call, in_call)
        })
        .with(same("tower-resilience bulkhead, ready", "shared"), || {
            services(|| neighbours::bulkhead_ready(1).layer(SMALL), ready, in_line)
        })
        .with(ours("gate", "shared"), || {
            services(|| ConcurrencyBackpressureLayer::new(1).layer(SMALL), ready, in_line)
        })
}

fn window(title: String) -> Field<Weigh> {
    Field::new(title)
        .with(floor("wakers in a slab"), slab)
        .with(same("tower-resilience log", "exact, waits in the call"), || {
            services(|| neighbours::sliding_log(1, LONG, LONG).layer(SMALL), spend, in_call)
        })
        .with(same("tower-resilience log, ready", "exact"), || {
            services(|| neighbours::sliding_log_ready(1, LONG).layer(SMALL), spend, in_line)
        })
        .with(other("governor", "up to 2 N"), || {
            let make = || Arc::new(neighbours::governor(1, LONG));
            let wait = |limiter: &Arc<governor::DefaultDirectRateLimiter>| {
                let limiter = Arc::clone(limiter);
                pending(Box::pin(async move { limiter.until_ready().await }))
            };
            services(make, |limiter| limiter.check().expect("the first goes"), wait)
        })
        .with(other("leaky-bucket", "up to 2 N"), || {
            let make = || Arc::new(neighbours::leaky_bucket(1, LONG));
            let wait = |limiter: &Arc<leaky_bucket::RateLimiter>| {
                pending(Box::pin(Arc::clone(limiter).acquire_owned(1)))
            };
            services(make, |limiter| assert!(limiter.try_acquire(1), "the first goes"), wait)
        })
        .with(ours("sliding window", "exact"), || {
            services(|| WindowRateLimitLayer::new(1, LONG).layer(SMALL), spend, in_line)
        })
}

fn slab() -> Weigh {
    services(|| Arc::new(Mutex::new(Slab::default())), |_| (), InSlab::new)
}

/// Weighs a service, or whatever stands for one: how it is made, how its last place is taken, how one waits.
fn services<S: Clone + 'static, H, W>(
    make: impl Fn() -> S + 'static,
    take: impl Fn(&S) -> H + 'static,
    wait: impl Fn(&S) -> W + 'static,
) -> Weigh {
    Box::new(move |waiting| {
        let (service, limit) = weighed(&make);
        let (clone, cloned) = weighed(|| service.clone());
        let taken = take(&service);
        let mut line: Vec<Option<W>> = (0..waiting).map(|_| None).collect();
        let ((), heap) =
            weighed(|| line.iter_mut().for_each(|place| *place = Some(wait(&service))));
        let heap = heap / waiting as f64;
        let figures = vec![
            (SERVICE, size_of::<S>() as f64),
            (LIMIT, limit),
            (CLONE, cloned),
            (WAITER, heap),
            (IN_ALL, heap + size_of::<W>() as f64),
        ];
        drop((line, taken, clone));
        figures
    })
}

/// What comes of it, and what it has left on the heap.
fn weighed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let mut made = None;
    let bytes = measure(|| made = Some(run())).bytes_current;
    (made.expect("it has run"), bytes as f64)
}
