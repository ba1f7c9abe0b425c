//! S4: more callers than a rate limit admits, in real time.
//!
//! The inner service notes the time of each call and yields once before it answers, so that a task
//! which finds room does not use all of it. *Most* is the largest number of calls in any half-open
//! span as long as the window; more than N breaks the limit. *Used* is the window over the mean
//! time in which N calls were made, after the first N. *Processor* is the share of one processor's
//! time. *Spread* is the calls of the busiest task minus those of the idlest.
//!
//! By design, governor may exceed N by its refill within the window, and leaky-bucket and the fixed
//! windows by up to N. tower-resilience's limiter waits in the call, with a timeout that is never
//! reached. The runtime has two workers; governor's timers have a thread of their own.
//!
//! *After a pause*: one call, no calls for 92 hundredths of its window, then 2 N at once.

use std::{sync::Arc, time::Duration};

use governor::DefaultDirectRateLimiter;
use tokio::{task::JoinSet, time::sleep};
use tower::{Layer, Service, ServiceBuilder};
use tower_floodgate::WindowRateLimitLayer;

use super::issues::Issues;
use crate::{
    contenders::{
        Comparison, other, ours,
        peers::{self, LONG},
        same,
    },
    measure::{
        caller::{Asked, Caller, Through, Waited},
        crowd::{Crowd, Tally},
        rounds::rounds,
        runtimes::Threads,
    },
    pace::Pace,
    report::{Figure, Section, less, plain},
};

const MOST: Figure = plain("most", "in a window");
const USED: Figure = plain("used", "of the quota");
const PROCESSOR: Figure = less("processor", "of one");
const POLLS: Figure = less("polls", "/call");
const SPREAD: Figure = plain("spread", "calls");

#[derive(Clone, Copy)]
struct Rate {
    limit: u32,
    window: Duration,
}

/// The behaviour of the callers.
#[derive(Clone, Copy)]
enum Plan {
    Crowd(Crowd),
    Pause,
}

type Run = Box<dyn Fn(Plan) -> Vec<(Figure, f64)>>;

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let mut sections = Vec::new();
    for (limit, millis) in [(1_000, 100), (50, 10)] {
        let rate = Rate { limit, window: Duration::from_millis(millis) };
        for tasks in pace.pick(&[100][..], &[1, 100, 10_000], &[1, 100, 10_000]) {
            sections.push(crowded(pace, rate, *tasks));
        }
    }
    let rate = Rate { limit: 1_000, window: Duration::from_millis(100) };
    let pause = comparison("after a pause, 1000 per 100 ms".to_owned(), rate);
    sections.push(rounds(&pause, pace.pick(1, 1, 5), |contender| (contender.make)()(Plan::Pause)));
    sections
}

fn crowded(pace: Pace, rate: Rate, tasks: usize) -> Section {
    let Rate { limit, window } = rate;
    let plan = Plan::Crowd(Crowd {
        tasks,
        threads: Threads::Two,
        warm_up: 2 * window,
        time: Duration::from_millis(pace.pick(10, 500, 1_000)),
        sample: u64::MAX,
    });
    let title = format!("{limit} per {} ms, {tasks} tasks", window.as_millis());
    let comparison = comparison(title, rate);
    rounds(&comparison, pace.pick(1, 1, 3), |contender| (contender.make)()(plan))
}

fn comparison(title: String, rate: Rate) -> Comparison<Run> {
    let Rate { limit, window } = rate;
    Comparison::new(title)
        .with(other("tower RateLimit, Buffer", "up to 2 N"), move || {
            driven(rate, move |inner| {
                let service = ServiceBuilder::new().buffer(1_024);
                Through(service.layer(peers::rate_limit(limit, window)).service(inner))
            })
        })
        .with(same("tower-resilience log", "exact"), move || {
            driven(rate, move |inner| Through(peers::sliding_log(limit, window, LONG).layer(inner)))
        })
        .with(other("governor", "up to 2 N"), move || {
            driven(rate, move |inner| Governor(Arc::new(peers::governor(limit, window)), inner))
        })
        .with(other("leaky-bucket", "up to 2 N"), move || {
            driven(rate, move |inner| Bucket(Arc::new(peers::leaky_bucket(limit, window)), inner))
        })
        .with(ours("sliding window", "exact"), move || {
            driven(rate, move |inner| {
                Through(WindowRateLimitLayer::new(limit, window).layer(inner))
            })
        })
        .with(ours("fixed window", "up to 2 N"), move || {
            driven(rate, move |inner| {
                Through(WindowRateLimitLayer::fixed(limit, window).layer(inner))
            })
        })
}

/// Runs plans with callers that `make` returns.
fn driven<C: Caller>(rate: Rate, make: impl Fn(Issues) -> C + 'static) -> Run {
    Box::new(move |plan| {
        let log = Issues::default();
        let make = || make(log.clone());
        match plan {
            Plan::Crowd(crowd) => figures(&crowd.run(make), &log, rate),
            Plan::Pause => {
                let runtime = Threads::Two.runtime();
                runtime.block_on(async { after_a_pause(make(), rate).await });
                runtime.shutdown_background();
                vec![most(&log, rate)]
            }
        }
    })
}

fn figures(tally: &Tally, log: &Issues, rate: Rate) -> Vec<(Figure, f64)> {
    let seconds = tally.time.as_secs_f64();
    vec![
        most(log, rate),
        (USED, rate.window.as_secs_f64() / log.mean_time_of(rate.limit)),
        (PROCESSOR, tally.processor.as_secs_f64() / seconds),
        (POLLS, tally.polls_per_call()),
        (SPREAD, tally.spread() as f64),
    ]
}

fn most(log: &Issues, rate: Rate) -> (Figure, f64) {
    (MOST, log.most_in(rate.window) as f64)
}

async fn after_a_pause<C: Caller>(mut caller: C, Rate { limit, window }: Rate) {
    caller.call(None).await;
    sleep(window.mul_f64(0.92)).await;
    let mut tasks = JoinSet::new();
    for _ in 0..2 * limit {
        let mut caller = caller.clone();
        tasks.spawn(async move { caller.call(None).await });
    }
    sleep(3 * window).await;
    // A `Buffer` fails the calls that outlive its worker.
    tasks.shutdown().await;
}

#[derive(Clone)]
struct Governor(Arc<DefaultDirectRateLimiter>, Issues);

impl Caller for Governor {
    async fn call(&mut self, asked: Asked) -> Waited {
        self.0.until_ready().await;
        let Ok(waited) = self.1.call(asked).await;
        waited
    }
}

#[derive(Clone)]
struct Bucket(Arc<leaky_bucket::RateLimiter>, Issues);

impl Caller for Bucket {
    async fn call(&mut self, asked: Asked) -> Waited {
        self.0.acquire(1).await;
        let Ok(waited) = self.1.call(asked).await;
        waited
    }
}
