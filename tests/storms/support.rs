//! Rounds and their lines of counts, a guard of progress, runtimes, and the clock.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use std::{fmt::Debug, panic, thread};

use tokio::runtime::{Builder, Runtime};

/// Checks in a row that find the same number of steps before work counts as stuck.
const CHECKS: u32 = 60;

/// The time before each check.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// The counts of a storm.
pub(crate) struct Line(Vec<(&'static str, usize)>);

/// Runs the rounds of a storm, each with a seed, and prints its line.
pub(crate) fn storm(name: &str, round: impl Fn(u64, &mut Line)) {
    let rounds = std::env::var("STORM_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let mut line = Line(Vec::new());
    (0..rounds).for_each(|seed| round(seed, &mut line));
    let counts: Vec<_> = line.0.iter().map(|(key, count)| format!("{key}={count}")).collect();
    println!("storm {name}: {}", counts.join(", "));
}

impl Line {
    /// Adds the count of a round.
    pub(crate) fn count<N>(&mut self, key: &'static str, count: N)
    where
        N: TryInto<usize, Error: Debug>,
    {
        let count = count.try_into().unwrap();
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            None => self.0.push((key, count)),
            Some((_, most)) if key.starts_with("most_") => *most = count.max(*most),
            Some((_, least)) if key.starts_with("least_") => *least = count.min(*least),
            Some((_, sum)) => *sum += count,
        }
    }
}

/// Runs `work` on a thread of its own, and panics with `state` once the work is stuck.
///
/// It is stuck once [`CHECKS`] checks in a row have found the same number of `steps`.
///
/// Checks are counted because time proves nothing: while the machine is suspended or the process is
/// starved there are no checks either, and slow work makes a step between two of them.
///
/// `steps` counts steps of work that ends by itself. The calls of a task without an end would hide
/// a waiter that is stuck.
pub(crate) fn guarded<T: Send + 'static>(
    state: impl Debug + Send + 'static,
    steps: impl Fn() -> usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let result = on_a_thread(work);
    let (mut seen, mut checks) = (steps(), 0);
    while checks < CHECKS {
        if let Ok(result) = result.recv_timeout(BETWEEN_CHECKS) {
            return result.unwrap_or_else(|panicked| panic::resume_unwind(panicked));
        }
        let now = steps();
        checks = if now == seen { checks + 1 } else { 0 };
        seen = now;
    }
    // Formatting the state may take a lock that is held for good.
    let state = on_a_thread(move || format!("{state:#?}")).recv_timeout(5 * BETWEEN_CHECKS);
    let state = state.ok().and_then(Result::ok).unwrap_or("its state cannot be read".to_owned());
    panic!("stuck after {seen} steps: {state}")
}

fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Receiver<thread::Result<T>> {
    let (done, result) = mpsc::channel();
    let work = panic::AssertUnwindSafe(work);
    thread::spawn(move || done.send(panic::catch_unwind(work)));
    result
}

/// [`guarded`], for a task on a runtime.
pub(crate) fn guarded_task<T: Send + 'static>(
    workers: usize,
    state: impl Debug + Send + 'static,
    steps: impl Fn() -> usize,
    task: impl Future<Output = T> + Send + 'static,
) -> T {
    let task = async { tokio::spawn(task).await.unwrap() };
    guarded(state, steps, move || runtime(workers).block_on(task))
}

/// Steps of work, counted by its threads in thousands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(Arc<AtomicUsize>);

impl Steps {
    /// Counts the `n`-th step of a thread if it is a thousandth, so that threads contend for the
    /// limit and not for this counter.
    pub(crate) fn note(&self, n: u32) {
        if n % 1000 == 0 {
            self.0.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// A runtime with `workers` threads, or one that runs in the thread that blocks on it.
pub(crate) fn runtime(workers: usize) -> Runtime {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers.max(1)).enable_time().build().unwrap()
}

/// Yields to other tasks until `condition` holds.
pub(crate) async fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Nanoseconds since the first reading of the clock, which never goes backwards on any thread.
pub(crate) fn nanos() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "storms read the real clock")]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap()
}

/// The time at which a call ends that yields to other threads now and then.
///
/// A request goes out at any time in a call, and counts from its end at the latest.
pub(crate) fn nanos_at_the_end() -> u64 {
    match nanos() {
        now if now % 256 != 0 => now,
        _ => {
            thread::yield_now();
            nanos()
        }
    }
}
