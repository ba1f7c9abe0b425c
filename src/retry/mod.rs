//! Retries with backoff, jitter and a budget.
//!
//! A failed request may succeed a moment later. But retries add load to a server that may fail
//! because of its load. Four bounds together make retries safe, and [`ExponentialRetry`] has them
//! all:
//!
//! | | bounds | setting |
//! | --- | --- | --- |
//! | an **attempt cap** | the attempts of one request | [`ExponentialRetry::new`] |
//! | **exponential backoff** | the rate of these attempts | [`Backoff`], or other [waits](#waits) |
//! | **jitter** | the number of requests retried at the same moment | [`Jitter`] |
//! | a **budget** | the retries of all requests together, in an outage | [`RetryBudget`] |
//!
//! A server's hint to retry later is a floor for the wait, to which jitter is added. A server that
//! forbids retries is obeyed.
//!
//! # After an attempt
//!
//! 1. The [classifier](Classify) judges the result: done, retry, retry after some time, or never.
//! 2. If it is to be retried, the request waits. The result is returned instead, be it a response
//!    or an error, if the attempts, the time or the budget are exhausted, or the hint is too long:
//!    [`StopReason`] lists the reasons.
//! 3. The inner service is driven to readiness again, and called. An error of readiness is
//!    returned.
//!
//! A request that cannot be [copied](CloneRequest) is sent once, and its response passes through.
//! The hook is told [`StopReason::NotReplayable`] if `clone_with`
//! [makes a copy that is not sent](CloneRequest#requests-that-cannot-be-copied), which `ByReplay`
//! does.
//!
//! # Waits
//!
//! | the wait before a retry is | setting |
//! | --- | --- |
//! | exponential, the default | [`.backoff(Backoff::new(base, max))`](Backoff::new) |
//! | always the same | [`.backoff(Backoff::fixed(wait))`](Backoff::fixed) |
//! | random | [`.backoff(Backoff::uniform(shortest..=longest))`](Backoff::uniform) |
//! | from a list, the last item of which repeats | [`.waits(Waits::chain([first, second, third]))`](Waits::chain) |
//! | from a function of the number of the retry | [`.waits(Waits::from_fn(wait))`](Waits::from_fn) |
//! | from a function of the result, such as a hint | [`Verdict::RetryAfter`], [`Verdict::RetryExactly`] of the classifier |
//!
//! Hints, `max_elapsed` and a deadline bound all of them.
//!
//! # Plain functions
//!
//! [`retry`](retry()) calls an async function by a policy, without a service or a request. Its
//! decisions are those of the layer.
//!
//! # While a request waits
//!
//! A waiting request holds a timer and a copy of itself. The permit of an outer concurrency limit
//! stays with it, too. Dropping its future releases everything.
//!
//! # When a request is copied
//!
//! A copy is made before an attempt is sent, since the inner service consumes the request. Every
//! attempt but the last allowed one is copied. The last one is copied only for its result to be
//! seen, because tower shows a policy no result of a request without a copy:
//!
//! - if there is a [hook](OnDecision), which sees [`StopReason::MaxAttempts`];
//! - if the policy has a [name](ExponentialRetry::name), so that the end of the request is counted;
//! - if the classifier [must see](Classify::needs_settled) the result that is returned.
//!   [`AnyError`] and closures need not. `HttpClassifier` and `GrpcClassifier` must, unless the
//!   last attempt is the only one. Any other classifier must, unless it overrides the method.
//!
//! So `ExponentialRetry::new(1)` with a closure, without a hook and without a name copies nothing.
//!
//! # Observation and control
//!
//! A policy with a [`name`](ExponentialRetry::name) is observed, and its
//! [handle](ExponentialRetryHandle) changes it while it runs:
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_floodgate::{ExponentialRetry, ExponentialRetryLayer, retry::RetryBudget};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_floodgate::InvalidSetting> {
//! let policy = ExponentialRetry::new(3).budget(RetryBudget::new(0.2)).name("github");
//! let retry = ExponentialRetryLayer::new(policy);
//! let handle = retry.handle();
//!
//! # let client = service_fn(|_: u32| async { Err::<(), _>("no answer") });
//! let service = retry.layer(client);
//! let _ = service.oneshot(1).await;
//! assert_eq!((handle.requests(), handle.retries()), (1, 2));
//!
//! // In an outage: fewer attempts, later.
//! handle.set_max_attempts(2)?;
//! handle.set_max_hint(Duration::from_secs(300));
//! handle.budget().expect("the policy has one").set_ratio(0.05)?;
//! # Ok(())
//! # }
//! ```
//!
//! A change holds for requests that begin after it. A request in progress keeps the settings of its
//! beginning, all of them of one moment. Clones of the policy share its counts and live settings.
//! If `backoff`, `waits`, `max_hint`, `max_elapsed`, `budget` or `name` follows the name, it makes
//! [a policy of its own](ExponentialRetry#method.handle) again.
//!
//! All counts exist only with a name. A policy without one takes no instruction for them. With one,
//! a request that succeeds at once is counted in one atomic step, and loads the settings. It
//! allocates nothing, takes no lock unless settings change at that moment, and looks up no metric.
//!
//! | metric (feature `metrics`) | type | labels beside `limiter`, the name |
//! | --- | --- | --- |
//! | `floodgate_retries_total` | counter: retries decided on | `error_type`: the [class](ErrorType) of the failure before |
//! | `floodgate_retry_give_ups_total` | counter: failed requests that are not retried | `reason`: the [name](StopReason::name) of the reason |
//! | `floodgate_retry_attempts` | histogram: attempts of each request that has ended | |
//! | `floodgate_retry_backoff_seconds` | histogram: the wait before each retry | |
//! | `floodgate_retry_budget_balance` | gauge: retries that the budget has saved | |
//!
//! The gauge is recorded by `record_metrics` of the handle, and of a set of
//! [`Limits`](crate::observe::Limits), which adds up the budgets of one name.
//! `RETRY_ATTEMPTS_BUCKETS` and `RETRY_BACKOFF_BUCKETS` are for exporters that ask for buckets. A
//! recorder may be installed after the policy is named; metrics begin then.
//! `floodgate_retries_total` has no series before the first retry, since the classes of failures
//! are not known beforehand. The other counter begins at zero.
//!
//! | event (feature `tracing`) | level | fields beside `limiter` and `kind` |
//! | --- | --- | --- |
//! | `retry` | DEBUG | `attempt`, `error.type`, `backoff`, and `retry_after`, the hint, if there is one |
//! | `not retried` | INFO | `attempt`, `error.type`, `reason`, `retry_after` |
//! | `settings changed` | INFO | `max_attempts`, `backoff`, `max_hint`, `max_elapsed` |
//!
//! A policy with `waits` shows a backoff that it does not use, in its settings and this last event:
//! [`has_waits`](RetrySnapshot::has_waits) of a snapshot tells.
//!
//! Events have the target `tower_floodgate`, and are in the span of the caller. Times are in
//! seconds. A span for each attempt is opened by a `client::AttemptSpanLayer` inside the retry.
//!
//! A request ends, in view of the policy, with a result that is returned. Not seen is the end of a
//! request that is dropped or late, of one
//! [without a copy](CloneRequest#requests-that-cannot-be-copied), and of one for which the inner
//! service fails to become ready.
//!
//! # Differences from tower
//!
//! [`ExponentialRetry`] is a [`Policy`](tower::retry::Policy) for tower's own
//! [`Retry`](tower::retry::Retry). tower provides the loop and leaves the policy to the user. Of
//! its parts for a policy, the backoff draws the same "random" waits in all its clones and has no
//! jitter at its maximum. The budget truncates a ratio to whole requests per retry, and locks a
//! mutex for every request.
//!
//! # Examples
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
//!     .backoff(
//!         Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).jitter(Jitter::Equal),
//!     )
//!     .max_elapsed(Duration::from_secs(30))
//!     .budget(RetryBudget::builder(0.2).floor_per_second(5).build())
//!     .classify(|_: &u32, result: &Result<u16, std::io::Error>| match result {
//!         Ok(429) => Verdict::RetryAfter(Duration::from_secs(3)),
//!         Ok(500..=599) | Err(_) => Verdict::Retry,
//!         Ok(_) => Verdict::Done,
//!     })
//!     .on_decision(|decision| match decision.retry_in() {
//!         Ok(wait) => println!("attempt {} failed, retry in {wait:?}", decision.attempt()),
//!         Err(reason) => println!("attempt {} failed: {reason}", decision.attempt()),
//!     }); // or `on_decision_with`, which sees the request and the result, too
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
//! - [`AnyError`], the default, retries every error of every request, rejections by inner limits of
//!   this crate included, and no response: an HTTP client's 503 is a response. Specify the
//!   failures, and the requests that are safe to be sent twice, with
//!   [`classify`](ExponentialRetry::classify). There are classifiers for HTTP and gRPC.
//! - [`ByClone`], the default, requires requests that are `Clone`. Others need
//!   [`clone_with`](ExponentialRetry::clone_with), which may be `|_| None`.
//! - Waiting panics outside a tokio runtime with its timer enabled.
//! - Two retry layers in one stack multiply their attempts.
//! - Each budget has a floor of its own, by default 10 retries per second. Clients of one server
//!   should share one budget by its clones.
//! - Timers resolve one millisecond: shorter waits take one.
//! - A request for which [`clone_request`](CloneRequest::clone_request) returns `None` is told to
//!   no hook: tower asks the policy only about requests with a copy.
//! - A thread may keep the budget of its last policy in memory until it uses another policy or
//!   ends. This saves its next request the counting of references.
//! - A hint delays the request that received it. A [`PauseOnHintLayer`](crate::PauseOnHintLayer) on
//!   the client delays all requests.

mod backoff;
mod budget;
mod classify;
mod config;
mod decision;
mod error_type;
mod function;
pub mod future;
mod handle;
mod hook;
mod layer;
mod live_words;
mod observed;
mod policy;
mod request;
mod shared;
mod snapshot;
mod waits;

#[cfg(feature = "metrics")]
pub use self::observed::{RETRY_ATTEMPTS_BUCKETS, RETRY_BACKOFF_BUCKETS};
pub use self::{
    backoff::{Backoff, Jitter},
    budget::{RetryBudget, RetryBudgetBuilder},
    classify::{AnyError, ByClone, Classify, CloneRequest, Verdict},
    config::ExponentialRetry,
    decision::{Decision, StopReason},
    error_type::ErrorType,
    function::{RetryStatistics, retry},
    handle::ExponentialRetryHandle,
    hook::{DecisionHook, NoHook, OnDecision, SharedHook},
    layer::ExponentialRetryLayer,
    observed::{GiveUpCounts, Observed, Observer, RetrySettings, Unobserved},
    snapshot::{RetryBudgetSnapshot, RetrySnapshot},
    waits::Waits,
};
pub(crate) use self::{
    budget::{FLOOR_PER_SECOND, MAX_SAVED},
    config::MAX_HINT,
};
