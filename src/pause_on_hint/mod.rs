//! One "too many requests" holds back everybody.
//!
//! A server that says *come again in 20 seconds* to one request means all of them. A service with this layer
//! reads its answers, and pauses a [rate limit](crate::rate_limit) until the time that the server named: those
//! who wait for the limit wait until then; who is bounded by `max_wait` and comes while it is paused is told at once, and
//! who waits already when its turn would have come.
//!
//! Put it inside the rate limit, next to the client, so that it sees every attempt:
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
//! // What says when to come again; `client::HttpHints` and `client::GrpcHints` read it off headers.
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
//! assert_eq!(handle.wait(), Duration::from_secs(20)); // for everybody
//! # Ok(())
//! # }
//! ```
//!
//! # How long
//!
//! | | a hint up to it | a longer one |
//! | --- | --- | --- |
//! | [`max_pause`](PauseOnHintLayer::max_pause), 60 s | pauses the limit for as long | pauses it for `max_pause`: then somebody asks again |
//! | [`max_hint`](crate::ExponentialRetry::max_hint) of the retry, 60 s | is waited for, with jitter on top | is not waited for: the answer is handed on |
//!
//! # Caveats
//!
//! - Each call counts a reference to the limit and lets go of it; a hint takes the mutex of the limit's line.
//! - Those who are in flight, or ready, when the hint arrives are not called back. A bound on the requests in
//!   flight bounds them, too.
//! - A pause moves only forward: a shorter hint that comes later changes nothing.
//! - When a pause is over, as many go at once as the limit has places for.
//! - Outside the retry it sees only the last answers, and everybody else goes on asking until then. Nothing tells.
//! - It is for hints that come from the server. If a hint is made of a [`Rejected`](crate::Rejected) of that same
//!   limit, every rejection pauses those who could go.

pub mod future;
mod layer;
mod read_hint;
mod service;

pub use self::{layer::PauseOnHintLayer, read_hint::ReadHint, service::PauseOnHint};
