//! The pool of leases against a naive version, and its word.

mod cost;
mod naive;
mod schedule;
mod word;

use std::env;

/// Returns the number of random schedules of a test: `PROPTEST_CASES`, 64 unless set.
fn cases() -> u64 {
    env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}
