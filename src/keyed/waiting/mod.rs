//! Requests that wait for the permits of their keys.

mod future;
mod layer;
pub(super) mod queue;
mod service;
mod wait;

pub(crate) use self::layer::{MAX_QUEUE, MAX_QUEUE_PER_KEY};
pub use self::{future::QueueFuture, layer::KeyedQueueLayer, service::KeyedQueue};
