//! Heap allocations, and code during which the allocator does not count them.

use allocation_counter::{measure, opt_out};

/// Returns the number of allocations made by `run`.
pub(crate) fn count(run: impl FnOnce()) -> f64 {
    measure(run).count_total as f64
}

/// Returns the result of `run`, and the bytes that it left on the heap.
pub(crate) fn live_bytes<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let mut made = None;
    let bytes = measure(|| made = Some(run())).bytes_current;
    (made.expect("the closure has run"), bytes as f64)
}

/// Runs `run` without counting, so that a contender that allocates is not charged for the counter.
pub(crate) fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    let mut value = None;
    opt_out(|| value = Some(run()));
    value.expect("the closure has run")
}
