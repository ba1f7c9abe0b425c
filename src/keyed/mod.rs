//! Limits that know the request: a quota for each key, such as a client, a tenant or a host.
//!
//! A [`Rule`] has a key and limits: requests that are issued in any span of a window, and requests
//! in flight. A [`KeyedLimitLayer`] has one rule or several, which are decided together: a request
//! that one of them rejects costs nothing in the others.
//!
//! ```
//! use std::time::Duration;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     Rejected,
//!     keyed::{KeyedLimitLayer, Rule},
//! };
//!
//! struct Order { customer: u64 }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let limit = KeyedLimitLayer::new((
//!     Rule::new("customer", |order: &Order| Some(order.customer))
//!         .at_most(2, Duration::from_secs(1))
//!         .at_most(1_000, Duration::from_secs(3600))
//!         .max_in_flight(2),
//!     Rule::global("all").at_most(5_000, Duration::from_secs(1)),
//! ));
//! let service = ServiceBuilder::new()
//!     .layer(limit)
//!     .service(service_fn(|order: Order| async move { Ok::<_, BoxError>(order.customer) }));
//!
//! for _ in 0..2 {
//!     service.clone().oneshot(Order { customer: 7 }).await?;
//! }
//! let error = service.clone().oneshot(Order { customer: 7 }).await.unwrap_err();
//! let rejected = Rejected::find(&*error).unwrap();
//! assert_eq!(rejected.rule().as_deref(), Some("customer"));
//! assert_eq!(rejected.retry_after_secs(), Some(2)); // a second and a fraction, rounded up
//!
//! service.oneshot(Order { customer: 8 }).await?; // another key has its own quota
//! # Ok(())
//! # }
//! ```
//!
//! # At the limit
//!
//! The request is rejected by the [reject policy](crate::reject) of the layer. The [`Rejected`]
//! tells the [rule](crate::Rejected::rule) and the time until there is room by all rules. The inner
//! service is ready by then and is not called. A permit that its readiness holds stays acquired
//! until the next call or the drop of the service, so a keyed limit belongs *outside* of limits
//! that acquire in `poll_ready`. With axum, the service is dropped at once.
//!
//! # Waiting
//!
//! With [`wait`](KeyedLimitLayer::wait), requests wait for their keys, as suits a client. Here a
//! crawler sends five requests per second to a host, and has two of them in flight:
//!
//! ```
//! use std::time::Duration;
//! use tokio::time::Instant;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     Rejected,
//!     keyed::{KeyedLimitLayer, Rule},
//! };
//!
//! struct Get { host: &'static str, path: u32 }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let per_host = Rule::new("host", |get: &Get| Some(get.host))
//!     .at_most(5, Duration::from_secs(1))
//!     .max_in_flight(2);
//! let limit = KeyedLimitLayer::new(per_host)
//!     .wait(Duration::from_secs(30))
//!     .max_queue_per_key(20);
//! let send = service_fn(|get: Get| async move {
//!     tokio::time::sleep(Duration::from_millis(10)).await; // sends it
//!     Ok::<_, BoxError>(get.path)
//! });
//! let client = ServiceBuilder::new().layer(limit.clone()).service(send);
//!
//! let start = Instant::now();
//! let pages = (0..20).map(|path| client.clone().oneshot(Get { host: "slow.example", path }));
//! let pages = tokio::spawn(futures::future::try_join_all(pages));
//! tokio::task::yield_now().await;
//! assert_eq!(limit.handle("host").queued(), 18);
//!
//! // Another host has limits of its own.
//! client.clone().oneshot(Get { host: "fast.example", path: 0 }).await?;
//! assert_eq!(start.elapsed(), Duration::from_millis(10));
//!
//! assert_eq!(pages.await??.len(), 20);
//! assert!(start.elapsed() > Duration::from_secs(3)); // five at once, and five after each second
//! # Ok(())
//! # }
//! ```
//!
//! - **Order.** Requests of a key are issued in the order in which their futures are first polled,
//!   and no newcomer overtakes one that waits. Requests of other keys pass.
//! - **Turns.** At a rule that several keys share, such as one for all requests or that of a
//!   tenant, the keys take turns, one request each. The key is that of the first rule that has one
//!   for the request. So a client behind another one with a thousand requests waits for one of
//!   them.
//! - **All or nothing.** A request that waits holds no permit of any rule. In its turn it acquires
//!   of all of them, or waits for the one that is in the way.
//! - **Rejections.** The queue of a key and the whole queue are
//!   [bounded](KeyedQueueLayer::max_queue_per_key). A request whose windows tell that it cannot be
//!   issued within `max_wait`, or by the deadline of a [`DeadlineLayer`](crate::DeadlineLayer), is
//!   rejected at once, with the time. One that waits for others in flight is rejected when
//!   `max_wait` has passed.
//! - **Readiness.** The inner service has to be `Clone`, and the service is always ready. A clone
//!   is driven ready by a request that has its permits. They are committed by its call, and
//!   refunded if it fails to become ready.
//!
//! A call that does not wait takes no lock and allocates nothing, also while others wait. A wait
//! needs a runtime of tokio with a timer. The bounds are per layer, and the queue is shared by all
//! layers that were made of one `KeyedLimitLayer`; one that rejects does not overtake it.
//!
//! # Keys
//!
//! A key is a function of the request, or a ready-made [`Key`]: the client's address, a header, a
//! bearer token, a path, a host. A pair of keys is a key. Requests [without a
//! key](Rule::without_key) share one quota, unless told otherwise.
//!
//! Keys are hashed with a random seed, and their values are not kept. Two keys with one hash share
//! a limit: among a million keys, there are two with a probability of 3 in 100 million.
//!
//! # Exactness
//!
//! At most N permits of a key are issued in *any* half-open span of a window, whatever its length
//! and N. They expire no earlier than a window after the issue, and a little later: the state of a
//! key counts them by about a twentieth of the quota and of the window. So under demand, a key is
//! issued at least 90 % of what an exact log would admit, for N from 10.
//!
//! - A burst of N that is repeated exactly every window finds a part of the last one unexpired. It
//!   is admitted in full if it comes a fortieth of a window later. One that takes longer than a
//!   hundredth of a window may expire in two parts.
//! - Quotas up to 23 count single requests.
//! - Of other quotas, requests that do not fill a unit expire with it. A key that was hardly used
//!   before a burst may wait for its first permit up to a window longer than with an exact log, for
//!   these few requests.
//!
//! # A full table
//!
//! A key takes a *slot* while one of its permits is held: for a window after a request, or while a
//! request is in flight. [`max_keys`](Rule::max_keys) bounds the slots, and their memory is
//! allocated when the layer is made. A slot of a key without permits is reused, since the key would
//! begin anew anyway. There is no task and no sweep.
//!
//! While all slots that a new key may have are held, it shares an *overflow* with the others of its
//! part of the table: together, they have the quota of one key. So a flood of invented keys slows
//! new clients, and it resets no key that has a slot. [`reject_when_full`](Rule::reject_when_full)
//! rejects new keys instead.
//!
//! A key leaves the overflow with its next request once a slot is free, and takes what is used with
//! it. It stays while a request of the overflow is in flight, is about to be issued, or waits,
//! since that request would count in one of the two only.
//!
//! # Pauses
//!
//! A key can be *paused* until a time. Meanwhile all of its requests are rejected as
//! [paused](crate::Rejected::is_paused), with the time until the end. Requests that
//! [wait](#waiting) wait for the end as for room, and are rejected at once if it comes too late for
//! them. Other keys are not delayed.
//!
//! | wish | by |
//! | --- | --- |
//! | block a client for a time | [`pause_for`](RuleHandle::pause_for), [`pause_until`](RuleHandle::pause_until) of the handle |
//! | unblock it | [`resume`](RuleHandle::resume) |
//! | block clients that exceed their quota, or fail too often | [`penalty`](Rule::penalty) of the rule |
//! | hold back the requests for a host that responds with 429 | [`pause_on_hint`](KeyedLimitLayer::pause_on_hint) |
//!
//! The hint of a response pauses the key of its request, and no other. `HttpHints` of the feature
//! `client` reads `Retry-After` and its like in the place of the closure:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::keyed::{KeyedLimitLayer, Rule};
//!
//! struct Get { host: &'static str, status: u16 }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let per_host =
//!     Rule::new("host", |get: &Get| Some(get.host)).at_most(5, Duration::from_secs(1));
//! let limit = KeyedLimitLayer::new(per_host).wait(Duration::from_secs(30));
//! let hosts = limit.handle("host");
//! let hint = |response: &Result<u16, Infallible>| match response {
//!     Ok(429) => Some(Duration::from_secs(20)),
//!     _ => None,
//! };
//! let client = ServiceBuilder::new()
//!     .layer(limit.clone())
//!     .layer(limit.pause_on_hint("host", hint)) // inside, next to the client
//!     .service(service_fn(|get: Get| async move { Ok(get.status) }));
//!
//! client.clone().oneshot(Get { host: "busy.example", status: 429 }).await?;
//! client.oneshot(Get { host: "other.example", status: 200 }).await?;
//! assert_eq!(hosts.time_until_room("busy.example"), Some(Duration::from_secs(20)));
//! assert_eq!(hosts.time_until_room("other.example"), None);
//! # Ok(())
//! # }
//! ```
//!
//! - A pause moves only forward. Requests that were admitted before it are not held back.
//! - A paused key has a slot until its pause ends. If all slots that it may have are held by other
//!   keys, the handle returns [`TableFull`], and no key is paused: never an
//!   [overflow](#a-full-table), which other keys share.
//! - The first pause of a rule allocates the ends of the pauses of all keys, 10 bytes for each. A
//!   pause takes no lock, and a key that is not paused costs no more than before.
//!
//! # Costs and plans
//!
//! | wish | by |
//! | --- | --- |
//! | some requests cost more | [`cost`](Rule::cost) |
//! | the cost is known with the response | [`settle`](Rule::settle): a surplus is refunded, an excess owed |
//! | only failures count, as for a login | [`failures_only`](Rule::failures_only) |
//! | a client that exceeds its quota is blocked for a time | [`penalty`](Rule::penalty) |
//! | quotas by plan | [`plans`](Rule::plans) |
//! | some requests are free | [`exempt`](Rule::exempt) |
//! | first a look at what a limit would do | [`dry_run`](Rule::dry_run) |
//! | limits of a file | [`RuleConfig`](crate::config::RuleConfig) |
//!
//! # Servers of HTTP
//!
//! With the feature `server`, [`http_rejection`](crate::server::http_rejection()) responds with 429
//! and `Retry-After`, [`rate_limit_headers`](KeyedLimitLayer::rate_limit_headers) makes a layer
//! that tells each client what is left to its keys, and
//! [`until_body_ends`](KeyedLimitLayer::until_body_ends) counts requests in flight until their
//! bodies have ended, also of a [layer that waits](KeyedQueueLayer::until_body_ends).
//!
//! # Observation
//!
//! [`KeyedLimitLayer::handle`] returns a [`RuleHandle`], which reads keys and forgets them.
//! Rejections are counted by reason. [`count_admitted`](Rule::count_admitted) counts admitted
//! requests, too, and [`track_top`](Rule::track_top) lists the keys that are rejected most. A set
//! of limits takes handles of rules, for metrics, traces and a page: see [rules of keyed
//! limits](crate::observe#rules-of-keyed-limits).
//!
//! # Memory ordering
//!
//! The release of a permit or of a request in flight happens before the next acquisition that it
//! makes possible.
//!
//! # Caveats
//!
//! - The table is of one process. With several, each has the quota. A quota of each key over all
//!   processes is a [shared](crate::shared#a-quota-for-each-key) one.
//! - While several rules are decided, a request may be rejected for permits of another one that are
//!   refunded a moment later.
//! - The name of a rule stays in memory to the end of the process.
//! - After a number of windows without a request, to within a window, a key finds the permits of
//!   its last window counted once more. The number is fixed, between 6,000 and 17,000. If the
//!   system suspends one thread for as long inside of a decision, it may admit too many.
//!
//! # Source
//!
//! The log of a key is a sliding log with the resolution of a fraction of the window, written in
//! unary: a one for a unit of permits, a zero for the end of a step. The table is a set-associative
//! cache with two sets for a key (the power of two choices, M. Mitzenmacher, 1996) that evicts only
//! keys without state.
//!
//! [`Rejected`]: crate::Rejected

