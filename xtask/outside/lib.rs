//! Uses the package from outside: `cargo xtask builds` compiles this against it.
//!
//! There is a module for each feature. None of them enables a feature of a dependency, so that the
//! package has to name all that it needs.

#![allow(missing_docs, reason = "nothing depends on this crate")]

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod layers;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "serde")]
pub mod serde;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "shared-keys")]
#[path = "shared-keys.rs"]
pub mod shared_keys;
#[cfg(feature = "tracing")]
pub mod tracing;

use std::{
    future::{Ready, ready},
    io,
    task::{Context, Poll},
};

use tower_service::Service;

/// Responds to each request with a value of `T`.
#[derive(Clone, Debug, Default)]
pub struct Respond<T>(T);

impl<Request, T: Clone> Service<Request> for Respond<T> {
    type Response = T;
    type Error = io::Error;
    type Future = Ready<io::Result<T>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}

/// Requires the traits of a service that a server or a client shares.
pub fn shared<Request, S>(service: S) -> S
where
    S: Service<Request, Future: Send> + Clone + Send + Sync + 'static,
{
    service
}
