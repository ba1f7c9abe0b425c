//! The service and the response future that both limits share.
//!
//! [`Limited`] is named [`ConcurrencyBackpressure`](crate::ConcurrencyBackpressure) or
//! [`WindowRateLimit`](crate::WindowRateLimit). It admits a request in `poll_ready`: the service is
//! ready once it holds a permit and the inner service is ready, so a caller at the limit is held
//! back.

// The other way to admit is in `call`, for limits that depend on the request: the service is always
// ready, and its response future (`CallFuture`) acquires a permit, drives a clone of the inner
// service ready, and calls it. No inner service is kept ready while a request waits for its permit.

mod in_call;
#[cfg(test)]
mod in_call_tests;
mod layer;
mod limited;
mod on_unwind;
mod outcome;
mod response;

pub(crate) use self::{
    in_call::{Admit, AdmitFor, CallFuture, Unlimited},
    layer::LimitLayer,
    outcome::Outcome,
};
pub use self::{limited::Limited, response::ResponseFuture};
