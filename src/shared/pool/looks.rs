//! Counts, for tests, the requests that are looked at behind the lock.

use std::cell::Cell;

thread_local! {
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn add(looks: usize) {
    LOOKS.set(LOOKS.get() + looks);
}

/// Returns the number of this thread since the last time.
pub(crate) fn take() -> usize {
    LOOKS.take()
}
