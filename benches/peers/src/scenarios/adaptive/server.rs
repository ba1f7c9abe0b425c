//! A server that works on a number of requests at a time, and queues the others.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Relaxed},
        },
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rand::Rng;
use rand_distr::{Distribution, LogNormal};
use tokio::{sync::Semaphore, time::sleep};
use tower::Service;

/// The mean time of the work, in milliseconds.
const MEAN: f64 = 20.0;

/// The times of the work.
#[derive(Clone, Copy, Debug)]
pub(super) enum Times {
    /// With 0.7 for the standard deviation of the logarithm.
    Lognormal,
    /// One of ten takes a hundred times as long.
    Bimodal,
}

impl Times {
    fn draw(self) -> Duration {
        let mut random = rand::rng();
        let millis = match self {
            Self::Lognormal => {
                let (spread, mean) = (0.7_f64, MEAN.ln());
                let distribution = LogNormal::new(mean - spread * spread / 2.0, spread);
                distribution.expect("the spread is positive").sample(&mut random)
            }
            Self::Bimodal => {
                let short = MEAN / (0.9 + 0.1 * 100.0);
                if random.random_bool(0.1) { 100.0 * short } else { short }
            }
        };
        Duration::from_secs_f64(millis / 1000.0)
    }
}

/// The server. Clones share its permits and its counts.
#[derive(Clone, Debug)]
pub(super) struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    times: Times,
    permits: Semaphore,
    size: AtomicUsize,
    /// Permits that are removed as soon as they are released.
    removed: AtomicUsize,
    requests: AtomicU64,
    served: AtomicU64,
}

/// The completed requests, and the sum of their times in service.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) served: Duration,
}

impl Server {
    pub(super) fn new(times: Times, permits: usize) -> Self {
        Self(Arc::new(Inner {
            times,
            permits: Semaphore::new(permits),
            size: AtomicUsize::new(permits),
            removed: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            served: AtomicU64::new(0),
        }))
    }

    pub(super) fn counts(&self) -> Counts {
        let served = Duration::from_nanos(self.0.served.load(Relaxed));
        Counts { requests: self.0.requests.load(Relaxed), served }
    }

    /// Changes the number of permits. Called by one task.
    pub(super) fn resize(&self, permits: usize) {
        let Inner { permits: semaphore, size, removed, .. } = &*self.0;
        let before = size.swap(permits, Relaxed);
        if let Some(fewer) = before.checked_sub(permits) {
            let free = semaphore.forget_permits(fewer);
            removed.fetch_add(fewer - free, AcqRel);
        } else {
            // Those that are not yet removed stay.
            let more = permits - before;
            let stay =
                removed.fetch_update(AcqRel, Relaxed, |left| Some(left.saturating_sub(more)));
            let stay = stay.expect("the function returns a number").min(more);
            semaphore.add_permits(more - stay);
        }
    }
}

impl Service<()> for Server {
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let server = Arc::clone(&self.0);
        let called = Instant::now();
        Box::pin(async move {
            let Inner { times, permits, removed, requests, served, .. } = &*server;
            let permit = permits.acquire().await.expect("the semaphore is never closed");
            sleep(times.draw()).await;
            let remove = |left: usize| left.checked_sub(1);
            if removed.fetch_update(AcqRel, Relaxed, remove).is_ok() {
                permit.forget();
            }
            requests.fetch_add(1, Relaxed);
            served.fetch_add(called.elapsed().as_nanos() as u64, Relaxed);
            Ok(())
        })
    }
}
