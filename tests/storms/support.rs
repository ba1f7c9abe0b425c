//! Rounds and their lines, a watch that judges progress, runtimes, and the clock.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use std::{fmt::Debug, panic, thread};

use tokio::runtime::{Builder, Runtime};

/// Work is stuck once this many looks in a row have found the same number of steps.
const LOOKS: u32 = 60;

/// The sleep before each look.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What a storm counts.
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
    /// One more round's count.
    pub(crate) fn count(&mut self, key: &'static str, count: usize) {
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
/// It is stuck once [`LOOKS`] looks in a row have found the same number of `steps`.
///
/// Looks are counted because time proves nothing: while the machine is suspended or the process is
/// starved there are no looks either, and slow work makes a step between two of them.
///
/// `steps` counts what ends by itself. Calls of tasks that call for ever would hide a waiter that
/// is stuck.
pub(crate) fn guarded<T: Send + 'static>(
    state: impl Debug + Send + 'static,
    steps: impl Fn() -> usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let result = on_a_thread(work);
    let (mut seen, mut looks) = (steps(), 0);
    while looks < LOOKS {
        if let Ok(result) = result.recv_timeout(BETWEEN_LOOKS) {
            return result.unwrap_or_else(|panicked| panic::resume_unwind(panicked));
        }
        let now = steps();
        looks = if now == seen { looks + 1 } else { 0 };
        seen = now;
    }
    // Formatting the state may take a lock that is held for good.
    let state = on_a_thread(move || format!("{state:#?}")).recv_timeout(5 * BETWEEN_LOOKS);
    let state = state.ok().and_then(Result::ok).unwrap_or("its state can't be read".to_owned());
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
    /// Notes the `n`-th step of a thread. Counts every thousandth only: threads are to contend for
    /// the limit, not for this counter.
    pub(crate) fn note(&self, n: usize) {
        if n % 1000 == 0 {
            self.0.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// A runtime with so many worker threads. With none, whoever blocks on it is its only thread.
pub(crate) fn runtime(workers: usize) -> Runtime {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers.max(1)).enable_time().build().unwrap()
}

/// Gives way to the other tasks until it is so.
pub(crate) async fn wait_until(so: impl Fn() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}

/// Nanoseconds since the first look at the clock. Never backwards, whatever thread looks.
pub(crate) fn nanos() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "storms look at the real clock")]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap()
}

/// The time at which a call ends that gives way to other threads before, now and then. Whenever in a call
/// a request goes out, it counts from then on at the latest.
pub(crate) fn nanos_at_the_end() -> u64 {
    match nanos() {
        now if now % 256 != 0 => now,
        _ => {
            thread::yield_now();
            nanos()
        }
    }
}
