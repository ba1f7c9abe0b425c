//! The cores under the model checker.
//!
//! The source files of the cores are compiled a second time here, with loom's atomics and mutex in
//! the place of `std`'s. Each model runs every interleaving of its threads, up to the number of
//! preemptions that it names, with every outcome that the memory orderings allow.
//!
//! With `--nocapture`, each model prints its number of executions. The environment raises the bound
//! of preemptions: `LOOM_MAX_PREEMPTIONS=4 cargo test --test models -- --nocapture`.

#![allow(dead_code, unreachable_pub, reason = "the cores, without their users")]

mod adapter;
#[path = "../../src/retry/budget.rs"]
mod budget;
#[allow(clippy::modulo_one, reason = "sets of one state")]
mod keyed;
#[allow(unused_imports, reason = "the range of its settings")]
#[path = "../../src/backpressure/knee/mod.rs"]
mod knee;
#[path = "../../src/retry/live_words.rs"]
mod live_words;
#[path = "../support/paused_runtime.rs"]
mod paused_runtime;
mod rejected;
#[path = "../../src/semaphore/mod.rs"]
mod semaphore;
#[path = "../../src/seq48.rs"]
mod seq48;
#[path = "../../src/settings.rs"]
mod settings;
mod shared;
mod sync;
#[path = "../support/test_name.rs"]
mod test_name;
#[path = "../../src/time.rs"]
mod time;
#[path = "../support/wake_counter.rs"]
mod wake_counter;
#[path = "../../src/rate_limit/window/mod.rs"]
mod window;

mod budget_model;
mod keyed_model;
mod knee_model;
mod live_words_model;
mod semaphore_model;
mod wake_model;
mod window_model;

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use loom::{sync::Arc, thread::JoinHandle};

/// The threads of a model, and the bound of its preemptions.
struct Model {
    threads: usize,
    preemptions: usize,
}

thread_local! {
    /// The threads of the current execution; loom runs all of them on one thread of the process.
    static THREADS: Cell<usize> = const { Cell::new(0) };
}

impl Model {
    /// Runs all executions, and prints their number.
    fn check(self, run: impl Fn() + Sync + Send + 'static) {
        let Self { threads, preemptions } = self;
        let name = test_name::name_of(&run);
        let mut builder = loom::model::Builder::new();
        let asked_for = builder.preemption_bound.unwrap_or(0);
        let preemptions = preemptions.max(asked_for);
        builder.preemption_bound = Some(preemptions);

        let executions = std::sync::Arc::new(AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&executions);
        builder.check(move || {
            counted.fetch_add(1, Relaxed);
            THREADS.set(1);
            run();
            assert_eq!(THREADS.get(), threads, "the model states another number of threads");
        });
        let executions = executions.load(Relaxed);
        println!(
            "model {name}: threads={threads} preemptions={preemptions} executions={executions}"
        );
    }
}

/// Runs `run` on another thread of a model.
fn spawn<S: 'static, T: 'static>(
    shared: &Arc<S>,
    run: impl FnOnce(&S) -> T + 'static,
) -> JoinHandle<T> {
    THREADS.set(THREADS.get() + 1);
    let shared = Arc::clone(shared);
    loom::thread::spawn(move || run(&shared))
}

/// Waits for the threads of a model.
fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().expect("its thread ends")).collect()
}
