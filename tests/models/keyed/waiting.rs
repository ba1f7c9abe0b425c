//! The queue, without the requests of layers.

#[path = "../../../src/keyed/waiting/queue/mod.rs"]
pub(crate) mod queue;
