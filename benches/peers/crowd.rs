//! Many tasks that call through one limit, each with a clone of its own, for a given time.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use cpu_time::ProcessTime;
use pin_project::pin_project;
use tokio::{
    runtime::{Handle, Runtime},
    sync::oneshot,
    time::sleep,
};
use tower::{Service, ServiceExt};

use crate::race::uncounted;

/// When it was asked for a call, if its wait is to be measured.
pub(crate) type Asked = Option<Instant>;
/// How long it took from there to the call of the inner service.
pub(crate) type Waited = Option<Duration>;

/// One who calls again and again.
pub(crate) trait Caller: Clone + Send + 'static {
    fn call(&mut self, asked: Asked) -> impl Future<Output = Waited> + Send;
}

/// Through a service: waits until it is ready, calls it, and waits for the answer.
#[derive(Clone)]
pub(crate) struct Through<S>(pub(crate) S);

impl<S> Caller for Through<S>
where
    S: Service<Asked, Response = Waited, Error: Debug, Future: Send> + Clone + Send + 'static,
{
    async fn call(&mut self, asked: Asked) -> Waited {
        let service = self.0.ready().await.expect("it doesn't fail");
        service.call(asked).await.expect("it doesn't fail")
    }
}

/// An answer that lets others go on once before it comes.
pub(crate) struct Yielding {
    waited: Waited,
    has_yielded: bool,
}

impl Yielding {
    pub(crate) fn new(asked: Asked) -> Self {
        Self { waited: asked.map(|asked| asked.elapsed()), has_yielded: false }
    }
}

impl Future for Yielding {
    type Output = Result<Waited, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.has_yielded {
            return Poll::Ready(Ok(self.waited));
        }
        self.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// On how many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    /// Of one runtime, which decides whether both have something to do.
    Two,
    /// Each with a runtime of its own, and half of the tasks.
    Apart,
}

impl Threads {
    pub(crate) fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::One | Self::Apart => tokio::runtime::Builder::new_current_thread(),
            Self::Two => tokio::runtime::Builder::new_multi_thread(),
        };
        if self == Self::Two {
            builder.worker_threads(2);
        }
        builder.enable_time().build().expect("a runtime without I/O")
    }
}

/// How many call, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) tasks: usize,
    pub(crate) threads: Threads,
    /// From when all have begun until something is counted.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// Of so many calls of a task, the wait of one is measured.
    pub(crate) sample: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) time: Duration,
    /// Of the processor, all threads together.
    pub(crate) processor: Duration,
    /// Of each task.
    pub(crate) calls: Vec<u64>,
    pub(crate) polls: u64,
    pub(crate) waits: Vec<Duration>,
}

impl Tally {
    pub(crate) fn all(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// By how many calls the busiest task is ahead of the idlest.
    pub(crate) fn spread(&self) -> u64 {
        let (most, fewest) = (self.calls.iter().max(), self.calls.iter().min());
        most.unwrap_or(&0) - fewest.unwrap_or(&0)
    }

    pub(crate) fn polls_per_call(&self) -> f64 {
        self.polls as f64 / self.all() as f64
    }
}

impl Crowd {
    /// Makes a caller within the runtime, and lets every task have a clone.
    pub(crate) fn run<C: Caller>(&self, make: impl FnOnce() -> C) -> Tally {
        let runtime = self.threads.runtime();
        let second = (self.threads == Threads::Apart).then(Second::start);
        let counts: Arc<[Count]> = (0..self.tasks).map(|_| Count::default()).collect();
        uncounted(|| {
            let tally = runtime.block_on(async {
                let caller = make();
                for number in 0..self.tasks {
                    let task = calling(caller.clone(), Arc::clone(&counts), number, self.sample);
                    let counts = Arc::clone(&counts);
                    let task = Polled { task, counts, number };
                    match &second {
                        Some(second) if number % 2 == 1 => second.runtime.spawn(task),
                        _ => tokio::spawn(task),
                    };
                }
                drop(caller);
                // A runtime takes its time until it has begun them all.
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

/// A runtime on a thread of its own.
struct Second {
    runtime: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Second {
    fn start() -> Self {
        let runtime = Threads::One.runtime();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            uncounted(|| {
                runtime.block_on(stopped).expect("it is told to stop");
                drop(runtime);
            });
        });
        Self { runtime: handle, stop, thread }
    }

    fn stop(self) {
        self.stop.send(()).expect("it waits for this");
        self.thread.join().expect("it doesn't panic");
    }
}

/// What a task has done. Nobody else writes it, so it costs the others nothing.
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
        std::mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(counts: &[Count]) -> Vec<(u64, u64)> {
    counts.iter().map(|count| (count.calls.load(Relaxed), count.polls.load(Relaxed))).collect()
}

async fn calling(mut caller: impl Caller, counts: Arc<[Count]>, number: usize, sample: u64) {
    let count = &counts[number];
    // Not all tasks measure at the same time.
    let mut turn = number as u64;
    loop {
        turn += 1;
        let asked = (turn % sample == 0).then(Instant::now);
        count.note(caller.call(asked).await);
        Count::add(&count.calls);
    }
}

/// Counts how often a task is polled.
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
