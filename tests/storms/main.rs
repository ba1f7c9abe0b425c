//! Storms: many tasks on real threads, in real time.
//!
//! The promises are tested under paused time, where a test runs the same each time, and the cores
//! under loom, which runs every interleaving of two or three threads. Storms test the rest:
//! thousands of waiters, several runtimes, plain threads, real wakers and timers, and the
//! preemptions of a busy machine. They look for faults that no scene was written for, so they all
//! assert the same: **nothing lost, nothing over, nothing stuck.**
//!
//! - *Nothing lost:* afterwards the counts are exact, and as many services can be ready at once as
//!   the limit allows.
//! - *Nothing over:* no more requests are in flight than the limit, from readiness to the end of
//!   the response, and no more are issued in any span of a window, by the times at which the inner
//!   service was called.
//! - *Nothing stuck:* every waiter that is not cancelled is served. A storm is stuck once sixty
//!   checks, a second apart, have found no progress. It then fails and prints its state.
//!
//! No verdict depends on the speed or the load of the machine. The used share of a window's quota
//! is printed, not judged.
//!
//! Each storm prints a line of counts, `storm NAME: key=value, ...`. Counts are summed over the
//! rounds, but `most_...` is the highest and `least_...` the lowest of any round.
//!
//! ```text
//! cargo test --test storms -- --show-output
//! STORM_ROUNDS=100 cargo test --release --test storms -- --show-output
//! ```
//!
//! One round takes some twenty seconds on an idle machine of two processors, and a minute beside
//! two busy loops: its work is bounded, not its time. Random choices are drawn from a seed, the
//! number of the round, but each run has another interleaving of its threads.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod adaptive;
mod budget;
mod busy;
mod concurrency;
mod crowd;
mod keyed_top;
mod keyed_waiting;
mod runtimes;
mod settings;
mod site;
mod spans;
mod support;
mod terms;
mod window;
