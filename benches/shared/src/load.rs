//! Loads, and the measures of them.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};

use super::{limits::Limit, support::server::Server};

/// A request of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issue {
    /// The time of its issue.
    pub(crate) at: Instant,
    /// Its wait, in seconds.
    pub(crate) wait: f64,
    /// It was issued by the first poll.
    pub(crate) is_at_once: bool,
}

/// Runs one task of each limiter in a closed loop, and returns the requests of each.
pub(crate) async fn closed(limits: Vec<impl Limit>, time: Duration) -> Vec<Vec<Issue>> {
    paced(limits, time, None).await
}

/// Runs one task of each limiter. Each pauses for `mean` on average, at random, before a request.
pub(crate) async fn paced(
    limits: Vec<impl Limit>,
    time: Duration,
    mean: Option<Duration>,
) -> Vec<Vec<Issue>> {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for (at, mut limit) in limits.into_iter().enumerate() {
        let is_over = Arc::clone(&is_over);
        tasks.spawn(async move {
            let mut issues = Vec::new();
            let mut due = Instant::now();
            while !is_over.load(Relaxed) {
                if let Some(mean) = mean {
                    due += mean.mul_f64(-(1.0 - fastrand::f64()).ln());
                    sleep_until(due.into()).await;
                }
                let begin = Instant::now();
                let mut polls = 0;
                {
                    let mut issue = pin!(limit.issue());
                    poll_fn(|cx| {
                        polls += 1;
                        issue.as_mut().poll(cx)
                    })
                    .await;
                }
                let at = Instant::now();
                let wait = (at - begin).as_secs_f64();
                issues.push(Issue { at, wait, is_at_once: polls == 1 });
                // A request that has waited for nothing yields to others now and then.
                tokio::task::coop::consume_budget().await;
            }
            (at, issues)
        });
    }
    sleep(time).await;
    is_over.store(true, Relaxed);
    let mut all: Vec<_> = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.push(ended.unwrap());
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, issues)| issues).collect()
}

/// Runs tasks in a closed loop without a look at the clock, and returns the requests per second.
pub(crate) async fn rate(limit: &impl Limit, tasks: usize, time: Duration) -> f64 {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..tasks {
        let (mut limit, is_over) = (limit.clone(), Arc::clone(&is_over));
        running.spawn(async move {
            let mut issued = 0_u64;
            while !is_over.load(Relaxed) {
                limit.issue().await;
                issued += 1;
                tokio::task::coop::consume_budget().await;
            }
            issued
        });
    }
    sleep(time).await;
    is_over.store(true, Relaxed);
    let elapsed = begin.elapsed().as_secs_f64();
    let issued: u64 = running.join_all().await.into_iter().sum();
    issued as f64 / elapsed
}

/// Returns the nanoseconds of a request: the median of batches of which none has waited, unless a
/// batch is a single request.
pub(crate) async fn cost(limit: &mut impl Limit, batch: u32, time: Duration) -> f64 {
    let (mut batches, begin) = (Vec::new(), Instant::now());
    // A batch without a wait is sooner or later there, unless the machine is very busy.
    while begin.elapsed() < time || (batches.is_empty() && begin.elapsed() < time * 50) {
        let start = Instant::now();
        let mut has_waited = false;
        for _ in 0..batch {
            let mut issue = pin!(limit.issue());
            poll_fn(|cx| {
                let polled = issue.as_mut().poll(cx);
                has_waited |= polled.is_pending();
                polled
            })
            .await;
        }
        if !has_waited || batch == 1 {
            batches.push(start.elapsed().as_nanos() as f64 / f64::from(batch));
        }
        tokio::task::coop::consume_budget().await;
    }
    super::report::median(&batches)
}

/// Counts the requests to a server, and its time, over a run.
pub(crate) struct Watch<'a> {
    server: &'a Server,
    begin: Instant,
    processor: f64,
}

/// The figures of a [`Watch`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// Scripts per second.
    pub(crate) requests: f64,
    /// The microseconds of a script.
    pub(crate) micros: f64,
    /// The processor time of the server, as a share of a processor.
    pub(crate) share: f64,
}

impl<'a> Watch<'a> {
    pub(crate) async fn start(server: &'a Server) -> Self {
        server.query::<()>("CONFIG RESETSTAT").await;
        Self { server, begin: Instant::now(), processor: processor(server).await }
    }

    pub(crate) async fn stop(self) -> Watched {
        let elapsed = self.begin.elapsed().as_secs_f64();
        let processor = processor(self.server).await;
        let stat = self.server.info("commandstats", "cmdstat_evalsha").await;
        let number = |name: &str| {
            let field = stat.split(',').find_map(|field| field.strip_prefix(name));
            field.and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0)
        };
        let (calls, micros) = (number("calls="), number("usec="));
        Watched {
            requests: calls / elapsed,
            micros: micros / calls.max(1.0),
            share: (processor - self.processor) / elapsed,
        }
    }
}

/// Returns the processor time of a server, in seconds.
async fn processor(server: &Server) -> f64 {
    let mut sum = 0.0;
    for field in ["used_cpu_user", "used_cpu_sys"] {
        sum += server.info("cpu", field).await.parse::<f64>().unwrap();
    }
    sum
}
