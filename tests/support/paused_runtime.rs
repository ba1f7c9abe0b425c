//! Runtimes of one thread with a paused clock.

use tokio::runtime::{Builder, Runtime};

/// Returns a runtime with a clock of its own, which moves on when all tasks are idle.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// Runs `test` in a [`runtime`].
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    runtime().block_on(test)
}
