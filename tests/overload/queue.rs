//! A queue with a limit before a server, open arrivals, and the shares of their outcomes.

use crate::secs;
use std::{cell::RefCell, convert::Infallible, rc::Rc, time::Duration};

use tokio::{task::LocalSet, time::Instant};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Rejected,
    backpressure::{Class, Terms},
};

/// A request of the simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) deadline: Duration,
    pub(super) class: Class,
    /// The time in service.
    pub(super) takes: Duration,
    arrived: Instant,
    number: u64,
}

/// A distribution of times: draws one from the seed, at a time of the run.
pub(super) type Draw = fn(&mut fastrand::Rng, Duration) -> Duration;

/// A run: its load and its settings.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) permits: u32,
    pub(super) max_queue: u32,
    /// Arrivals, as a multiple of the capacity at a mean of 1 s in service, at a time of the run.
    pub(super) load: fn(Duration) -> f64,
    pub(super) takes: Draw,
    pub(super) deadline: Draw,
    pub(super) class: fn(&mut fastrand::Rng) -> Class,
    /// Requests tell their deadlines.
    pub(super) tells: bool,
    /// A request whose deadline has passed is not sent: the rule that most queues have.
    pub(super) skips_expired: bool,
    pub(super) lasts: Duration,
}

pub(super) fn exponential(rng: &mut fastrand::Rng, mean: f64) -> Duration {
    Duration::from_secs_f64(-(1.0 - rng.f64()).ln() * mean)
}

pub(super) const RUN: Run = Run {
    permits: 20,
    max_queue: 256,
    load: |_| 2.0,
    takes: |rng, _| exponential(rng, 1.0),
    deadline: |_, _| secs(10),
    class: |_| Class::Critical,
    tells: true,
    skips_expired: false,
    lasts: secs(600),
};

/// The outcomes of the requests that arrived after the first tenth of a run.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// Time in service of requests that were done in time, and of all.
    pub(super) in_time: Duration,
    pub(super) served: Duration,
    pub(super) per_class: [Counted; 3],
    pub(super) waits: Vec<Duration>,
    /// The numbers of the requests in the order in which they were sent.
    sent: Vec<u64>,
    /// The time of the measured part, for all permits.
    capacity: Duration,
    pub(super) without_time: u32,
    pub(super) with_time: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) arrived: u32,
    pub(super) in_time: u32,
    pub(super) late: u32,
    pub(super) too_late: u32,
    pub(super) queue_full: u32,
}

impl Counted {
    pub(super) fn served(&self) -> f64 {
        f64::from(self.in_time) / f64::from(self.arrived)
    }
}

impl Outcomes {
    /// Returns the time in service of requests that were done in time, as a share of the capacity.
    pub(super) fn goodput(&self) -> f64 {
        self.in_time.as_secs_f64() / self.capacity.as_secs_f64()
    }

    /// Returns the share of the time in which permits were idle.
    pub(super) fn idle(&self) -> f64 {
        1.0 - self.served.as_secs_f64() / self.capacity.as_secs_f64()
    }

    /// Asserts that the requests that were sent were sent in the order of their arrival.
    pub(super) fn assert_in_order(&self) {
        assert!(self.sent.is_sorted(), "a request has overtaken another");
    }

    pub(super) fn total(&self) -> Counted {
        let mut total = Counted::default();
        for counted in self.per_class {
            total.arrived += counted.arrived;
            total.in_time += counted.in_time;
            total.late += counted.late;
            total.too_late += counted.too_late;
            total.queue_full += counted.queue_full;
        }
        total
    }
}

impl Run {
    /// Runs with arrivals and times of the seed.
    pub(super) async fn run(self, seed: u64) -> Outcomes {
        LocalSet::new().run_until(self.run_locally(seed)).await
    }

    async fn run_locally(self, seed: u64) -> Outcomes {
        let start = Instant::now();
        let begins = start + self.lasts / 10;
        let end = start + self.lasts;
        let outcomes = Rc::new(RefCell::new(Outcomes::default()));
        let sent = Rc::clone(&outcomes);
        let inner = service_fn(move |job: Job| {
            let sent = Rc::clone(&sent);
            async move {
                let now = Instant::now();
                {
                    let mut outcomes = sent.borrow_mut();
                    outcomes.sent.push(job.number);
                    outcomes.waits.push(now - job.arrived);
                }
                if self.skips_expired && now >= job.arrived + job.deadline {
                    return Ok(false);
                }
                tokio::time::sleep(job.takes).await;
                let until = Instant::now().min(end);
                let within = until.saturating_duration_since(now.max(begins));
                sent.borrow_mut().served += within;
                if Instant::now() <= job.arrived + job.deadline {
                    sent.borrow_mut().in_time += within;
                }
                Ok::<_, Infallible>(true)
            }
        });
        let tells = self.tells;
        let terms = move |job: &Job| {
            let terms = Terms::new().class(job.class);
            if tells { terms.deadline(job.deadline) } else { terms }
        };
        let mut service = ConcurrencyBackpressureLayer::new(self.permits)
            .max_queue(self.max_queue)
            .by_request(terms)
            .layer(inner);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut at = Duration::ZERO;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0.. {
            let rate = (self.load)(at) * f64::from(self.permits);
            at += exponential(&mut rng, 1.0 / rate);
            if at >= self.lasts {
                break;
            }
            tokio::time::sleep_until(start + at).await;
            let job = Job {
                deadline: (self.deadline)(&mut rng, at),
                class: (self.class)(&mut rng),
                takes: (self.takes)(&mut rng, at),
                arrived: Instant::now(),
                number,
            };
            let call = service.ready().await.unwrap().call(job);
            let outcomes = Rc::clone(&outcomes);
            tasks.spawn_local(async move {
                let result = call.await;
                if job.arrived >= begins {
                    outcomes.borrow_mut().note(job, result);
                }
            });
        }
        drop(service);
        while tasks.join_next().await.is_some() {}
        let mut outcomes = Rc::try_unwrap(outcomes).expect("all have ended").into_inner();
        outcomes.capacity = (end - begins) * self.permits;
        outcomes
    }
}

impl Outcomes {
    fn note(&mut self, job: Job, result: Result<bool, tower::BoxError>) {
        let is_in_time = Instant::now() <= job.arrived + job.deadline;
        let class = Class::ALL.iter().position(|&class| class == job.class).unwrap();
        let counted = &mut self.per_class[class];
        counted.arrived += 1;
        match result {
            Ok(true) if is_in_time => counted.in_time += 1,
            Ok(_) => counted.late += 1,
            Err(error) => {
                let rejected = Rejected::find(&*error).unwrap();
                assert_eq!(rejected.class(), Some(job.class));
                if rejected.is_too_late() {
                    counted.too_late += 1;
                    if Instant::now() == job.arrived {
                        match rejected.retry_after() {
                            Some(_) => self.with_time += 1,
                            None => self.without_time += 1,
                        }
                    }
                } else {
                    assert!(rejected.is_queue_full());
                    counted.queue_full += 1;
                }
            }
        }
    }
}
