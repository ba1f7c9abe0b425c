//! A simulation of the adaptive concurrency limit.
#![allow(missing_docs, missing_debug_implementations)]
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
