//! A bound on the requests in flight, and on the queue of waiters.
//!
//! # At the limit
//!
//! `poll_ready` acquires a permit if one is free and no request waits. Otherwise it joins the wait
//! queue. A task that drives the service thus slows down to the rate at which permits are released:
//! that is the backpressure.
//!
//! | built with | a request at the limit |
//! | --- | --- |
//! | `new(n)` | waits, however many requests wait already |
//! | `.max_queue(m)` | waits, or is rejected as *queue full* if `m` requests wait already; with `max_queue(0)`, no request waits |
//! | `.max_wait(d)` | waits, and is rejected as *wait timeout* after `d`, or at once if its wait is [known to be longer](#predicted-waits) |
//! | both | waits, or is rejected for either reason |
//! | `.by_request(f)`, `.with_terms()` | the same, or is rejected as *too late* by its [deadline](#deadlines), or sooner as *queue full* by its [class](#classes) |
//!
//! # Predicted waits
//!
//! With `max_wait` or deadlines, the limit measures its pace: the grants per second to queued
//! waiters, over the last 120 to 128 of them. A request with `n` waiters before it is expected to
//! wait for `n + 1` grants at this pace.
//!
//! - **`max_wait`** rejects a request at once if its expected wait is longer, with the time after
//!   which it would not be. It rejects each waiter after `max_wait` at the latest.
//! - **The first waiter is never rejected by prediction.** Its turn tells the pace again.
//! - **Without a measured pace, no request is**: while there are fewer than 8 grants since the
//!   queue was empty. Grants of a raised limit come all at once, and do not count.
//!
//! # Deadlines
//!
//! A request whose response would come too late wastes its permit, and lets those behind it come
//! too late as well. At twice the capacity, a queue that only skips expired requests serves one in
//! seven in time, because each of the others is served *just* too late. A limit that knows the
//! deadlines serves nearly as many in time as it can serve at all.
//!
//! A request that cannot be **done** in time is rejected as *too late*, at one of two times:
//!
//! | time | rejected if | the rejection has |
//! | --- | --- | --- |
//! | arrival, no permit free | its expected wait and the time in service are longer than the time left | the time after which it would fit, if nothing else arrives; none if the time in service alone is too long |
//! | its turn | the time in service is longer than the time left | no time; the permit goes to the next waiter |
//!
//! The time in service is the 95th percentile of the last 128, from the call to the response, of
//! requests with a deadline; zero with fewer than 16. A body that keeps its permit [until it
//! ends](crate::server::until_body_ends) (feature `server`) does not count: a slow reader is no
//! slow service.
//!
//! A request that finds a free permit is admitted unless its deadline has passed. So a service that
//! has become slower than all deadlines is still measured, and used again once it is fast. A
//! request whose deadline passes before the inner service is called is rejected, also while that is
//! not ready, and its permit is released. One in service goes on: to end it, put a
//! [`DeadlineLayer`](crate::DeadlineLayer) outermost, whose deadline the limit then knows, too.
//!
//! ```
//! use std::time::Duration;
//! use futures::future::join_all;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected, backpressure::Terms};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! // Requests are the times for which their callers wait. Each takes a second.
//! let layer = ConcurrencyBackpressureLayer::new(1)
//!     .by_request(|seconds: &u64| Terms::new().deadline(Duration::from_secs(*seconds)));
//! let mut service = layer.layer(service_fn(|seconds: u64| async move {
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     Ok::<_, std::io::Error>(seconds)
//! }));
//!
//! // One is in service, and 29 wait. After 20 s, 9 wait, and the pace is known.
//! let patient = tokio::spawn(join_all((0..30).map(|_| service.call(60))));
//! tokio::time::sleep(Duration::from_millis(20_001)).await;
//! assert_eq!(layer.handle().queued(), 9);
//!
//! let error = service.call(5).await.unwrap_err(); // at once
//! let rejected = Rejected::find(&*error).unwrap();
//! assert!(rejected.is_too_late());
//! assert_eq!(rejected.retry_after(), Some(Duration::from_secs(10 + 1 - 5)));
//! assert!(patient.await?.iter().all(Result::is_ok));
//! # Ok(())
//! # }
//! ```
//!
//! Sources of deadlines: `GrpcTimeout` (feature `grpc`), `HeaderTimeout` (features `client`,
//! `server`) and other readers of a [`DeadlineLayer`](crate::DeadlineLayer), whose result
//! [`Terms::deadline`] takes as it is; any function of the request; and the [current
//! deadline](crate::deadline::current), which is one of each request without being named. A header
//! that cannot be read makes no deadline.
//!
//! # Classes
//!
//! Requests of several [classes](Class) share one queue, first come, first served. A class may join
//! the queue while that is shorter than its share of `max_queue`: the whole of it for critical
//! requests, a half for normal ones, a quarter for sheddable ones, by default. No waiter is
//! overtaken. With deadlines, the wait by which a class is judged is that of its share, too: a
//! sheddable request is rejected unless four times its expected wait would fit. So classes differ
//! also where the queue is never long, or has no bound. A free permit admits a request of any
//! class.
//!
//! At twice the capacity, with a fifth critical, three tenths normal and a half sheddable requests,
//! all critical and nine of ten normal requests are served in time, and sheddable ones have the
//! rest. A class is served nearly in full while it fits into the capacity with the more critical
//! ones, with a tenth to spare. [`shares`](ByRequestLayer::shares) sets other shares. Take the
//! class from a trusted source: a client that names its own is always critical.
//!
//! # Two ways to tell terms
//!
//! | | [`by_request`](ConcurrencyBackpressureLayer::by_request) | [`with_terms`](ConcurrencyBackpressureLayer::with_terms) |
//! | --- | --- | --- |
//! | use | servers | clients, workers with a queue |
//! | terms | are read from the request | are [set](TermsBackpressure::terms) on a clone of the service before it is ready |
//! | a request waits | in its call; the service is always ready | in `poll_ready`, which holds the caller back |
//! | the inner service | is cloned for each request | is that of the clone |
//!
//! Layers of both kinds and plain ones may share a limit: `layer.clone().by_request(f)` and
//! `layer` admit to the same permits, in one queue. Put the limit inside a retry, so that each
//! attempt is judged and measured by itself.
//!
//! # Permits
//!
//! A permit is acquired when the service becomes **ready**, and held until the response future
//! **has completed or is dropped**. A clone that is ready and never called holds a permit, and
//! releases it when it is dropped. A clone that waits leaves the queue when it is dropped. A panic
//! of the inner service releases the permit.
//!
//! Waiters are granted permits in the order of their arrival, and a newcomer never overtakes. A
//! released permit is granted to the head of the queue, which is woken once. The grant is final: if
//! the task of that waiter is not polled again, this one permit is missing, and the others serve
//! all other requests. It is missing until the clone is polled or dropped or, with a `max_wait`,
//! until it is taken back, [from 100 ms after its end](#between-polls).
//!
//! # Between polls
//!
//! Any time may pass between two polls of a service, and between the last poll and the call:
//! `Steer`, `Balance`, `select!`, a timeout around `ready()`, a cancelled message of a `Buffer`. A
//! wait does not outlive its request, and a rejection is made at the moment of `call`. A service
//! that was polled is in one of these states:
//!
//! | state | the next `poll_ready` | `call` |
//! | --- | --- | --- |
//! | waiting, before the end of its `max_wait` | waits on | panics |
//! | waiting, up to 100 ms later | acquires a permit that is free, or is ready to be rejected | panics |
//! | waiting, later than that | begins anew, as a request of its own | panics |
//! | ready, with a permit | is ready | passes the request on |
//! | ready, to be rejected | acquires a permit that is free by then, or is ready; begins anew after 100 ms | rejects, unless a permit is free by then |
//!
//! A wait with a `max_wait` leaves the queue when that ends, polled or not, and is no longer
//! counted. A permit that was granted to it before then is taken back 100 ms later, unless the
//! service is polled: the next arrival, release, reading or end of a wait grants it to the next
//! waiter. The limit has no timer of its own.
//!
//! If another task polls a service that waits, the request is taken for a new one: its `max_wait`
//! begins at that poll, and it keeps the position in the queue. If the same task polls it, an
//! abandoned wait cannot be told from one that goes on, so the deadline stays. A request that
//! resumes an abandoned wait early therefore has only the rest of its `max_wait`. Neither happens
//! with a clone for each request.
//!
//! [Terms](#two-ways-to-tell-terms) stay until a call, or until others are
//! [set](TermsBackpressure::terms). If another task polls a service that waits on terms, they are
//! dropped, and a wait with a deadline is left: the request of that task begins anew, behind the
//! others. A wait that has ended as *too late* does not begin anew, however late it is polled: the
//! service is ready, and its call rejects the request, though a permit may be free by then.
//!
//! A rejection is made and counted by the call. If a permit is free by then, the call polls the
//! inner service once, and passes the request on if that is ready.
//!
//! # Permits without a request
//!
//! Work that is no request of a service counts, too, if it acquires a permit by the handle: a
//! WebSocket that stays open, a job from a queue, a script.
//! [`acquire`](ConcurrencyBackpressureHandle::acquire) waits in the same queue as the requests, and
//! [`try_acquire`](ConcurrencyBackpressureHandle::try_acquire) never waits. The drop of the
//! [`ConcurrencyPermit`] releases it. [`acquire_many`](ConcurrencyBackpressureHandle::acquire_many)
//! acquires several permits at once, for work that weighs more than a request. While such a waiter
//! is first in the queue, released permits are kept for it, and those behind it wait.
//!
//! | | a request of a service | a permit of a handle |
//! | --- | --- | --- |
//! | counts as in flight | from readiness to the end of its response | from its acquisition to its drop |
//! | waits | in order of arrival | in the same queue |
//! | `max_queue`, `max_wait` | those of its layer apply | those of the layer or the service that the handle was taken from apply |
//! | the limit is closed | is rejected | is rejected, also without a reject policy |
//! | the future is dropped | leaves the queue, or releases the permit | the same |
//!
//! A task that holds a permit of a handle and waits for another of the same limit, or for a request
//! at it, can block itself and others for good, as [one layer twice on a
//! request](#one-layer-twice-on-a-request) does. Debug builds do not report it. Acquire all permits
//! at once, or by `try_acquire`.
//!
//! # One layer twice on a request
//!
//! A layer has one limit, on however many services it is put. Clones of a layer share it:
//! `layer.clone().max_queue(0)` has another bound and the same limit. A request that passes two
//! services of one layer acquires two permits of that limit: on an axum `Router` and on a route of
//! it, twice in one `ServiceBuilder`, on a server and on a client that its handler calls. Once such
//! requests hold all permits at the outer service, each of them waits at the inner one for a permit
//! of another. **Then none proceeds, for good**, unless `max_queue` or `max_wait` rejects the
//! second.
//!
//! Put the layer on once, create a second layer with `new`, or create a limit for each service with
//! [`per_service`](ConcurrencyBackpressureLayer::per_service). Debug builds report such a request
//! on standard error, once per limit. A second permit that is acquired in another task, which the
//! request waits for, is not reported.
//!
//! # Changing at run time
//!
//! | the handle changes | requests that come | requests that wait |
//! | --- | --- | --- |
//! | [`set_limit`](ConcurrencyBackpressureHandle::set_limit) | are admitted by it | are granted permits by it, in their order |
//! | [`set_max_queue`](ConcurrencyBackpressureHandle::set_max_queue) | are rejected by it | stay in the queue |
//! | [`set_max_wait`](ConcurrencyBackpressureHandle::set_max_wait) | are rejected by it | keep their deadlines |
//!
//! A bound that a handle sets is that of the limit. It replaces those of all its layers, and is an
//! error if a service of the limit cannot reject.
//! [`ConcurrencyConfig`](crate::config::ConcurrencyConfig) changes all of them in one step.
//!
//! # Limits that find themselves
//!
//! A fixed limit is a guess, which is wrong after the next deploy. In its place,
//! [`adaptive`](ConcurrencyBackpressureLayer::adaptive) searches for the *knee* of the server: the
//! smallest number of requests in flight at which the server reaches its full
//! throughput. Below it, one more request in flight is served at once. Above it, one more waits at
//! the server, and all are slower. So the search compares two neighbouring limits in turns, and
//! asks whether the time in service grows with them.
//!
//! A request is measured if it takes the last permit. While the limit is not reached, there is
//! nothing to learn, and nothing moves. The time in service runs from the call to the end of the
//! response future, even where the permit is held until the body ends.
//!
//! | a request that took the last permit | effect |
//! | --- | --- |
//! | is [served](Outcome::Served): by default, its result is `Ok` | its time counts |
//! | is [ignored](Outcome::Ignored): by default, its result is `Err`, or a panic | none |
//! | is rejected by an [overloaded](Outcome::Overload) server | counts against the limit |
//! | is abandoned: its response future is dropped unfinished, after more than the time in which most are served | counts against the limit |
//! | is abandoned sooner: it had too little time left after the queue | has used its permit in vain, and does not lower the limit as such; if none is served, the limit rises |
//!
//! [`Adaptive`] has the settings; none is needed. A [`Judge`] tells what a result means, and the
//! classifiers of HTTP and gRPC are judges. The handle shows the limit, the
//! [elasticity](ConcurrencyBackpressureHandle::elasticity) and the number of
//! [rounds](ConcurrencyBackpressureHandle::rounds). It pins the limit by
//! [`hold`](ConcurrencyBackpressureHandle::hold), and lets it go on by
//! [`adapt`](ConcurrencyBackpressureHandle::adapt).
//!
//! The layer belongs inside a retry, so that each attempt is measured alone, and inside a rate
//! limit, whose wait would be time in service otherwise. It needs thousands of requests *at the
//! limit* to find its way: below some 40 a second, it lags behind. `docs/adaptive.md` in the
//! repository says for which servers it suits, with figures.
//!
//! # Shutting down
//!
//! [`close`](ConcurrencyBackpressureHandle::close) rejects waiters and newcomers,
//! [`closed`](ConcurrencyBackpressureHandle::closed) completes then, and
//! [`drained`](ConcurrencyBackpressureHandle::drained) when the last request has ended. A stream
//! that [holds its permit](crate::server::until_body_ends) is waited for as well: `drained()` waits
//! for streams, and `closed().await` lets a stream end itself.
//!
//! # Memory ordering
//!
//! The release of a permit *happens before* the next acquisition of that permit, with or without a
//! wait in between, in the sense of the C++ and Rust memory model. All that a request did before
//! its permit was released is visible to the request that acquires the permit next, as with a
//! semaphore. Every release happens before the completion of a
//! [`drained()`](ConcurrencyBackpressureHandle::drained) that waited for it. Permits that are added
//! by raising the limit order nothing.
//!
//! # Differences from tower
//!
//! tower's `ConcurrencyLimitLayer` creates a limit for every service that it is put on, unlike its
//! `GlobalConcurrencyLimitLayer`. Its queue has no bound, and shedding is left to `LoadShed`, which
//! rejects whenever an inner service is not ready. tower's limits take a mutex at every release.
//! This layer takes one only while requests wait or `drained()` is pending.
//!
//! # Examples
//!
//! ```
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::ConcurrencyBackpressureLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::io::Error> {
//! let service = ServiceBuilder::new()
//!     .layer(ConcurrencyBackpressureLayer::new(5))
//!     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
//! assert_eq!(service.oneshot(1).await?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! With bounds, and a graceful shutdown:
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let layer = ConcurrencyBackpressureLayer::new(100)
//!     .max_queue(50)
//!     .max_wait(Duration::from_secs(2));
//! let handle = layer.handle();
//! let mut service = layer.layer(service_fn(|n: u32| async move {
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     Ok::<_, std::io::Error>(n)
//! }));
//!
//! let running = tokio::spawn(service.ready().await?.call(1));
//! handle.close()?; // an error if a service of this limit could not reject
//! let error = service.ready().await?.call(2).await.unwrap_err();
//! assert!(Rejected::find(&*error).is_some_and(Rejected::is_closed));
//!
//! handle.drained().await; // no request is in flight any more
//! assert!(running.await?.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Caveats
//!
//! - A service that one task drives (`ready().await`, then `call`) has at most one request in the
//!   queue, its own. Queues form where many clones are driven.
//! - The permit is released when the response *future* ends. A body that is streamed after that is
//!   not counted, unless the layer holds the permit [until the body
//!   ends](crate::server::until_body_ends) (feature `server`).
//! - tower's `TimeoutLayer` around the limit does not bound the time in the queue: it starts at
//!   `call`, and a request waits in `poll_ready`.
//!   [`max_wait`](ConcurrencyBackpressureLayer::max_wait) does.
//! - tower's `Balance` takes an endpoint that is ready to reject for one with room. A full endpoint
//!   with `max_queue(0)` rejects at once, so its load looks low, and `Balance` prefers it. Without
//!   a bound, a full endpoint is pending, and `Balance` chooses another. Put the bound on a layer
//!   in front of the `Balance`.
//! - The queue keeps the memory of its greatest length: 48 bytes for each waiter, 20 more with a
//!   `max_wait` or a deadline, and 8 more with a deadline.
//! - A prediction rejects some requests that would have been in time, at most when all deadlines
//!   are equal and the queue stands just at the edge. It costs nothing while the permits are in
//!   use. With few permits, and times in service that differ by a factor of a hundred, an expected
//!   wait may be wrong by a factor of two.
//! - A time in service that most deadlines hardly allow leaves permits unused: all waiters are
//!   passed over, and the permit waits for an arrival.
//! - A thread may keep the limit that it used last in memory until it uses another or ends. This
//!   saves the next call the counting of references.
//! - No request overtakes another, whatever its class or deadline, and each request of a service
//!   acquires one permit. A task that needs several acquires them [by the
//!   handle](#permits-without-a-request).

mod adaptive;
mod arrival;
mod handle;
mod knee;
mod layer;
mod limiter;
mod pace;
mod permit;
mod reserve;
mod service_times;
mod snapshot;
mod terms;

use self::limiter::ConcurrencyLimiter;
pub use self::{
    adaptive::{Adaptive, AdaptiveSnapshot, Judged},
    handle::ConcurrencyBackpressureHandle,
    layer::ConcurrencyBackpressureLayer,
    permit::{Acquire, AcquireMany, ConcurrencyPermit},
    snapshot::ConcurrencySnapshot,
    terms::{
        ByRequest, ByRequestFuture, ByRequestLayer, Class, ReadTerms, Terms, TermsBackpressure,
        TermsLayer,
    },
};
pub use crate::{
    judge::{Judge, Outcome, ServedIfOk},
    limiter::{AcquireManyError, BoundError, CloseError, Closed, Drained, RejectedByClass},
};
use crate::{
    middleware::{self, Limited},
    reject::NeverReject,
};

/// A service with a bound on the requests in flight. See the [module](crate::backpressure).
pub type ConcurrencyBackpressure<S, P = NeverReject> = Limited<S, ConcurrencyLimiter, P>;

/// The future of [`ConcurrencyBackpressure`].
pub type ResponseFuture<F, P> = middleware::ResponseFuture<F, ConcurrencyLimiter, P>;

#[cfg(feature = "server")]
pub(crate) use self::terms::{Measured, TermsLimiter};

/// A permit of a request in flight.
#[cfg(feature = "server")]
pub(crate) type InFlight = crate::limiter::InFlight<ConcurrencyLimiter>;
