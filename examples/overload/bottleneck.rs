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
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

use super::now;

/// The mean time of the sleep.
const SLEEP: Duration = Duration::from_millis(20);
/// Requests that sleep at a time.
const SLEEPERS: usize = 40;
/// The mean time of a computation, behind a sleep that needs no permit.
const COMPUTATION: Duration = Duration::from_millis(1);
/// The standard deviation of the logarithm of these times.
const SPREAD: f64 = 0.5;

/// The resource that the work needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of many permits, for a sleep.
    Sleep,
    /// The only permit, for a computation.
    Computation,
}

impl Kind {
    /// Returns the least number of requests at a time with which the bottleneck is fully used.
    pub(crate) const fn knee(self) -> u32 {
        match self {
            Self::Sleep => SLEEPERS as u32,
            // A third more than the times tell, for the delays of a thread among others.
            Self::Computation => (SLEEP.as_micros() / COMPUTATION.as_micros()) as u32 * 4 / 3,
        }
    }

    /// Returns the permits with this share of the capacity, in percent.
    const fn permits(self, left: usize) -> usize {
        match self {
            Self::Sleep => SLEEPERS * left / 100,
            // Computations take longer instead.
            Self::Computation => 1,
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
    /// The share of the capacity that is left, in percent.
    left: AtomicUsize,
}

/// The permits, and the requests that wait for one.
#[derive(Debug)]
struct Queue {
    permits: Semaphore,
    /// Permits that are removed as soon as they are released.
    removed: AtomicUsize,
    /// The end of the last computation, by the capacity.
    busy_until: Mutex<Instant>,
}

impl Bottleneck {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        Self {
            kind,
            queue: Mutex::new(Arc::new(Queue::new(kind))),
            random: Mutex::new(Rng::with_seed(seed)),
            left: AtomicUsize::new(100),
        }
    }

    /// Works on a request in a task of its own, which outlives a caller that drops the future.
    ///
    /// Returns whether the work was done: a restart loses the queue.
    pub(crate) async fn work(self: Arc<Self>) -> bool {
        let queue = Arc::clone(&self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        let work = async move {
            if self.kind == Kind::Computation {
                sleep(self.draw(SLEEP)).await;
            }
            let arrived = now();
            let Ok(permit) = queue.permits.acquire().await else { return false };
            match self.kind {
                Kind::Sleep => sleep(self.draw(SLEEP)).await,
                Kind::Computation => {
                    let time = self.draw(COMPUTATION) * 100 / self.left.load(Relaxed) as u32;
                    let end = queue.end_of_next(arrived, time);
                    // Fails only while the runtime shuts down.
                    let _ = spawn_blocking(move || compute(end)).await;
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
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.resize(self.kind.permits(before), self.kind.permits(percent));
    }

    /// Loses the requests that wait, with the full capacity, as a process that starts anew.
    pub(crate) fn restart(&self) {
        self.left.store(100, Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.permits.close();
        *queue = Arc::new(Queue::new(self.kind));
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
    fn new(kind: Kind) -> Self {
        Self {
            permits: Semaphore::new(kind.permits(100)),
            removed: AtomicUsize::new(0),
            busy_until: Mutex::new(now()),
        }
    }

    /// Returns the end of a computation that arrived at `arrived` and takes `time`.
    ///
    /// It begins when the one before it should have ended. So the time that other programs take
    /// from the processor is made up for, and each candidate has the same capacity.
    fn end_of_next(&self, arrived: Instant, time: Duration) -> Instant {
        let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        *busy_until = arrived.max(*busy_until) + time;
        *busy_until
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
    let callers = (0..2 * kind.knee()).map(|_| async {
        let mut completed = 0;
        while timeout_at(to, Arc::clone(&bottleneck).work()).await.is_ok() {
            completed += u32::from(now() >= from);
        }
        completed
    });
    let completed: u32 = join_all(callers).await.iter().sum();
    f64::from(completed) / (to - from).as_secs_f64()
}

/// Uses a processor until this time.
fn compute(end: Instant) {
    let mut random = Rng::with_seed(0);
    while now() < end {
        for _ in 0..1000 {
            std::hint::black_box(random.u64(..));
        }
    }
}