mod future;
mod handle;
mod key;
#[cfg(any(feature = "client", feature = "server"))]
mod keys;
mod lanes;
mod layer;
mod observed;
mod pause_on_hint;
pub(crate) mod rule;
mod service;
mod shared;
#[cfg(feature = "server")]
mod standing;
mod states;
pub(crate) mod table;
#[cfg(test)]
mod table_tests;
mod waiting;

// The models have another one.
use crate::time::Clock;

#[cfg(feature = "axum")]
pub use self::keys::MatchedPath;
#[cfg(any(feature = "client", feature = "server"))]
pub use self::keys::{BearerToken, Extension, Header, Host, Path};
#[cfg(feature = "server")]
pub use self::keys::{ClientIp, PeerAddr};
pub(crate) use self::waiting::{MAX_QUEUE, MAX_QUEUE_PER_KEY};
pub use self::{
    future::ResponseFuture,
    handle::{RuleHandle, TableFull},
    key::{Everyone, Key},
    layer::KeyedLimitLayer,
    observed::{PlanSnapshot, RuleRejectedCounts, RuleSnapshot, TopKey},
    pause_on_hint::{HintFuture, PauseKeyOnHint, PauseKeyOnHintLayer},
    rule::{
        AtCall, ByResponse, FailuresOnly, IntoRules, OnePermit, Plan, ReadTerms, Rule, RuleList,
        Rules, Settle, SettleRules, Terms, WithCost, WithExemption, WithPlan, WithPlanName,
        WithoutKey,
    },
    service::KeyedLimit,
    waiting::{KeyedQueue, KeyedQueueLayer, QueueFuture},
};
#[cfg(feature = "server")]
pub(crate) use self::{
    shared::{InFlight, Shared},
    standing::{Standing, report_standings},
    states::States,
};
