//! A quota that many processes share, through a store such as Redis.
//!
//! At most N requests are issued in any span of W, by all processes that name the same quota of the
//! same store together. A process obtains permits in advance, as a **lease**: a number of permits,
//! valid for a small part of the window. A call takes a permit of the lease by one atomic step, and
//! each process asks the store 5 to 100 times in a window, not once for each call.
//!
//! The store is a [`Store`]: the crate `tower-floodgate-redis` has one for Redis and Valkey.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{WindowRateLimitLayer, shared::{Away, SharedWindow}};
//!
//! # use tower_floodgate::shared::{Store, StoreError};
//! # struct MyStore;
//! # impl MyStore { fn connect() -> Self { Self } }
//! # impl Store for MyStore {
//! #     async fn acquire(&self, _: &str, numbers: &[i64]) -> Result<Vec<i64>, StoreError> {
//! #         let (window, length) = (numbers[2], numbers[3]);
//! #         Ok(vec![1_000_000, 1_000_000, 1, 999, 0, 0, 0, 1, 1_000_000 + window + length])
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let store = MyStore::connect(); // `RedisStore::new(connection)`
//! let quota = SharedWindow::new(store, "search", 1000, Duration::from_secs(1), Away::Closed);
//! let service = ServiceBuilder::new()
//!     .layer(WindowRateLimitLayer::shared(quota).max_wait(Duration::from_secs(5)))
//!     .service_fn(|n: u32| async move { Ok::<_, Infallible>(n) });
//! assert_eq!(service.oneshot(1).await?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # At the limit
//!
//! A request that finds no permit at hand waits in the queue of its process, first come, first
//! served. The driver of the process, a task, asks the store for the permits of all that wait, with
//! one request in flight at a time. If no permit is free, the store leases the next ones that
//! expire: they begin in the future, so that nothing polls. A request that a lease covers learns
//! from the reply when its permit comes; any other one learns the earliest time of the next permit.
//! It is rejected at once if that is later than its `max_wait`, and otherwise when `max_wait` has
//! passed. The time of a rejection is the earliest one, too, unless another process gives permits
//! back: so a reply is believed for a 16th of a window. The first request after that asks again,
//! before it is rejected.
//!
//! By default, a request waits up to 30 s, and up to 10,000 wait in a process. With
//! [`max_wait`](SharedRateLimitLayer::max_wait) of zero, a request waits for one reply of the store
//! at most.
//!
//! A drop of the response future leaves the queue. A permit that it holds goes to the next request,
//! or back to the store with the next request to it. If requests wait for a full quota, that one is
//! sent at once, but one per length of a lease at most. A drop after the call returns nothing. A
//! process that ends or dies costs the others the permits that it held, for up to 1.4 windows.
//!
//! # Admission in the call
//!
//! A permit of a local window stays valid however long a service is ready. A leased permit lapses:
//! so a service with a shared limit is always ready, and its response future acquires a permit,
//! drives a clone of the inner service ready, and calls it. If the permit has lapsed meanwhile, the
//! request queues again, in front of all, and the clone stays ready.
//!
//! # Why the limit holds
//!
//! A lease of `k` permits from `T` to `T + L` counts against N in the store until its *mark*, which
//! is no earlier than `T + L + W`. The store leases only what is left of N.
//!
//! Take any span `[a, a + W)`, and the leases of which a permit was issued in it. Let `j` be the
//! one that the store made last. Any other one, `i`, was used at `a` or later, so `T_i + L_i >= a`,
//! and its mark is `a + W` or later. Lease `j` was used before `a + W`, so `T_j < a + W`. Hence all
//! the others still counted at `T_j` when the store made `j`, and together they are at most N.
//!
//! The order, delay and loss of messages do not matter: a reply that is lost is a lease that is
//! never used. A request to the store is never repeated, because a refund in it would count twice.
//!
//! **Clocks.** Clocks are not compared. A process takes the time `sent` before it sends a request,
//! and `recv` after the reply, and uses a lease that begins `d` after the store's time from `recv +
//! d` to `sent + d + L`: never too early, and never too late. Clocks whose rates are within 500 ppm
//! of real time are allowed for by a longer window in the store, by `W / 512`.
//!
//! **The issue counts.** The deadline of a permit is compared with the time right before the call,
//! and once more right after it. If a permit at hand is valid for another millisecond, and the
//! inner service is ready at once, the clock is not read again before the call. A network may bring
//! requests that were issued in two windows together to a server at once. For a server that counts
//! arrivals strictly, state a limit with a margin.
//!
//! # Assumptions, and the limit without them
//!
//! | assumption | if it fails |
//! | --- | --- |
//! | the store keeps its state | at most 2 N in one window, once for each loss; [`strict`](SharedWindow::strict): N |
//! | one store decides | with two primaries, 2 N until the old one is fenced |
//! | clocks run within 500 ppm of real time | N in any span that is shorter than W by the excess; in W itself up to 2 N, if all of N was issued in a burst |
//! | the store's clock is not set forward | noticed by each process that has asked within two windows: it asks for nothing for 1.4 windows, and the limit holds. A step below a round trip is not seen, and shortens the window by itself. A process that has not asked for longer: at most 2 N, once |
//! | it is not set back | the time continues from the latest one: N |
//! | a process runs when its call is due | a thread that is preempted between its last look at the deadline and the call issues late: counted as [`issued_late`](FleetCounts::issued_late), and the store is told |
//! | the clock of a process runs while its machine is suspended | N, and the permits that suspended machines held, once |
//! | all processes state the same N and W | the store leases to each process the rest of its own N: together up to the largest; with a shorter W, permits are leased again after that one, once those of the longer W count no more. Counted as [`other_terms`](FleetCounts::other_terms) |
//!
//! A process that is stopped while its clock runs issues nothing on leases that have lapsed. A
//! machine that is suspended with its clock may issue the permits that it holds once it resumes. At
//! its next reply it sees the store's clock set forward, and pauses itself for 1.4 windows.
//!
//! **Lost state** is noticed by each process at its next request: the reply has another *epoch*, or
//! a smaller total of permits than the process has seen. The process tells the permits of its own
//! that may still count, and they count again. Permits of processes that have not asked since are
//! missing. An eviction of the key is a loss, too, so give the store a server of its own, or a
//! policy without eviction.
//!
//! # While the store is away
//!
//! [`Away`] is chosen, and has no default: requests wait and are rejected as
//! [unavailable](crate::Rejected::is_unavailable), are issued without a limit, or pass a limit of
//! this process alone. A timeout is never an admission. No call waits for longer than its
//! `max_wait` and the [timeout](SharedWindow::request_timeout) of one request to the store. The
//! driver probes the store by itself, one request at a time.
//!
//! # The price
//!
//! - A share of N is not used, about `L / W`: 1 to 2 % with a window of a second. Leases are as
//!   short as the round trip and timers allow: `L` is the greatest of `W / 128`, four round trips,
//!   and 3 ms, and `W / 16` while permits are plenty. With a window of 100 ms, up to a tenth is
//!   lost. With round trips above an eighth of the window, every lease lapses before it arrives,
//!   and no request is issued; the store does not count as away, and only `lapsed` shows it. Choose
//!   a window of at least 32 round trips.
//! - Near the limit, a call waits for one to two round trips: permits are taken in advance only
//!   while more than half of N is free.
//! - A process that takes all it can get empties the window in a burst, and the others wait for the
//!   next permits that expire, a 64th of N for each in turn. With
//!   [`max_share`](SharedWindow::max_share) on the greedy process, the rest is free at any time.
//!
//! # Fairness
//!
//! One lease takes at most half of the free permits, or a 64th of N. Permits that expire later are
//! leased in the order of the requests to the store, a 64th of N for each. So processes that ask
//! for more than there is take turns.
//!
//! # A quota for each key
//!
//! With the feature `shared-keys`, `KeyedLimitLayer::shared` limits each key of the requests, such
//! as a tenant, by a quota of its own. The keys are those of [`keyed`](crate::keyed). Each has its
//! pool of permits in this process, and its state in the store. Parts of the keys share a driver,
//! which has one request of each key in flight at a time.
//!
//! If one key fails, as after the loss of a node of a cluster, only its own store is away. If
//! several fail in turn, and none has a good reply, the store is taken to be gone: one probe at a
//! time is sent for all keys of a driver, and the requests of up to four keys that have not failed.
//!
//! A call finds the limit of its key under a read lock; a new key takes the lock for writing.
//!
//! # Not offered
//!
//! A shared limit is for requests of a service: there are no permits of a handle and no costs.
//! Several windows are several layers, the shortest one innermost. Quotas of keys have one window,
//! and neither `max_share` nor `strict`. A pause, as after a 429, is that of one process.
//!
//! # Concurrency
//!
//! A limit of requests in flight over many machines is not offered. It would need holders with
//! heartbeats, and be exact only if the work stops when a holder is declared dead. A layer can
//! drop the future of a response, and not the work at the server. Give each process a
//! [`ConcurrencyBackpressure`](crate::backpressure) of its own: the limit of the fleet, divided by
//! the number of processes.
//!
//! # Runtime
//!
//! The first request that finds no permit spawns the driver, in the tokio runtime of that request,
//! which needs its timer. The driver ends when no request waits and no lease is held. If its
//! runtime shuts down, the waiters of other runtimes spawn another. A runtime that is kept and not
//! driven, such as a `current_thread` one outside of its `block_on`, holds up the waiters of
//! others: call a shared limit first in a runtime that runs.

mod admission;
mod agent;
mod away;
mod driver;
mod future;
mod gate;
mod group;
mod handle;
#[cfg(feature = "shared-keys")]
mod keyed;
mod layer;
mod limiter;
mod observed;
mod pool;
#[cfg(test)]
mod pool_tests;
pub(crate) mod quota;
mod service;
mod snapshot;
mod store;
mod wire;
#[cfg(test)]
mod wire_tests;

#[cfg(feature = "shared-keys")]
pub use self::keyed::{
    SharedKeyedLimit, SharedKeyedLimitLayer, SharedKeysHandle, SharedKeysSnapshot, SharedWindows,
};
pub(crate) use self::layer::{MAX_QUEUE, MAX_WAIT};
pub use self::{
    away::Away,
    future::ResponseFuture,
    handle::SharedRateLimitHandle,
    layer::SharedRateLimitLayer,
    quota::SharedWindow,
    service::SharedRateLimit,
    snapshot::{FleetCounts, SharedSnapshot},
    store::{Store, StoreError},
};
