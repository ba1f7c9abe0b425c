//! The part of a server that has a capacity, as a database or a processor behind it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::join_all;
use tokio::{
    runtime::{self, Runtime},
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout_at},
};

use super::now;

/// Requests that are worked on at a time.
pub(crate) const PERMITS: usize = 40;
/// The mean time of the work on one request.
const WORK: Duration = Duration::from_millis(20);
/// The spread of the work: the standard deviation of its logarithm.
const SPREAD: f64 = 0.5;
/// The mean time on the processor, beside a wait of [`WORK`] for something else.
const COMPUTATION: Duration = Duration::from_millis(1);

/// The resource that the work needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of a number of permits, for a sleep.
    Permits,
    /// One thread, for a computation, after a wait that needs nothing.
    Processor,
}

impl Kind {
    /// Returns the least number of requests at a time with which the bottleneck is fully used.
    pub(crate) const fn knee(self) -> u32 {
        match self {
            Self::Permits => PERMITS as u32,
            Self::Processor => 1 + (WORK.as_micros() / COMPUTATION.as_micros()) as u32,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Bottleneck {
    kind: Kind,
    /// Replaced by a restart.
    queue: Mutex<Arc<Queue>>,
    /// The times of the work.
    random: Mutex<Rng>,
    /// The thread of computations; its queue is first come, first served.
    processor: Option<Runtime>,
    /// Rounds of a computation of a microsecond.
    rounds: u64,
    /// The share of the capacity that is left, in percent.
    left: AtomicUsize,
}

/// The permits, and the requests that wait for one.
#[derive(Debug)]
struct Queue {
    permits: Semaphore,
    /// Permits that are removed as soon as they are released.
    removed: AtomicUsize,
}

impl Bottleneck {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let processor = (kind == Kind::Processor).then(|| {
            let mut runtime = runtime::Builder::new_current_thread();
            runtime.max_blocking_threads(1).build().expect("a runtime without drivers")
        });
        Self {
            kind,
            queue: Mutex::new(Arc::new(Queue::new(PERMITS))),
            random: Mutex::new(Rng::with_seed(seed)),
            processor,
            rounds: rounds_per_microsecond(),
            left: AtomicUsize::new(100),
        }
    }

    /// Works on a request in a task of its own, which outlives a caller that drops the future.
    ///
    /// Returns whether the work was done: a restart loses the queue.
    pub(crate) async fn work(self: Arc<Self>) -> bool {
        let queue = Arc::clone(&self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        let work = async move {
            if self.kind == Kind::Processor {
                sleep(self.draw(WORK)).await;
            }
            let Ok(permit) = queue.permits.acquire().await else { return false };
            match &self.processor {
                None => sleep(self.draw(WORK)).await,
                Some(processor) => {
                    let mean = COMPUTATION * 100 / self.left.load(Relaxed) as u32;
                    let rounds = self.rounds * self.draw(mean).as_micros() as u64;
                    if processor.spawn_blocking(move || compute(rounds)).await.is_err() {
                        return false;
                    }
                }
            }
            queue.release(permit);
            true
        };
        tokio::spawn(work).await.unwrap_or(false)
    }

    /// Leaves this share of the capacity, in percent.
    pub(crate) fn leave(&self, percent: usize) {
        let before = self.left.swap(percent, Relaxed);
        if self.kind == Kind::Permits {
            let permits = |percent| PERMITS * percent / 100;
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.resize(permits(before), permits(percent));
        }
    }

    /// Loses the requests that wait, with the full capacity, as a process that starts anew.
    pub(crate) fn restart(&self) {
        self.left.store(100, Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.permits.close();
        *queue = Arc::new(Queue::new(PERMITS));
    }

    /// Draws a time from a lognormal distribution.
    fn draw(&self, mean: Duration) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let (angle, radius) = (random.f64() * std::f64::consts::TAU, 1.0 - random.f64());
        drop(random);
        let normal = (-2.0 * radius.ln()).sqrt() * angle.cos();
        mean.mul_f64((SPREAD * normal - SPREAD * SPREAD / 2.0).exp())
    }
}

impl Queue {
    fn new(permits: usize) -> Self {
        Self { permits: Semaphore::new(permits), removed: AtomicUsize::new(0) }
    }

    fn release(&self, permit: SemaphorePermit<'_>) {
        let remove = |removed: usize| removed.checked_sub(1);
        if self.removed.fetch_update(Relaxed, Relaxed, remove).is_ok() {
            permit.forget();
        }
    }

    fn resize(&self, before: usize, after: usize) {
        if let Some(fewer) = before.checked_sub(after) {
            let free = self.permits.forget_permits(fewer);
            self.removed.fetch_add(fewer - free, Relaxed);
        } else {
            let more = after - before;
            let removed = self.removed.swap(0, Relaxed);
            // Those of an earlier loss that are not yet removed stay.
            self.removed.fetch_add(removed.saturating_sub(more), Relaxed);
            self.permits.add_permits(more.saturating_sub(removed));
        }
    }
}

/// Measures the requests that a bottleneck completes in a second while its queue is never empty.
pub(crate) async fn capacity(kind: Kind, seed: u64, time: Duration) -> f64 {
    let bottleneck = Arc::new(Bottleneck::new(kind, seed));
    let start = now();
    let (from, to) = (start + time / 4, start + time);
    let callers = (0..2 * PERMITS).map(|_| async {
        let mut completed = 0;
        while timeout_at(to, Arc::clone(&bottleneck).work()).await.is_ok() {
            completed += u32::from(now() >= from);
        }
        completed
    });
    let completed: u32 = join_all(callers).await.iter().sum();
    f64::from(completed) / (to - from).as_secs_f64()
}

fn rounds_per_microsecond() -> u64 {
    let rounds = 2_000_000;
    let start: Instant = now();
    compute(rounds);
    (rounds / start.elapsed().as_micros().max(1) as u64).max(1)
}

fn compute(rounds: u64) {
    let mut random = Rng::with_seed(rounds);
    for _ in 0..rounds {
        std::hint::black_box(random.u64(..));
    }
}
