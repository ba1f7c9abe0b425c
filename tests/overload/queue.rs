//! A limit before a server, arrivals that follow no response, and the shares of their outcomes.

use std::{cell::RefCell, convert::Infallible, rc::Rc, time::Duration};

use fastrand::Rng;
use tokio::{
    task::{JoinSet, LocalSet},
    time::{Instant, sleep, sleep_until},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Rejected,
    backpressure::{Class, Terms},
};

/// Numbers of seconds, at a number of seconds since the beginning.
pub(crate) type At = fn(f64) -> f64;

/// Draws a number.
pub(crate) type Draw = fn(&mut Rng) -> f64;

/// A run: its load and its settings.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) permits: u32,
    pub(crate) max_queue: u32,
    /// The rate of arrivals, as a multiple of the capacity at a second in service.
    pub(crate) load: At,
    /// The mean time in service.
    pub(crate) mean: At,
    /// Draws a time in service with a mean of 1.
    pub(crate) shape: Draw,
    /// The time from an arrival to its deadline: evenly between these.
    pub(crate) deadline: (f64, f64),
    pub(crate) class: fn(&mut Rng) -> Option<Class>,
    pub(crate) shares: (f64, f64, f64),
    pub(crate) rule: Rule,
    /// The beginning of the part that is measured, and the end.
    pub(crate) measured: (f64, f64),
}

/// The way in which the limit treats deadlines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The limit knows them.
    Known,
    /// The limit knows none. The server ends a request at once if its deadline has passed, as most
    /// queues do.
    ExpiredSkipped,
    Unknown,
}

/// Equal deadlines of ten times the time in service, at twice the capacity.
pub(crate) const RUN: Run = Run {
    permits: 20,
    max_queue: 256,
    load: |_| 2.0,
    mean: |_| 1.0,
    shape: exponential,
    deadline: (10.0, 10.0),
    class: |_| None,
    shares: (1.0, 0.5, 0.25),
    rule: Rule::Known,
    measured: (30.0, 230.0),
};

pub(crate) fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

/// Returns a time of a lognormal distribution with a sigma of 0.7.
pub(crate) fn lognormal(rng: &mut Rng) -> f64 {
    // Of the sum of twelve evenly distributed numbers, nearly normal.
    let normal: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
    (0.7 * normal - 0.7 * 0.7 / 2.0).exp()
}

/// Returns one of ten times with a hundred times the length of the others.
pub(crate) fn bimodal(rng: &mut Rng) -> f64 {
    if rng.f64() < 0.9 { 1.0 / 10.9 } else { 100.0 / 10.9 }
}

/// A request.
#[derive(Clone, Copy)]
struct Job {
    number: u64,
    done_by: Instant,
    takes: Duration,
    class: Option<Class>,
    is_measured: bool,
}

/// The outcomes of the requests that arrived in the measured part of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) all: Counts,
    pub(crate) classes: [Counts; 3],
    /// The numbers of the requests, in the order in which they were sent.
    sent: Vec<u64>,
    /// The seconds in which permits were in use.
    busy: f64,
    /// The seconds that all permits could have been in use.
    open: f64,
    /// The requests that could have been served.
    capacity: f64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) arrived: u32,
    pub(crate) in_time: u32,
    /// Served after their deadlines.
    pub(crate) late: u32,
    pub(crate) too_late: u32,
    pub(crate) queue_full: u32,
}

impl Counts {
    /// Returns the share of the requests that were served in time.
    pub(crate) fn in_time(&self) -> f64 {
        f64::from(self.in_time) / f64::from(self.arrived)
    }
}

impl Outcomes {
    /// Returns the number of requests that were served in time, as a share of the capacity.
    pub(crate) fn goodput(&self) -> f64 {
        f64::from(self.all.in_time) / self.capacity
    }

    /// Returns the share of the time in which permits were idle.
    pub(crate) fn idle(&self) -> f64 {
        1.0 - self.busy / self.open
    }

