//! A simulation of the concurrency limit that finds itself.
//!
//! An event loop drives the core of the limit: no runtime, no clock, no threads. Time is a number,
//! and the same world and seed give the same figures.

pub mod algorithm;
pub mod core;
#[allow(dead_code, unreachable_pub, unused_imports, reason = "the core, without its users")]
#[path = "../../../src/backpressure/knee/mod.rs"]
mod knee;
pub mod known;
pub mod naive;
pub mod random;
pub mod run;
mod sync;
mod time;
pub mod world;
