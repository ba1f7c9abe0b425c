//! S7: the cost of cancelling a waiter.
//!
//! Half of the waiters, chosen at random, are dropped in a random order, and as many queue again.
//! Only the drops are timed. A waiter is a service that is not ready or, where the limit waits in
//! the call, its future; dropping that is in the figure. A cost that does not depend on the length
//! of the queue still grows with the cache misses, as the floor's does.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

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
    measure::{allocations::uncounted, rounds::rounds},
    pace::Pace,
    report::{Figure, Section, less},
    service::{SMALL, Stuck},
};

const CANCEL: Figure = less("cancel", "ns");

/// Returns the nanoseconds per cancelled waiter.
type Round = Box<dyn FnMut() -> f64>;

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let counts = pace.pick(&[100][..], &[100, 10_000, 100_000], &[100, 10_000, 100_000]);
    let concurrency = counts.iter().map(|&waiters| concurrency(waiters));
    let windows = counts.iter().map(|&waiters| window(waiters));
    concurrency.chain(windows).map(|comparison| measured(&comparison, pace)).collect()
}

fn measured(comparison: &Comparison<Round>, pace: Pace) -> Section {
    let mut queues: Vec<(String, Round)> = comparison
        .contenders
        .iter()
        .map(|contender| (contender.label.name.clone(), (contender.make)()))
        .collect();
    rounds(comparison, pace.pick(1, 10, 40), |contender| {
        let queue = queues.iter_mut().find(|(name, _)| *name == contender.label.name);
        let (_, round) = queue.expect("each contender has a queue");
        vec![(CANCEL, uncounted(round))]
    })
}

fn concurrency(waiters: usize) -> Comparison<Round> {
    Comparison::new(format!("concurrency, {waiters} waiting"))
        .with(floor("a slab of wakers"), move || {
            let slab = Arc::new(Mutex::new(Slab::default()));
            queue(waiters, (), move || InSlab::new(&slab))
        })
        .with(same("tower ConcurrencyLimit", "in order"), move || {
            let service = ConcurrencyLimitLayer::new(1).layer(SMALL);
            queue(waiters, ready(&service), move || queued(&service))
        })
        .with(same("tower-resilience bulkhead", "in order"), move || {
            let service = peers::bulkhead(1).layer(Stuck);
            queue(waiters, in_call(&service), move || in_call(&service))
        })
        .with(same("tower-resilience bulkhead, ready", "in order"), move || {
            let service = peers::bulkhead_ready(1).layer(SMALL);
            queue(waiters, ready(&service), move || queued(&service))
        })
        .with(ours("backpressure", "in order"), move || {
            let service = ConcurrencyBackpressureLayer::new(1).layer(SMALL);
            queue(waiters, ready(&service), move || queued(&service))
        })
}

fn window(waiters: usize) -> Comparison<Round> {
    Comparison::new(format!("window, {waiters} waiting"))
        .with(floor("a slab of wakers"), move || {
            let slab = Arc::new(Mutex::new(Slab::default()));
            queue(waiters, (), move || InSlab::new(&slab))
        })
        .with(same("tower-resilience log", "exact, in no order"), move || {
            let service = peers::sliding_log(1, LONG, LONG).layer(SMALL);
            spend(&service);
            queue(waiters, (), move || in_call(&service))
        })
        .with(same("tower-resilience log, ready", "exact, in no order"), move || {
            let service = peers::sliding_log_ready(1, LONG).layer(SMALL);
            spend(&service);
            queue(waiters, (), move || queued(&service))
        })
        .with(other("leaky-bucket", "up to 2 N, in order"), move || {
            let limiter = Arc::new(peers::leaky_bucket(1, LONG));
            assert!(limiter.try_acquire(1), "the first call is admitted");
            queue(waiters, (), move || pending(Box::pin(Arc::clone(&limiter).acquire_owned(1))))
        })
        .with(ours("sliding window", "exact, in order"), move || {
            let service = WindowRateLimitLayer::new(1, LONG).layer(SMALL);
            spend(&service);
            queue(waiters, (), move || queued(&service))
        })
}

/// Returns a round over a queue of waiters behind the permit that is `held`.
fn queue<H: 'static, W: 'static>(waiters: usize, held: H, join: impl Fn() -> W + 'static) -> Round {
    let mut queue: Vec<Option<W>> = (0..waiters).map(|_| Some(join())).collect();
    let mut order: Vec<usize> = (0..waiters).collect();
    Box::new(move || {
        let _held = &held;
        fastrand::shuffle(&mut order);
        let leaving = &order[..waiters / 2];
        let begin = Instant::now();
        for &place in leaving {
            queue[place] = None;
        }
        let nanos = begin.elapsed().as_nanos() as f64 / leaving.len() as f64;
        for &place in leaving {
            queue[place] = Some(join());
        }
        nanos
    })
}