    fn note(&mut self, job: &Job, result: &Result<bool, BoxError>) {
        if !job.is_measured {
            return;
        }
        let is_in_time = now() <= job.done_by;
        let outcome: fn(&mut Counts) -> &mut u32 = match result {
            Ok(true) if is_in_time => |counts| &mut counts.in_time,
            Ok(_) => |counts| &mut counts.late,
            Err(error) => {
                let rejected = Rejected::find(&**error).unwrap();
                assert_eq!(rejected.class(), job.class);
                if rejected.is_too_late() {
                    |counts| &mut counts.too_late
                } else {
                    assert!(rejected.is_queue_full());
                    |counts| &mut counts.queue_full
                }
            }
        };
        let of_class = job.class.map(|class| &mut self.classes[class as usize]);
        for counts in of_class.into_iter().chain([&mut self.all]) {
            counts.arrived += 1;
            *outcome(counts) += 1;
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

impl Run {
    /// Runs with the arrivals of a seed, asserts that none has overtaken another, and prints the
    /// figures.
    pub(crate) async fn run(self, name: &str, seed: u64) -> Outcomes {
        let outcomes = LocalSet::new().run_until(self.outcomes(seed)).await;
        println!(
            "{name}, seed {seed}: goodput {:.3}, idle {:.3}, {:?}",
            outcomes.goodput(),
            outcomes.idle(),
            outcomes.all,
        );
        assert!(outcomes.sent.is_sorted(), "a request has overtaken another");
        outcomes
    }

    async fn outcomes(self, seed: u64) -> Outcomes {
        let start = now();
        let since = |seconds| start + Duration::from_secs_f64(seconds);
        let (begin, end) = (since(self.measured.0), since(self.measured.1));
        let outcomes = Rc::new(RefCell::new(Outcomes::default()));

        let seen = Rc::clone(&outcomes);
        let server = service_fn(move |job: Job| {
            let seen = Rc::clone(&seen);
            async move {
                let called = now();
                seen.borrow_mut().sent.push(job.number);
                if self.rule == Rule::ExpiredSkipped && called >= job.done_by {
                    return Ok(false);
                }
                sleep(job.takes).await;
                let busy = now().min(end).saturating_duration_since(called.max(begin));
                seen.borrow_mut().busy += busy.as_secs_f64();
                Ok::<_, Infallible>(true)
            }
        });
        let terms = move |job: &Job| {
            let known = (self.rule == Rule::Known).then_some(job.done_by);
            let terms = Terms::new().deadline_at(known);
            job.class.map_or(terms, |class| terms.class(class))
        };
        let (critical, normal, sheddable) = self.shares;
        let mut service = ConcurrencyBackpressureLayer::new(self.permits)
            .max_queue(self.max_queue)
            .by_request(terms)
            .shares(critical, normal, sheddable)
            .layer(server);

        let mut rng = Rng::with_seed(seed);
        let (least, most) = self.deadline;
        let (mut at, mut calls) = (0.0, JoinSet::new());
        for number in 0.. {
            let interval = 1.0 / ((self.load)(at) * f64::from(self.permits));
            at += exponential(&mut rng) * interval;
            if at >= self.measured.1 {
                break;
            }
            sleep_until(since(at)).await;
            let arrived = now();
            let job = Job {
                number,

                done_by: arrived + Duration::from_secs_f64(least + rng.f64() * (most - least)),
                takes: Duration::from_secs_f64((self.shape)(&mut rng) * (self.mean)(at)),
                class: (self.class)(&mut rng),
                is_measured: arrived >= begin,
            };
            let call = service.ready().await.unwrap().call(job);
            let outcomes = Rc::clone(&outcomes);
            calls.spawn_local(async move {
                let result = call.await;
                outcomes.borrow_mut().note(&job, &result);
            });
        }
        drop(service);
        while calls.join_next().await.is_some() {}

        let mut outcomes = outcomes.take();
        let permits = f64::from(self.permits);
        outcomes.open = (self.measured.1 - self.measured.0) * permits;
        let mut at = self.measured.0;
        while at < self.measured.1 {
            outcomes.capacity += permits / (self.mean)(at);
            at += 1.0;
        }
        outcomes
    }
}
