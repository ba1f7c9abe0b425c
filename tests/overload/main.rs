//! Deadlines and classes of a concurrency limit in overload: a seeded queue under paused time.
//!
//! The times are a hundred times those of a fast server: a second in service, on average. Paused
//! time costs nothing, and a timer's millisecond is small beside them.
//!
//! The arrivals, the times in service, the deadlines and the classes are drawn from a seed. A run
//! prints its figures with `--nocapture`.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod adaptive;
mod classes;
mod deadlines;
mod queue;
mod worlds;
