//! A thousand clients and the course of their requests.

use std::{
    cell::RefCell,
    mem,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

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
    server::{CAPACITY, Server},
};

pub(crate) const CLIENTS: u32 = 1000;
/// Requests per second of all clients without failures: 70 % of the server's capacity.
pub(crate) const USUAL: f64 = 0.7 * CAPACITY as f64;

/// The time before the outage.
const BEFORE: Duration = Duration::from_secs(5);

/// The outage and the length of a run, in whole seconds.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) outage: Range<Duration>,
    pub(crate) length: Duration,
}

impl Times {
    pub(crate) fn new(outage: Duration, after: Duration) -> Self {
        let end = BEFORE + outage;
        Self { outage: BEFORE..end, length: end + after }
    }
}

/// The behaviour of a client while a request of its own is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// The client waits for the response, as a worker with one task after the other. While a
    /// request backs off, its client makes no other.
    Closed,
    /// The client makes the next request all the same, as new visitors of a site do.
    Open,
}

impl Traffic {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Closed => "closed traffic: clients wait for their answers",
            Self::Open => "open traffic: requests come whatever happens",
        }
    }
}

/// The outcome of one attempt, or of one request with all its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) begun: Duration,
    /// The time of the end and whether it succeeded; `None` if it had not ended with the run.
    pub(crate) ended: Option<(Duration, bool)>,
}

impl Outcome {
    pub(crate) fn is_success(&self) -> bool {
        matches!(self.ended, Some((_, true)))
    }
}

/// The log of a run, in the order of the beginnings.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) times: Times,
    pub(crate) requests: Vec<Outcome>,
    /// The attempts that reached the service below the retry.
    pub(crate) attempts: Vec<Outcome>,
    /// The times at which the policy decided to retry. A retry is made after its wait.
    pub(crate) granted: Vec<Duration>,
}

/// Simulates all clients with this policy through the outage.
pub(crate) async fn run(
    times: &Times,
    traffic: Traffic,
    policy: ExponentialRetry,
    seed: u64,
) -> Run {
    let start = now();
    let (requests, attempts) = (RefCell::default(), RefCell::default());
    let granted = Arc::new(Mutex::new(Vec::new()));
    let (server, work) = Server::new(start + times.outage.start..start + times.outage.end);

    let noted = Arc::clone(&granted);
    let policy = policy.on_decision(move |decision| {
        if decision.retry_in().is_ok() {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(start.elapsed());
        }
    });
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
            // The log has the failure.
            let _ = note(&requests, start, service.clone().oneshot(())).await;
        })
    });
    let all = join(work, join_all(clients));
    timeout(times.length, all).await.expect_err("clients never stop");
    let granted = mem::take(&mut *granted.lock().unwrap_or_else(PoisonError::into_inner));
    Run {
        times: times.clone(),
        requests: requests.into_inner(),
        attempts: attempts.into_inner(),
        granted,
    }
}

/// The moments at which one client makes a request. All clients together are a Poisson process.
fn arrivals(random: Rng) -> impl Stream<Item = ()> {
    stream::unfold(random, |mut random| async {
        let mean = f64::from(CLIENTS) / USUAL;
        sleep(Duration::from_secs_f64(-mean * (1.0 - random.f64()).ln())).await;
        Some(((), random))
    })
}

/// Awaits `doing` and logs its beginning, end and success.
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
