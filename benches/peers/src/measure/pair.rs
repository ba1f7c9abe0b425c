//! Calls per second of two threads that share a limit.
//!
//! The limit's words travel between the caches of two processors. The way is as long as the system
//! places the threads apart, so the round trip of a cache line is measured before and after each
//! round. If round trips differ much, the rounds are reported apart: *near*, below 150 ns, and
//! *far*. Both threads live through a round. Each round builds the limits anew, and repeats a turn
//! during which one thread was preempted.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use tokio::runtime::Handle;

use super::{
    allocations::uncounted,
    round_trip::{ping, pong},
};
use crate::{
    batch::Batch,
    contenders::{Comparison, other},
    pace::Pace,
    report::{Figure, Section, more, plain, stats::median},
};

const CALLS: Figure = more("calls", "million/s");
const TRIP: Figure = plain("round trip", "ns");
/// The longest round trip in nanoseconds within a core or between neighbouring ones.
const NEAR: f64 = 150.0;

/// The batches of the two threads.
pub(crate) type Pair = [Batch; 2];

/// The figures of a round: a round trip, and of each contender millions of calls per second.
struct Round {
    trip: f64,
    calls: Vec<f64>,
}

/// Returns one section, or two if the threads were near in some rounds and far in others.
pub(crate) fn measured(comparison: &Comparison<Pair>, pace: Pace) -> Vec<Section> {
    let rounds = pace.pick(1, 15, 60);
    let time = Duration::from_millis(pace.pick(1, 8, 12));
    let mut order: Vec<usize> = (0..comparison.contenders.len()).collect();
    let rounds: Vec<Round> = (0..rounds)
        .map(|_| {
            let (mut first, mut second): (Vec<Batch>, Vec<Batch>) = built(comparison).unzip();
            fastrand::shuffle(&mut order);
            round(&mut first, &mut second, &order, time)
        })
        .collect();

    let trips: Vec<f64> = rounds.iter().map(|round| round.trip).collect();
    let usual = median(&trips).unwrap_or_default();
    let section = |kind: &str, rounds: &[&Round]| {
        let mut section = Section::new(format!("{}{kind}", comparison.title));
        for (place, contender) in comparison.contenders.iter().enumerate() {
            let calls = rounds.iter().map(|round| round.calls[place]).collect();
            section.push(&contender.label, CALLS, calls);
        }
        let trips = rounds.iter().map(|round| round.trip).collect();
        section.push(&other("a cache line", ""), TRIP, trips);
        section.note = Some(format!("{} rounds.", rounds.len()));
        section
    };
    let (near, far): (Vec<&Round>, Vec<&Round>) =
        rounds.iter().partition(|round| round.trip < NEAR);
    let differ = trips.iter().any(|trip| *trip > 1.5 * usual);
    if differ && !near.is_empty() && !far.is_empty() {
        vec![section(", near", &near), section(", far", &far)]
    } else {
        vec![section("", &rounds.iter().collect::<Vec<_>>())]
    }
}

/// Builds all contenders, each at another address than in the round before.
///
/// By chance, the words of a limit lie in one cache line or in two. New addresses average over
/// that.
fn built(comparison: &Comparison<Pair>) -> impl Iterator<Item = (Batch, Batch)> {
    comparison.contenders.iter().map(|contender| {
        let gap = vec![0_u8; 16 * fastrand::usize(1..=16)];
        let [first, second] = (contender.make)();
        drop(black_box(gap));
        (first, second)
    })
}

fn round(first: &mut [Batch], second: &mut [Batch], order: &[usize], time: Duration) -> Round {
    let meeting = Meeting::new();
    let word = AtomicU64::new(0);
    let mut calls = vec![0.0; order.len()];
    let (mut before, mut after) = (0.0, 0.0);
    let runtime = Handle::current();
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let _inside = runtime.enter();
            uncounted(|| {
                pong(&word);
                let run = |turn: &usize| meeting.rate(1, &mut second[*turn], time);
                let rates: Vec<f64> = order.iter().map(run).collect();
                meeting.point.wait();
                pong(&word);
                rates
            })
        });
        uncounted(|| {
            before = ping(&word);
            for &turn in order {
                calls[turn] = meeting.rate(0, &mut first[turn], time);
            }
            meeting.point.wait();
            after = ping(&word);
        });
        let others = other.join().expect("the thread does not panic");
        for (&turn, rate) in order.iter().zip(others) {
            calls[turn] += rate;
        }
    });
    Round { trip: f64::midpoint(before, after), calls }
}

/// The barrier at which the two threads meet before and after each turn.
struct Meeting {
    point: Barrier,
    /// Whether each thread has run all the time.
    busy: [AtomicBool; 2],
}

impl Meeting {
    fn new() -> Self {
        Self { point: Barrier::new(2), busy: Default::default() }
    }

    /// Returns the millions of calls per second of one thread.
    ///
    /// Repeats the turn if a thread was preempted, because the other then ran without contention.
    fn rate(&self, me: usize, batch: &mut Batch, time: Duration) -> f64 {
        const TRIES: u32 = 20;
        let mut tries = 0;
        loop {
            self.point.wait();
            let (rate, busy) = rate(batch, time);
            self.busy[me].store(busy > 0.95, Ordering::Relaxed);
            self.point.wait();
            tries += 1;
            if tries == TRIES || self.busy.iter().all(|busy| busy.load(Ordering::Relaxed)) {
                return rate;
            }
        }
    }
}

/// Returns the millions of calls per second, and the share of the time in which the thread ran.
fn rate(batch: &mut Batch, time: Duration) -> (f64, f64) {
    let (begin, processor) = (Instant::now(), ThreadTime::now());
    let mut calls = 0_u32;
    while begin.elapsed() < time {
        batch(500);
        calls += 500;
    }
    let (seconds, busy) = (begin.elapsed().as_secs_f64(), processor.elapsed().as_secs_f64());
    (f64::from(calls) / seconds / 1e6, busy / seconds)
}
