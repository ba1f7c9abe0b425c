//! S2: two threads that call on one shared limit which never fills.
//!
//! Each has a clone of its own and calls it as in S1, for a fixed time; the figure is the calls of both in a
//! second. What it costs is that the words of the limit travel between the two processors' caches, and
//! how far that is changes with where the system puts the threads. So before and after each round a word is
//! sent to and fro, and its round trip is reported with the results. If it differs much between rounds they
//! are reported apart: *near*, below 150 ns, and *far*. In a round both threads stay alive. Each round builds
//! the limits anew, and a turn in which one thread was kept from running is repeated.

use std::{
    hint::black_box,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use tokio::runtime::Handle;
use tower::{
    BoxError, Layer, Service,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    retry::RetryLayer,
};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    retry::RetryBudget,
};

use crate::{
    args::Pace,
    field::{Field, floor, other, ours, same},
    floor::Floor,
    neighbours::{self, LONG},
    policies::{Attempts, Budgeted},
    race::{Batch, uncounted},
    report::{Figure, Section, median, more, plain},
    service::{SMALL, after, calls},
    uncontended::{our_stack, resilience_stack},
};

const PLACES: usize = 1_000;
/// More than two threads can issue in that time, and longer than one of them is kept from running:
/// governor refuses whoever comes with an older time.
const WINDOW: (u64, Duration) = (1_000_000, Duration::from_millis(10));
const CALLS: Figure = more("calls", "million/s");
const TRIP: Figure = plain("round trip", "ns");
/// A round trip of a cache line within a core or between its neighbours.
const NEAR: f64 = 150.0;

type Pair = [Batch; 2];

pub(crate) fn run(pace: Pace) -> Vec<Section> {
    [gate(), window(), retry(), stack()].iter().flat_map(|field| race(field, pace)).collect()
}

fn gate() -> Field<Pair> {
    Field::new("gate")
        .with(floor("bare"), || pair(Floor::new(SMALL)))
        .with(same("tower ConcurrencyLimit", "shared by clones"), || {
            pair(ConcurrencyLimitLayer::new(PLACES).layer(SMALL))
        })
        .with(same("tower GlobalConcurrencyLimit", "shared"), || {
            pair(GlobalConcurrencyLimitLayer::new(PLACES).layer(SMALL))
        })
        .with(same("tower-resilience bulkhead", "shared"), || {
            pair(neighbours::bulkhead(PLACES).layer(SMALL))
        })
        .with(ours("gate", "shared"), || {
            pair(ConcurrencyBackpressureLayer::new(PLACES).layer(SMALL))
        })
}

fn window() -> Field<Pair> {
    let (limit, window) = WINDOW;
    Field::new("window")
        .with(floor("bare, with a clock read"), || pair(Floor::with_clock(SMALL)))
        .with(same("tower-resilience log", "exact"), move || {
            pair(neighbours::sliding_log(limit, window, LONG).layer(SMALL))
        })
        .with(other("governor", "up to 2 N"), move || {
            let limiter = Arc::new(neighbours::governor(limit, window));
            [Arc::clone(&limiter), limiter]
                .map(|limiter| after(move || limiter.check().expect("it has room")))
        })
        .with(other("leaky-bucket", "up to 2 N"), move || {
            let limiter = Arc::new(neighbours::leaky_bucket(limit, window));
            [Arc::clone(&limiter), limiter]
                .map(|limiter| after(move || assert!(limiter.try_acquire(1), "it has room")))
        })
        .with(ours("sliding window", "exact"), move || {
            pair(WindowRateLimitLayer::new(limit, window).layer(SMALL))
        })
        .with(ours("fixed window", "up to 2 N"), move || {
            pair(WindowRateLimitLayer::fixed(limit, window).layer(SMALL))
        })
}

