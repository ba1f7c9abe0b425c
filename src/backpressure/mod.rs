//! Bounded.
pub mod future;
mod handle;
mod layer;
pub(crate) mod limiter;
mod service;

pub use self::{
    handle::{ConcurrencyBackpressureHandle, Drained},
    layer::ConcurrencyBackpressureLayer,
    service::ConcurrencyBackpressure,
};
