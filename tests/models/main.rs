//! The cores under the model checker.
//!
//! The source files of the cores are compiled here a second time, with loom's atomics and mutex in the
//! place of `std`'s: that is all that `sync` is for. Each model runs every interleaving of its threads,
//! up to the number of preemptions it names, with every outcome that the memory orderings allow.

#![allow(dead_code, unreachable_pub, reason = "the cores, without their users")]

#[path = "../../src/retry/budget.rs"]
mod budget;
#[path = "../../src/clock.rs"]
mod clock;
#[path = "../../src/gate/mod.rs"]
mod gate;
#[path = "../../src/settings.rs"]
mod settings;
#[path = "../../src/rate_limit/window/mod.rs"]
mod window;

mod sync {
    //! What `src/sync.rs` takes from `std`.

    use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a panic ends the model")
        }
    }
}

mod budget_model;
mod gate_model;
mod window_model;

/// Runs a model with at most so many preemptions.
fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}
