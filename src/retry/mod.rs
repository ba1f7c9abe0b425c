//! Retries that don't make things worse.
//!
//! A failed attempt may succeed a moment later, so it is tried again; a server that fails because it is
//! overloaded is brought down for good by those who try again. Four things together make retries safe, and
//! [`ExponentialRetry`] has them all:
//!
//! | | what it bounds | setting |
//! | --- | --- | --- |
//! | an **attempt cap** | what one request does | [`ExponentialRetry::new`] |
//! | **exponential backoff** | how often it does it | [`Backoff`] |
//! | **jitter** | how many do it together | [`Jitter`] |
//! | a **budget** | what all requests do together, in an outage | [`RetryBudget`] |
//!
//! Beyond that a server's word counts: a hint to come back later is a floor for the wait, with jitter on top;
//! one to stay away is obeyed.
//!
//! # What happens after an attempt
//!
//! 1. The [classifier](Classify) judges the result: done, retry, retry after some time, or never.
//! 2. If it is to be retried, and neither the attempts, nor the time, nor the budget are spent, nor is the hint
//!    longer than allowed, the request waits. Otherwise the result is handed on as it is: a final response or
//!    the last error.
//! 3. The inner service is driven to readiness again, and called. (An error of readiness ends it.)
//!
//! A request that can't be [cloned](CloneRequest) is sent once, and its answer passes through.
//!
//! # When a request is copied
//!
//! A copy is made before an attempt is sent, since the inner service consumes the request. Every
//! attempt but the last allowed one is copied. The last one is copied only for its result to be
//! looked at, because tower shows a policy no result of a request without a copy:
//!
//! - if there is a [hook](ExponentialRetry::on_decision), which is told of
//!   [`StopReason::MaxAttempts`];
//! - if the classifier [needs to see](Classify::needs_settled) the result that is handed on.
//!   [`AnyError`] and closures don't. `HttpClassifier` and `GrpcClassifier` do unless the last
//!   attempt is the only one. Any other classifier does unless it says otherwise.
//!
//! So `ExponentialRetry::new(1)` with a closure and without a hook copies nothing.
//!
//! # What a waiting request holds
//!
//! While it waits, a request holds a timer and a copy of itself; whatever an outer layer gave it (a place in
//! flight) stays with it. Dropped, it lets go of everything.
//!
//! # How it differs from tower's
//!
//! It is tower's: a [`Policy`](tower::retry::Policy) for tower's [`Retry`](tower::retry::Retry). tower brings
//! the loop and leaves the policy to the user; its parts for one have a backoff whose clones draw the same
//! "random" waits and which loses its jitter at the maximum, and a budget that grants whole retries only and
//! takes a mutex for every request.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer,
//!     retry::{Backoff, Jitter, RetryBudget, Verdict},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::io::Error> {
//! // Three attempts; waits of up to 1 s and 2 s.
//! let plain = ExponentialRetry::new(3);
//!
//! // Tuned.
//! let policy = ExponentialRetry::new(5)
//!     .backoff(Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).jitter(Jitter::Equal))
//!     .max_elapsed(Duration::from_secs(30))
//!     .budget(RetryBudget::new(0.2))
//!     .classify(|_: &u32, result: &Result<u16, std::io::Error>| match result {
//!         Ok(429) => Verdict::RetryAfter(Duration::from_secs(3)),
//!         Ok(500..=599) | Err(_) => Verdict::Retry,
//!         Ok(_) => Verdict::Done,
//!     })
//!     .on_decision(|decision| match decision.retry_in() {
//!         Ok(wait) => println!("attempt {} failed, again in {wait:?}", decision.attempt()),
//!         Err(why) => println!("attempt {} failed: {why}", decision.attempt()),
//!     });
//!
//! # use std::sync::atomic::{AtomicU16, Ordering};
//! # let calls = AtomicU16::new(0);
//! # let client = service_fn(|_: u32| {
//! #     let status = if calls.fetch_add(1, Ordering::Relaxed) < 2 { 503 } else { 200 };
//! #     async move { Ok::<u16, std::io::Error>(status) }
//! # });
//! let service = ExponentialRetryLayer::new(policy).layer(client);
//! assert_eq!(service.oneshot(1).await?, 200);
//! # let _ = plain;
//! # Ok(())
//! # }
//! ```
//!
//! # Caveats
//!
//! - [`AnyError`], the default, retries every error of every request, rejections of this crate's limits
//!   among them, and no response: an HTTP client's 503 is one. Say what is a failure, and what is safe to be sent twice,
//!   with [`classify`](ExponentialRetry::classify); for HTTP and gRPC there are classifiers.
//! - [`ByClone`], the default, wants requests that are `Clone`. For others use
//!   [`clone_with`](ExponentialRetry::clone_with), if only `|_| None`.
//! - Waiting needs a tokio runtime with its timer enabled, and panics outside.
//! - Put one retry in a stack: two multiply their attempts.
//! - Each budget has a floor of its own, 10 retries a second. Share one budget (its clones do) instead of making one
//!   for each client.
//! - Timers resolve one millisecond: shorter waits take one.
//! - A thread may keep the budget of the policy it used last in memory until it uses another or ends, to save the next
//!   request from counting references.
//! - A hint holds back the request that got it. To hold back everybody, put a
//!   [`PauseOnHintLayer`](crate::PauseOnHintLayer) on the client.

mod backoff;
mod budget;
mod classify;
mod config;
mod decision;
pub mod future;
mod layer;
mod policy;
mod request;
mod shared;

pub use self::{
    backoff::{Backoff, Jitter},
    budget::{RetryBudget, RetryBudgetBuilder},
    classify::{AnyError, ByClone, Classify, CloneRequest, Verdict},
    config::ExponentialRetry,
    decision::{Decision, StopReason},
    layer::ExponentialRetryLayer,
};
