//! Many tasks that call through one limit for a given time, each with a clone of its own.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cpu_time::ProcessTime;
use pin_project::pin_project;
use tokio::{task::JoinSet, time::sleep};

use super::{
    allocations::uncounted,
    caller::{Caller, Waited},
    runtimes::{Second, Threads},
};

/// The number of tasks, their threads, and the time for which they call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) tasks: usize,
    pub(crate) threads: Threads,
    /// The time between the start of the last task and the start of the measurement.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// The wait of every `sample`-th call of a task is measured.
    pub(crate) sample: u64,
}

/// The counts of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) time: Duration,
    /// Processor time of all threads together.
    pub(crate) processor: Duration,
    /// Calls of each task.
    pub(crate) calls: Vec<u64>,
    pub(crate) polls: u64,
    pub(crate) waits: Vec<Duration>,
}

impl Tally {
    pub(crate) fn all(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// Returns the calls of the busiest task minus those of the idlest.
    pub(crate) fn spread(&self) -> u64 {
        let (most, fewest) = (self.calls.iter().max(), self.calls.iter().min());
        most.unwrap_or(&0) - fewest.unwrap_or(&0)
    }

    pub(crate) fn polls_per_call(&self) -> f64 {
        self.polls as f64 / self.all() as f64
    }
}

impl Crowd {
    /// Makes a caller within the runtime, and runs a clone of it in each task.
    pub(crate) fn run<C: Caller>(&self, make: impl FnOnce() -> C) -> Tally {
        let runtime = self.threads.runtime();
        let second = (self.threads == Threads::Apart).then(Second::start);
        let counts: Arc<[Count]> = (0..self.tasks).map(|_| Count::default()).collect();
        uncounted(|| {
            let tally = runtime.block_on(async {
                let (caller, mut tasks) = (make(), JoinSet::new());
                for number in 0..self.tasks {
                    let task = calling(caller.clone(), Arc::clone(&counts), number, self.sample);
                    let counts = Arc::clone(&counts);
                    let task = Polled { task, counts, number };
                    match &second {
                        Some(second) if number % 2 == 1 => tasks.spawn_on(task, &second.runtime),
                        _ => tasks.spawn(task),
                    };
                }
                drop(caller);
                // A runtime takes some time to poll all of them once.
                while counts.iter().any(|count| count.polls.load(Relaxed) == 0) {
                    sleep(Duration::from_millis(1)).await;
                }
                sleep(self.warm_up).await;
                let (from, began, processor) = (read(&counts), Instant::now(), ProcessTime::now());
                sleep(self.time).await;
                let (to, time) = (read(&counts), began.elapsed());
                let processor = processor.elapsed();
                let waits = counts.iter().flat_map(Count::take_waits).collect();
                let each = from.iter().zip(&to);
                let calls = each.clone().map(|(from, to)| to.0 - from.0).collect();
                let polls = each.map(|(from, to)| to.1 - from.1).sum();
                // A `Buffer` fails the calls that outlive its worker.
                tasks.shutdown().await;
                Tally { time, processor, calls, polls, waits }
            });
            if let Some(second) = second {
                second.stop();
            }
            drop(runtime);
            tally
        })
    }
}

/// The counts of one task, in cache lines that only this task writes.
#[derive(Default)]
#[repr(align(128))]
struct Count {
    calls: AtomicU64,
    polls: AtomicU64,
    waits: Mutex<Vec<Duration>>,
}

impl Count {
    fn add(counter: &AtomicU64) -> u64 {
        let next = counter.load(Relaxed) + 1;
        counter.store(next, Relaxed);
        next
    }

    fn note(&self, waited: Waited) {
        if let Some(waited) = waited {
            self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(waited);
        }
    }

    fn take_waits(&self) -> Vec<Duration> {
        mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(counts: &[Count]) -> Vec<(u64, u64)> {
    counts.iter().map(|count| (count.calls.load(Relaxed), count.polls.load(Relaxed))).collect()
}

async fn calling(mut caller: impl Caller, counts: Arc<[Count]>, number: usize, sample: u64) {
    let count = &counts[number];
    // Tasks start at different calls, so that they do not all measure at the same time.
    let mut turn = number as u64;
    loop {
        turn += 1;
        let asked = (turn % sample == 0).then(Instant::now);
        count.note(caller.call(asked).await);
        Count::add(&count.calls);
    }
}

/// Counts the polls of a task.
#[pin_project]
struct Polled<F> {
    #[pin]
    task: F,
    counts: Arc<[Count]>,
    number: usize,
}

impl<F: Future> Future for Polled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Count::add(&this.counts[*this.number].polls);
        this.task.poll(cx)
    }
}