fn retry() -> Field<Pair> {
    let policy = || ExponentialRetry::new(3);
    Field::new("retry")
        .with(other("tower Retry, counts attempts", "no budget"), || {
            pair(RetryLayer::new(Attempts(3)).layer(SMALL))
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
        .with(ours("retry, saved up", "budget"), move || {
            let budget = RetryBudget::new(0.25);
            (0..1_000).for_each(|_| budget.deposit());
            pair(ExponentialRetryLayer::new(policy().budget(budget)).layer(SMALL))
        })
        .with(ours("retry, paying in", "budget"), move || {
            let budget = RetryBudget::new(0.25).max_saved(u32::MAX);
            pair(ExponentialRetryLayer::new(policy().budget(budget)).layer(SMALL))
        })
}

fn stack() -> Field<Pair> {
    Field::new("stack of three")
        .with(floor("bare, with a clock read"), || pair(Floor::with_clock(SMALL)))
        .with(same("tower-resilience", "gate, retry, rate"), || pair(resilience_stack()))
        .with(ours("ours", "gate, retry, rate"), || pair(our_stack()))
}

fn pair<S: Service<u32> + Clone + Send + 'static>(service: S) -> Pair {
    [calls(service.clone()), calls(service)]
}

/// What a round has measured: a round trip, and of each contender millions of calls in a second.
struct Round {
    trip: f64,
    calls: Vec<f64>,
}

fn race(field: &Field<Pair>, pace: Pace) -> Vec<Section> {
    let rounds = pace.pick(1, 15, 60);
    let time = Duration::from_millis(pace.pick(1, 8, 12));
    let mut order: Vec<usize> = (0..field.contenders.len()).collect();
    let rounds: Vec<Round> = (0..rounds)
        .map(|_| {
            let (mut ours, mut theirs): (Vec<Batch>, Vec<Batch>) = built(field).unzip();
            fastrand::shuffle(&mut order);
            round(&mut ours, &mut theirs, &order, time)
        })
        .collect();

    let trips: Vec<f64> = rounds.iter().map(|round| round.trip).collect();
    let usual = median(&trips).unwrap_or_default();
    let section = |kind: &str, rounds: &[&Round]| {
        let mut section = Section::new(format!("{}{kind}", field.title));
        for (place, contender) in field.contenders.iter().enumerate() {
            let calls = rounds.iter().map(|round| round.calls[place]).collect();
            section.push(&contender.who, CALLS, calls);
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

/// All contenders, each somewhere else than in the round before: whether a limit's words happen to lie in one
/// cache line or in two is nobody's merit.
fn built(field: &Field<Pair>) -> impl Iterator<Item = (Batch, Batch)> {
    field.contenders.iter().map(|contender| {
        let gap = vec![0_u8; 16 * fastrand::usize(1..=16)];
        let [ours, theirs] = (contender.make)();
        drop(black_box(gap));
        (ours, theirs)
    })
}

fn round(ours: &mut [Batch], theirs: &mut [Batch], order: &[usize], time: Duration) -> Round {
    let meeting = Meeting::new();
    let ball = AtomicU64::new(0);
    let mut calls = vec![0.0; order.len()];
    let (mut before, mut after) = (0.0, 0.0);
    let runtime = Handle::current();
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let _inside = runtime.enter();
            uncounted(|| {
                catch(&ball);
                let run = |turn: &usize| meeting.rate(1, &mut theirs[*turn], time);
                let rates: Vec<f64> = order.iter().map(run).collect();
                meeting.point.wait();
                catch(&ball);
                rates
            })
        });
        uncounted(|| {
            before = throw(&ball);
            for &turn in order {
                calls[turn] = meeting.rate(0, &mut ours[turn], time);
            }
            meeting.point.wait();
            after = throw(&ball);
        });
        let others = other.join().expect("it doesn't panic");
        for (&turn, rate) in order.iter().zip(others) {
            calls[turn] += rate;
        }
    });
    Round { trip: f64::midpoint(before, after), calls }
}

/// Where the two threads meet before and after each turn.
struct Meeting {
    point: Barrier,
    /// Whether each of them has run all the time.
    busy: [AtomicBool; 2],
}

impl Meeting {
    fn new() -> Self {
        Self { point: Barrier::new(2), busy: Default::default() }
    }

    /// Millions of calls in a second, of one of the two. Repeated if one was kept from running, for then the
    /// other had nobody to contend with.
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

/// Millions of calls in a second, and the share of the time in which the thread ran.
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

const TRIPS: u64 = 500;
const THROWS: u64 = 40;

/// Nanoseconds of a round trip: the median, for both threads must be running.
fn throw(ball: &AtomicU64) -> f64 {
    let from = ball.load(Ordering::Acquire);
    let trips = |throw: u64| {
        let begin = Instant::now();
        for trip in throw * TRIPS..(throw + 1) * TRIPS {
            ball.store(from + 2 * trip + 1, Ordering::Release);
            wait_for(ball, from + 2 * trip + 2);
        }
        begin.elapsed().as_nanos() as f64 / TRIPS as f64
    };
    median(&(0..THROWS).map(trips).collect::<Vec<_>>()).unwrap_or_default()
}

fn catch(ball: &AtomicU64) {
    let from = ball.load(Ordering::Acquire) & !1;
    for trip in 0..TRIPS * THROWS {
        wait_for(ball, from + 2 * trip + 1);
        ball.store(from + 2 * trip + 2, Ordering::Release);
    }
}

/// Lets others run now and then: with one processor the other thread may not be running.
fn wait_for(ball: &AtomicU64, value: u64) {
    let mut looks = 0_u32;
    while black_box(ball.load(Ordering::Acquire)) != value {
        looks += 1;
        if looks % 1_000 == 0 {
            thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}
