//! The cores under a randomised scheduler.
//!
//! As in `tests/models`, the source files of the cores are compiled with another `sync`: the
//! atomics and the mutex of [shuttle](https://docs.rs/shuttle). loom runs every interleaving of two
//! or three threads. A scene runs four to six threads through random steps, each time in another
//! order: a quarter of its schedules choose the next thread at random, the others by priorities
//! that change at few points (PCT), which finds more. shuttle's memory is sequentially consistent:
//! orderings are the models' subject.
//!
//! Scenes share three oracles:
//!
//! - *Never too many:* counters and lists beside the core hold the limit.
//! - *Nothing lost:* at the end all permits are available and the queue is empty. A waiter that is
//!   never woken is reported as a deadlock.
//! - *In time:* whenever no step is in progress, no waiter is queued while a permit is available.
//!
//! ```text
//! cargo test --test shuttle -- --nocapture
//! SHUTTLE_ITERATIONS=100000 cargo test --release --test shuttle -- --nocapture
//! ```
//!
//! A scene that fails prints its seed. `SHUTTLE_RANDOM_SEED=seed cargo test --test shuttle NAME`
//! runs the same schedules again.

#![allow(dead_code, unreachable_pub, reason = "the cores, without their users")]

#[path = "../models/adapter.rs"]
mod adapter;
#[path = "../../src/retry/budget.rs"]
mod budget;
#[path = "../support/paused_runtime.rs"]
mod paused_runtime;
#[path = "../../src/semaphore/mod.rs"]
mod semaphore;
#[path = "../../src/seq48.rs"]
mod seq48;
#[path = "../../src/settings.rs"]
mod settings;
#[path = "../support/test_name.rs"]
mod test_name;
#[path = "../../src/time.rs"]
mod time;
#[path = "../../src/rate_limit/window/mod.rs"]
mod window;

mod sync {
    //! The names that `src/sync.rs` takes from `std`.

    use shuttle::sync::MutexGuard;
    /// The word of a clock.
    pub(crate) use shuttle::sync::atomic::AtomicU64 as ClockWord;
    pub(crate) use shuttle::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a panic ends the scene")
        }
    }
}

mod budget_scenes;
mod semaphore_scenes;
mod steps;
mod window_scenes;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use fastrand::Rng;
use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    thread::{self, JoinHandle},
};

/// Schedules of each scene.
const ITERATIONS: usize = 5000;
/// Priority changes in a schedule of PCT, plus one.
const DEPTH: usize = 4;

/// A scene, named after the test that explores it.
struct Scene {
    threads: usize,
}

impl Scene {
    /// Runs `run` under many schedules, and prints their number.
    ///
    /// `run` draws its steps from the generator that it is given.
    fn explore(self, run: impl Fn(Rng) + Sync + Send + 'static) {
        let Self { threads } = self;
        let name = test_name::name_of(&run);
        let from_env = |name: &str| env::var(name).ok().and_then(|value| value.parse().ok());
        let iterations = from_env("SHUTTLE_ITERATIONS").unwrap_or(ITERATIONS);
        let seed = from_env("SHUTTLE_RANDOM_SEED").unwrap_or_else(|| fastrand::usize(..)) as u64;
        let run = Arc::new(run);
        let begun = Arc::new(AtomicUsize::new(0));

        let at_random = iterations.div_ceil(4);
        let schedule = |scheduler: Box<dyn Scheduler + Send>| {
            let failed = Failed { name, seed, begun: &begun };
            let mut config = Config::new();
            config.stack_size = 1 << 18;
            config.failure_persistence = FailurePersistence::None;
            config.max_steps = MaxSteps::FailAfter(100_000);
            config.silence_warnings = true;
            let (run, begun) = (Arc::clone(&run), Arc::clone(&begun));
            let seeds = AtomicU64::new(seed);
            Runner::new(scheduler, config).run(move || {
                begun.fetch_add(1, Relaxed);
                run(Rng::with_seed(seeds.fetch_add(1, Relaxed)));
            });
            std::mem::forget(failed);
        };
        schedule(Box::new(RandomScheduler::new_from_seed(seed, at_random)));
        let by_priority = (iterations - at_random).max(1);
        schedule(Box::new(PctScheduler::new_from_seed(seed, DEPTH, by_priority)));
        println!("scene {name}: threads={threads} schedules={}", begun.load(Relaxed));
    }
}

/// Prints the seed if it is dropped, which a scene that fails does.
struct Failed<'a> {
    name: &'static str,
    seed: u64,
    begun: &'a AtomicUsize,
}

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        let Self { name, seed, begun } = self;
        let begun = begun.load(Relaxed);
        eprintln!("scene {name} failed at schedule {begun}: SHUTTLE_RANDOM_SEED={seed}");
    }
}

/// Runs `run` on another thread of a scene.
fn spawn<S: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<S>,
    run: impl FnOnce(&Arc<S>) -> T + Send + 'static,
) -> JoinHandle<T> {
    let shared = Arc::clone(shared);
    thread::spawn(move || run(&shared))
}

/// Waits for the threads of a scene.
fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().expect("its thread ends")).collect()
}
