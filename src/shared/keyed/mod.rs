//! A shared quota for each key.
//!
//! Each key has a limiter as that of a single quota. Parts of the keys share a driver.

mod handle;
mod layer;
mod limiters;
mod service;
mod snapshot;
mod window;

pub use self::{
    handle::SharedKeysHandle, layer::SharedKeyedLimitLayer, service::SharedKeyedLimit,
    snapshot::SharedKeysSnapshot, window::SharedKeyedWindow,
};
