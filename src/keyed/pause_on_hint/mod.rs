//! A "too many requests" response holds back the requests of its key.

mod future;
mod layer;
mod service;

pub use self::{future::HintFuture, layer::PauseKeyOnHintLayer, service::PauseKeyOnHint};
