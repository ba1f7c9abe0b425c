//! Storms: many tasks on real threads and in real time, and nobody to tell them who goes first.
//!
//! The promises are tested under paused time, where a test is the same each time, and the cores under
//! loom, which tries every interleaving of two or three threads. What lies between is for storms:
//! thousands of waiters, several runtimes, plain threads, wakers and timers of the real kind, and the
//! preemptions of a busy machine. They are there for what nobody thought of, so they all ask for the same:
//! **nothing lost, nothing over, nothing stuck.**
//!
//! - *Nothing lost:* afterwards the counts are exact, and as many can be ready at once as the limit says.
//! - *Nothing over:* never more inside than the limit, from readiness to the end of the response; never
//!   more in any span of a window, by the times at which the inner service was called.
//! - *Nothing stuck:* a waiter that is not cancelled has its turns. A storm is stuck once sixty
//!   looks, a second apart, have found no progress. It then fails and prints its state.
//!
//! No verdict depends on how fast or how busy the machine is. How much of its quota a window used is
//! printed, not judged.
//!
//! Each storm prints a line of counts, `storm NAME: key=value, ...`. Counts are added up over the rounds, but
//! `most_...` is the highest and `least_...` the lowest of any round.
//!
//! ```text
//! cargo test --test storms -- --show-output
//! STORM_ROUNDS=100 cargo test --release --test storms -- --show-output
//! ```
//!
//! One round takes some twenty seconds on an idle machine of two processors, and a minute beside
//! two busy loops: its work is bounded, not its time. What is random is drawn from a seed, the
//! number of the round; what the threads make of it is another storm each time.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod budget;
mod busy;
mod crowd;
mod gate;
mod runtimes;
mod site;
mod spans;
mod support;
mod window;
