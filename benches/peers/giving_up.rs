//! S7: what it costs a waiter to give up.
//!
//! So many wait; half of them, chosen at random, are dropped in a random order, and as many join again. Only
//! the dropping is timed. A waiter is a service that isn't ready, or where one waits in the call, its future: what is
//! dropped with it is in the figure. If the cost doesn't grow with the line, it grows only by what doesn't fit into
//! the caches any more, as that of the floor does.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use tower::{Layer, limit::ConcurrencyLimitLayer};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

use crate::{
    args::Pace,
    field::{Field, floor, other, ours, same},
    neighbours::{self, LONG},
    race::{self, uncounted},
    report::{Figure, Section, less},
    service::{SMALL, Stuck},
    waiters::{InSlab, Slab, in_call, in_line, pending, ready, spend},
};

const GIVE_UP: Figure = less("giving up", "ns");

/// Nanoseconds of a waiter that gives up.
type Round = Box<dyn FnMut() -> f64>;

pub(crate) fn run(pace: Pace) -> Vec<Section> {
    let counts = pace.pick(&[100][..], &[100, 10_000, 100_000], &[100, 10_000, 100_000]);
    let gates = counts.iter().map(|&waiting| gate(waiting));
    let windows = counts.iter().map(|&waiting| window(waiting));
    gates.chain(windows).map(|field| race(&field, pace)).collect()
}

fn race(field: &Field<Round>, pace: Pace) -> Section {
    let rounds = pace.pick(1, 10, 40);
    let mut lines: Vec<(String, Round)> = field
        .contenders
        .iter()
        .map(|contender| (contender.who.name.clone(), (contender.make)()))
        .collect();
    race::rounds(field, rounds, |contender| {
        let line = lines.iter_mut().find(|(name, _)| *name == contender.who.name);
        let (_, round) = line.expect("one for each contender");
        vec![(GIVE_UP, uncounted(round))]
    })
}

fn gate(waiting: usize) -> Field<Round> {
    Field::new(format!("gate, {waiting} waiting"))
        .with(floor("a slab of wakers"), move || {
            let slab = Arc::new(Mutex::new(Slab::default()));
            line(waiting, (), move || InSlab::new(&slab))
        })
        .with(same("tower ConcurrencyLimit", "in order"), move || {
            let service = ConcurrencyLimitLayer::new(1).layer(SMALL);
            line(waiting, ready(&service), move || in_line(&service))
        })
        .with(same("tower-resilience bulkhead", "in order"), move || {
            let service = neighbours::bulkhead(1).layer(Stuck);
            line(waiting, in_call(&service), move || in_call(&service))
        })
        .with(same("tower-resilience bulkhead, ready", "in order"), move || {
            let service = neighbours::bulkhead_ready(1).layer(SMALL);
            line(waiting, ready(&service), move || in_line(&service))
        })
        .with(ours("gate", "in order"), move || {
            let service = ConcurrencyBackpressureLayer::new(1).layer(SMALL);
            line(waiting, ready(&service), move || in_line(&service))
        })
}

fn window(waiting: usize) -> Field<Round> {
    Field::new(format!("window, {waiting} waiting"))
        .with(floor("a slab of wakers"), move || {
            let slab = Arc::new(Mutex::new(Slab::default()));
            line(waiting, (), move || InSlab::new(&slab))
        })
        .with(same("tower-resilience log", "exact, in no order"), move || {
            let service = neighbours::sliding_log(1, LONG, LONG).layer(SMALL);
            spend(&service);
            line(waiting, (), move || in_call(&service))
        })
        .with(same("tower-resilience log, ready", "exact, in no order"), move || {
            let service = neighbours::sliding_log_ready(1, LONG).layer(SMALL);
            spend(&service);
            line(waiting, (), move || in_line(&service))
        })
        .with(other("leaky-bucket", "up to 2 N, in order"), move || {
            let limiter = Arc::new(neighbours::leaky_bucket(1, LONG));
            assert!(limiter.try_acquire(1), "the first goes");
            line(waiting, (), move || pending(Box::pin(Arc::clone(&limiter).acquire_owned(1))))
        })
        .with(ours("sliding window", "exact, in order"), move || {
            let service = WindowRateLimitLayer::new(1, LONG).layer(SMALL);
            spend(&service);
            line(waiting, (), move || in_line(&service))
        })
}

/// A line of so many behind whoever holds the place.
fn line<H: 'static, W: 'static>(waiting: usize, held: H, join: impl Fn() -> W + 'static) -> Round {
    let mut line: Vec<Option<W>> = (0..waiting).map(|_| Some(join())).collect();
    let mut order: Vec<usize> = (0..waiting).collect();
    Box::new(move || {
        let _held = &held;
        fastrand::shuffle(&mut order);
        let leaving = &order[..waiting / 2];
        let begin = Instant::now();
        for &place in leaving {
            line[place] = None;
        }
        let nanos = begin.elapsed().as_nanos() as f64 / leaving.len() as f64;
        for &place in leaving {
            line[place] = Some(join());
        }
        nanos
    })
}
