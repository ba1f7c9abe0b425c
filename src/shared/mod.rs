//! A quota that many processes share, through a store such as Redis.
//!
//! # Why the limit holds

mod admission;
mod agent;
mod away;
mod driver;
mod future;
mod handle;
mod layer;
mod limiter;
mod observed;
mod pool;
mod quota;
mod service;
mod snapshot;
mod store;
mod wire;

pub use self::{
    away::Away,
    future::ResponseFuture,
    handle::SharedRateLimitHandle,
    layer::SharedRateLimitLayer,
    quota::SharedWindow,
    service::SharedRateLimit,
    snapshot::{FleetCounts, SharedSnapshot},
    store::{Store, StoreError},
};
