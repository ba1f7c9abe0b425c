//! Rounds and their lines, a watch over those who are stuck, runtimes, and the clock.

use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};
use std::{fmt::Debug, panic, thread};

use tokio::runtime::{Builder, Runtime};

/// Long enough for any machine: whatever isn't over by then is stuck.
const STUCK: Duration = Duration::from_secs(60);

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

/// Runs `work` on a thread of its own, and fails if it isn't done in a minute. `who` is asked then.
///
/// A thread, rather than a timeout around a future: nobody knows what will hang in what.
pub(crate) fn guarded<T: Send + 'static>(
    who: impl Debug + Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    on_a_thread(STUCK, work).unwrap_or_else(|| {
        // To be asked it may take a lock, which may be what hangs.
        let told = on_a_thread(Duration::from_secs(5), move || format!("{who:#?}"));
        panic!("stuck for {STUCK:?}: {}", told.unwrap_or("and doesn't say how things stand".into()))
    })
}

fn on_a_thread<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = mpsc::channel();
    let work = panic::AssertUnwindSafe(work);
    thread::spawn(move || done.send(panic::catch_unwind(work)));
    let result = result.recv_timeout(time).ok()?;
    Some(result.unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
}

/// [`guarded`], for a task on a runtime.
pub(crate) fn guarded_task<T: Send + 'static>(
    workers: usize,
    who: impl Debug + Send + 'static,
    task: impl Future<Output = T> + Send + 'static,
) -> T {
    let task = async { tokio::spawn(task).await.unwrap() };
    guarded(who, move || runtime(workers).block_on(task))
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
        now if now % 64 != 0 => now,
        _ => {
            thread::yield_now();
            nanos()
        }
    }
}
