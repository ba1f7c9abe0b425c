//! The service and the response future of both limits.
//!
//! A request is admitted in one of two ways:
//!
//! - **In `poll_ready`**, by [`Limited`]: the service is ready once it holds a permit and the inner
//!   service is ready. A caller at the limit is held back: backpressure. For limits that do not
//!   depend on the request.
//! - **In `call`**, by [`CallFuture`]: the service is always ready, and the response future
//!   acquires a permit, drives a clone of the inner service ready, and calls it. For limits that
//!   depend on the request. No inner service is kept ready while a request waits for its permit.

mod in_call;
#[cfg(test)]
mod in_call_tests;
mod layer;
mod limited;
mod response;

pub(crate) use self::{in_call::CallFuture, layer::LimitLayer};
pub use self::{limited::Limited, response::ResponseFuture};
