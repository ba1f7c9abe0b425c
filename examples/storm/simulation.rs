//! A thousand clients, and what becomes of their requests.

use std::{cell::RefCell, time::Duration};

use fastrand::Rng;
use futures::{
    Stream, StreamExt,
    future::{join, join_all},
    stream,
};
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{ExponentialRetry, ExponentialRetryLayer};

use crate::{
    now,
    server::{CAPACITY, OUTAGE, PATIENCE, Server},
};

pub(crate) const CLIENTS: u32 = 1000;
/// What the clients together ask for in good times: 70 % of what the server can do.
pub(crate) const USUAL: f64 = 0.7 * CAPACITY as f64;
pub(crate) const LENGTH: Duration = Duration::from_secs(35);

/// How long a server has to do well before it counts as recovered.
const STEADY: Duration = Duration::from_secs(5);

/// What a client does while a request of its own is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// It waits for the answer, as a worker does that has one thing to do after the other. While
    /// a request backs off, its client asks for nothing.
    Closed,
    /// It makes the next request all the same, as when people keep on coming to a site.
    Open,
}

/// What happened to one attempt, or to one request with all its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    begun: Duration,
    /// When it ended, and whether well; `None` if it was still under way when time was up.
    ended: Option<(Duration, bool)>,
}

/// All that happened, each in the order in which it began.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) requests: Vec<Outcome>,
    pub(crate) attempts: Vec<Outcome>,
}

/// Lets all clients, with this policy, live through the outage.
pub(crate) async fn run(traffic: Traffic, policy: ExponentialRetry, seed: u64) -> Run {
    let start = now();
    let (requests, attempts) = (RefCell::default(), RefCell::default());
    let (server, work) = Server::new(start);

    let service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy))
        .service(service_fn(|()| note(&attempts, start, server.request())));

    let at_a_time = match traffic {
        Traffic::Closed => Some(1),
        Traffic::Open => None,
    };
    let mut random = Rng::with_seed(seed);
    let clients = (0..CLIENTS).map(|_| {
        arrivals(random.fork()).for_each_concurrent(at_a_time, |()| async {
            // A failure is noted, and nothing else can be done about it.
            let _ = note(&requests, start, service.clone().oneshot(())).await;
        })
    });
    let everybody = join(work, join_all(clients));
    timeout(LENGTH, everybody).await.expect_err("clients never have enough");
    Run { requests: requests.into_inner(), attempts: attempts.into_inner() }
}

/// The moments at which one client wants something: those of all clients are a Poisson process.
fn arrivals(random: Rng) -> impl Stream<Item = ()> {
    stream::unfold(random, |mut random| async {
        let mean = f64::from(CLIENTS) / USUAL;
        sleep(Duration::from_secs_f64(-mean * (1.0 - random.f64()).ln())).await;
        Some(((), random))
    })
}

/// Does something and notes in `log` what came of it.
async fn note<E>(
    log: &RefCell<Vec<Outcome>>,
    start: Instant,
    doing: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    let index = log.borrow().len();
    log.borrow_mut().push(Outcome { begun: start.elapsed(), ended: None });
    let result = doing.await;
    log.borrow_mut()[index].ended = Some((start.elapsed(), result.is_ok()));
    result
}

impl Outcome {
    fn is_success(&self) -> bool {
        matches!(self.ended, Some((_, true)))
    }
}

impl Run {
    /// How long after the end of the outage things were as usual again: for a while, at least 99 % of
    /// the attempts succeeded, and they were at least 90 % of as many as usual. `None` if they never were.
    ///
    /// The second condition is for those who do so well only because the clients are still asleep.
    pub(crate) fn recovery(&self) -> Option<Duration> {
        let usual = |&from: &Duration| {
            let index = |time| self.attempts.partition_point(|attempt| attempt.begun < time);
            let attempts = &self.attempts[index(from)..index(from + STEADY)];
            let good = attempts.iter().filter(|attempt| attempt.is_success()).count() as f64;
            good >= 0.99 * attempts.len() as f64 && good >= 0.9 * USUAL * STEADY.as_secs_f64()
        };
        (0..)
            .map(|step| OUTAGE.end + step * Duration::from_millis(100))
            // Attempts that were still under way when time was up can't be judged.
            .take_while(|&from| from + STEADY + PATIENCE <= LENGTH)
            .find(usual)
            .map(|from| from - OUTAGE.end)
    }

    /// Attempts per request.
    pub(crate) fn amplification(&self) -> f64 {
        self.attempts.len() as f64 / self.requests.len() as f64
    }

    /// The share of the requests that were answered, of those that came to an end.
    pub(crate) fn answered(&self) -> f64 {
        let ended = self.requests.iter().filter(|request| request.ended.is_some()).count();
        let answered = self.requests.iter().filter(|request| request.is_success()).count();
        answered as f64 / ended as f64
    }

    /// The most attempts in a second.
    pub(crate) fn peak(&self) -> u32 {
        self.offered().into_iter().max().unwrap_or(0)
    }

    /// The most attempts in a second from the end of the outage on.
    pub(crate) fn peak_after_outage(&self) -> u32 {
        self.offered().into_iter().skip(OUTAGE.end.as_secs() as usize).max().unwrap_or(0)
    }

    /// The attempts begun in each second.
    pub(crate) fn offered(&self) -> Vec<u32> {
        per_second(self.attempts.iter().map(|attempt| attempt.begun))
    }

    /// The attempts that succeeded in each second.
    pub(crate) fn in_time(&self) -> Vec<u32> {
        let successes = self.attempts.iter().filter(|attempt| attempt.is_success());
        per_second(successes.filter_map(|attempt| Some(attempt.ended?.0)))
    }
}

fn per_second(times: impl Iterator<Item = Duration>) -> Vec<u32> {
    let mut counts = vec![0; LENGTH.as_secs() as usize];
    for time in times {
        if let Some(count) = counts.get_mut(time.as_secs() as usize) {
            *count += 1;
        }
    }
    counts
}
