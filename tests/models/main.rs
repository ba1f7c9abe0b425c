//! The cores under the model checker.
//!
//! The source files of the cores are compiled here a second time, with loom's atomics and mutex in the
//! place of `std`'s: that is all that `sync` is for. Each model runs every interleaving of its threads,
//! up to the number of preemptions it names, with every outcome that the memory orderings allow.
//!
//! With `--nocapture` each prints what it shows and how many executions that took. More preemptions
//! than it names: `LOOM_MAX_PREEMPTIONS=4 cargo test --test models -- --nocapture`.

#![allow(dead_code, unreachable_pub, reason = "the cores, without their users")]

mod adapter;
#[path = "../../src/retry/budget.rs"]
mod budget;
#[path = "../../src/clock.rs"]
mod clock;
#[path = "../../src/count.rs"]
mod count;
#[path = "../../src/gate/mod.rs"]
mod gate;
#[path = "../../src/settings.rs"]
mod settings;
mod sync;
#[path = "../../src/rate_limit/window/mod.rs"]
mod window;

mod budget_model;
mod gate_model;
mod wake_model;
mod window_model;

use std::{
    any::type_name,
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
    /// The threads of the execution that runs; loom runs all of them on one.
    static THREADS: Cell<usize> = const { Cell::new(0) };
}

impl Model {
    /// Runs all executions, and prints what that was worth.
    fn check(self, run: impl Fn() + Sync + Send + 'static) {
        let Self { threads, preemptions } = self;
        let name = name_of(&run);
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
            assert_eq!(THREADS.get(), threads, "the model has other threads than it says");
        });
        let executions = executions.load(Relaxed);
        println!(
            "model {name}: threads={threads} preemptions={preemptions} executions={executions}"
        );
    }
}

/// The name of the test that this closure was written in.
fn name_of<T>(_: &T) -> &'static str {
    let name = type_name::<T>().trim_end_matches("::{{closure}}");
    name.rsplit("::").next().unwrap_or(name)
}

/// Another thread of a model.
fn spawn<S: 'static, T: 'static>(
    shared: &Arc<S>,
    run: impl FnOnce(&S) -> T + 'static,
) -> JoinHandle<T> {
    THREADS.set(THREADS.get() + 1);
    let shared = Arc::clone(shared);
    loom::thread::spawn(move || run(&shared))
}
