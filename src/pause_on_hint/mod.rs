//! One "too many requests" response holds back all callers.
//!
//! If a server rejects one request until 20 seconds from now, it means all requests. A service with
//! this layer reads the server's responses, and pauses a [rate limit](crate::rate_limit) until the
//! time that the server names. Requests that wait for the limit wait until then. A request with a
//! `max_wait` is rejected at once if it arrives during the pause; one that waits already is
//! rejected when its permit would have been due.
//!
//! Put it inside the rate limit, next to the client, so that it sees each attempt:
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{PauseOnHintLayer, WindowRateLimitLayer};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let limit = WindowRateLimitLayer::new(100, Duration::from_secs(1));
//! let handle = limit.handle();
//! // For HTTP and gRPC, `client::HttpHints` and `client::GrpcHints` read hints from headers.
//! let hint = |result: &Result<u16, _>| match result {
//!     Ok(429) => Some(Duration::from_secs(20)),
//!     _ => None,
//! };
//! let mut service = ServiceBuilder::new()
//!     .layer(limit)
//!     .layer(PauseOnHintLayer::new(handle.clone(), hint))
//!     .service(service_fn(|status: u16| async move { Ok::<_, std::convert::Infallible>(status) }));
//!
//! assert_eq!(service.ready().await?.call(429).await?, 429);
//! assert_eq!(handle.estimated_wait(), Duration::from_secs(20)); // for all callers
//! # Ok(())
//! # }
//! ```
//!
//! If each host has a limit of its own,
//! [`keyed`](crate::keyed::KeyedLimitLayer::pause_on_hint) pauses the host that asks for it.
//!
//! A limit that many processes [share](crate::shared) is paused in this process alone. The others
//! learn of the server's hint from responses of their own.
//!
//! # How long
//!
//! | setting | a hint up to it | a longer hint |
//! | --- | --- | --- |
//! | [`max_pause`](PauseOnHintLayer::max_pause), 60 s | pauses the limit as long | pauses the limit for `max_pause`; then requests are issued again |
//! | [`max_hint`](crate::ExponentialRetry::max_hint) of the retry, 60 s | is waited for, with jitter on top | is not waited for: the response is returned |
//!
//! # Caveats
//!
//! - Each call clones and drops a reference to the bound and the limit. A hint takes the mutex of
//!   the wait queue.
//! - Requests that are in flight or ready when the hint arrives are not held back. A limit on the
//!   requests in flight bounds their number.
//! - A pause moves only forward: a later, shorter hint has no effect.
//! - When a pause ends, as many requests are issued at once as the limit has permits.
//! - Outside the retry, the layer sees only the last response of each request, and other callers
//!   proceed until then. No check reports that mistake.
//! - It is for hints of the server. With hints from a [`Rejected`](crate::Rejected) of the same
//!   limit, each rejection would pause requests that have a permit.

pub mod future;
mod handle;
mod layer;
mod read_hint;
mod service;

pub use self::{
    handle::PauseOnHintHandle, layer::PauseOnHintLayer, read_hint::ReadHint, service::PauseOnHint,
};
