//! Rate.
pub mod future;
mod handle;
mod layer;
pub(crate) mod limiter;
mod service;
mod window;

pub use self::{
    handle::WindowRateLimitHandle, layer::WindowRateLimitLayer, service::WindowRateLimit,
};
