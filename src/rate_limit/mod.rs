//! A bound on the requests issued in a window of time.
//!
//! # Guarantees
//!
//! - **Sliding** ([`WindowRateLimitLayer::new`], the default): at most N requests are issued in
//!   **any** half-open span of the window's length, over all clones.
//! - **Fixed** ([`WindowRateLimitLayer::fixed`]): at most N requests are issued in each window of a
//!   grid that begins when the layer is created and does not drift. Around a boundary up to 2 N are
//!   issued within a span shorter than the window.
//!
//! To obey a server's quota, use the sliding window, even if the server counts by fixed windows:
//! the server's grid is unknown, and a bound that holds in any span holds in each of its windows,
//! too. Both cost the same.
//!
//! # At the limit
//!
//! A permit is **acquired** when the service becomes ready, and **committed** when the request is
//! issued, which is when the inner service is called. The window counts issued requests, so N holds
//! at the moments of the calls, however long a clone was ready before. A clone that is dropped
//! unused refunds its permit, and the next request gets it.
//!
//! | built with | a request at the limit |
//! | --- | --- |
//! | `new(n, window)` | waits for its turn |
//! | `.max_queue(m)` | waits, or is rejected as *queue full* if `m` requests wait already |
//! | `.max_wait(d)` | waits, or is rejected as *wait timeout*, **at once**, if its turn comes only after `d` |
//!
//! A rejection tells [how long](crate::Rejected::retry_after) it takes until there is room for that
//! request. If it is sent again at that instant, it is issued without a wait, unless others came
//! first. If it is sent earlier, it is not. A request that may wait can be sent earlier and wait
//! for the rest.
//!
//! Waiters are granted permits in the order of their arrival. While requests wait, a small *refill
//! task* of this crate grants the permits that have expired. Each runtime with waiters has one,
//! which grants permits to waiters of other runtimes, too. So the queue is served behind a task
//! that is not polled any more, or a runtime that stands still. A service that is dropped while it
//! waits leaves the queue. The refill task ends with the last waiter of its runtime.
//!
//! # Short windows
//!
//! tokio's timer fires at whole milliseconds, at the first one after the time it is set to. A
//! waiter that it wakes is issued shortly after a whole millisecond, so the permit expires shortly
//! after another, and the timer fires at the one after that: about a millisecond late. A late
//! permit starts its next window late. If the demand comes from waiters, a sliding window of W
//! whole milliseconds therefore uses about W / (W + 1 ms) of its quota, and less if tasks are
//! scheduled late:
//!
//! | window | W / (W + 1 ms) | one thread, medians | two threads, the least |
//! | --- | --- | --- | --- |
//! | 1 ms | 50 % | 36 to 48 % | 15 % |
//! | 10 ms | 91 % | 84 to 91 % | 56 % |
//! | 50 ms | 98 % | 90 to 97 % | 87 % |
//! | 100 ms | 99 % | 95 to 99 % | 92 % |
//!
//! The shares were measured with limits of 1 to 1000, on two processors that were busy with other
//! programs. A fixed window makes up for a late timer, because its grid does not move: it uses 90 %
//! and more from 20 ms on. With 1 ms it misses whole windows, and uses 13 to 64 %.
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
//! | waiting, before the end of its `max_wait` | waits on, or is ready to be rejected if its turn has been delayed beyond that | panics |
//! | waiting, up to 100 ms later | acquires a permit that is free, or is ready to be rejected | panics |
//! | waiting, later than that | begins anew, as a request of its own | panics |
//! | ready, with a permit | is ready | passes the request on |
//! | ready, to be rejected | acquires a permit that is free by then, or is ready; begins anew after 100 ms | rejects, unless a permit is free by then |
//!
//! A wait with a `max_wait` leaves the queue when that ends, polled or not, and is no longer
//! counted. A permit that was granted to it before then goes to the next waiter 100 ms later,
//! unless the service is polled.
//!
//! If another task polls a service that waits, the request is taken for a new one: its `max_wait`
//! begins at that poll, and it keeps the position in the queue. If the same task polls it, an
//! abandoned wait cannot be told from one that goes on, so the deadline stays. A request that
//! resumes an abandoned wait early therefore has only the rest of its `max_wait`. Neither happens
//! with a clone for each request.
//!
//! A rejection is made and counted by the call. If a permit is free by then, the call polls the
//! inner service once, and passes the request on if that is ready.
//!
//! # Permits without a request
//!
//! Work that is no request of a service counts, too, if it acquires a permit by the handle: a
//! message on a socket, a job from a queue, a line of a script.
//! [`acquire`](WindowRateLimitHandle::acquire) waits in the same queue as the requests, and
//! [`try_acquire`](WindowRateLimitHandle::try_acquire) never waits.
//! [`commit`](WindowPermit::commit) of the [`WindowPermit`] tells that the work goes out, and the
//! window counts it from then on. **A permit that is dropped without a commit is refunded**, as
//! that of a service that is never called.
//! [`acquire_many`](WindowRateLimitHandle::acquire_many) acquires several permits at once, for one
//! request that a server counts as several. While such a waiter is first in the queue, expired
//! permits are kept for it, and those behind it wait.
//!
//! | | a request of a service | a permit of a handle |
//! | --- | --- | --- |
//! | counts in the window | from the call of the inner service | from the commit |
//! | waits | in order of arrival | in the same queue |
//! | `max_queue`, `max_wait` | those of its layer apply | those of the layer or the service that the handle was taken from apply |
//! | the limit is closed | is rejected | is rejected, also without a reject policy |
//! | the future or the permit is dropped | leaves the queue, or refunds the permit | the same |
//!
//! A task that holds a permit and waits for another of the same limit may wait for itself, because
//! a permit that is not committed does not expire. Debug builds do not report it. Acquire all
//! permits at once, or commit the first.
//!
//! # One layer twice on a request
//!
//! A layer has one limit, on however many services it is put. Clones of a layer share it:
//! `layer.clone().max_queue(0)` has another bound and the same limit. A request that passes two
//! services of one layer counts twice, which halves the quota: on an axum `Router` and on a route
//! of it, on a server and on a client that its handler calls. If only layers are between the two,
//! as in one `ServiceBuilder`, both permits are acquired before the first is committed. **Then
//! requests wait for each other for good**, because a permit that is not committed does not expire.
//!
//! Put the layer on once, create a second layer with `new`, or create a limit for each service with
//! [`per_service`](WindowRateLimitLayer::per_service). Debug builds report such a request on
//! standard error, once per limit. A second permit that is acquired in another task is not
//! reported.
//!
//! # Changing at run time
//!
//! | the handle changes | requests that come | requests that wait |
//! | --- | --- | --- |
//! | limit, window or both, by [`set_quota`](WindowRateLimitHandle::set_quota) | are counted by the new quota | are granted permits by it, in their order |
//! | [`set_max_queue`](WindowRateLimitHandle::set_max_queue) | are rejected by it | stay in the queue |
//! | [`set_max_wait`](WindowRateLimitHandle::set_max_wait) | are rejected by it | keep their deadlines |
//!
//! A bound that a handle sets is that of the limit. It replaces those of all its layers, and is an
//! error if a service of the limit cannot reject.
//! [`WindowConfig`](crate::config::WindowConfig) changes all of them in one step.
//!
//! # Shutting down
//!
//! [`close`](WindowRateLimitHandle::close) rejects waiters and newcomers at once, as *closed*,
//! however late their permits would be. A closed limit has no timer and no task.
//! [`closed`](WindowRateLimitHandle::closed) completes then, and
//! [`drained`](WindowRateLimitHandle::drained) when no request waits or is between readiness and
//! its call. Responses are not waited for: that is the part of a [concurrency
//! limit](crate::backpressure#shutting-down).
//!
//! # Memory ordering
//!
//! The issue of a request *happens before* its permit expires, and the expiry happens before the
//! next acquisition of that permit, in the sense of the C++ and Rust memory model. All that a task
//! did until the inner `call` returned is therefore visible to the request that acquires the permit
//! next. The response is not ordered: it may come later. A refund is ordered like a release of a
//! [concurrency limit](crate::backpressure#memory-ordering): it happens before the next acquisition
//! of that permit. Permits that are added by raising the limit order nothing.
//!
//! # Differences from tower
//!
//! tower's `RateLimit` keeps its state in each service and is not `Clone`, so sharing it takes a
//! `Buffer`. Its window restarts at the first poll or call after its end, so up to 2 N are issued
//! in a span of its length that crosses two windows. It must be built inside a runtime.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_floodgate::WindowRateLimitLayer;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::io::Error> {
//! let layer = WindowRateLimitLayer::new(2, Duration::from_secs(1));
//! let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
//!
//! let start = tokio::time::Instant::now();
//! let mut times = Vec::new();
//! for n in 0..5 {
//!     service.ready().await?.call(n).await?;
//!     times.push(start.elapsed().as_secs());
//! }
//! assert_eq!(times, [0, 0, 1, 1, 2]);
//! # Ok(())
//! # }
//! ```
//!
//! A server that responds at once to requests that would wait for more than two seconds:
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_floodgate::{Rejected, WindowRateLimitLayer};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let service = WindowRateLimitLayer::new(1, Duration::from_secs(10))
//!     .max_wait(Duration::from_secs(2))
//!     .reject_with(|rejected: Rejected| {
//!         format!("429, retry after {} s", rejected.retry_after_secs().unwrap())
//!     })
//!     .layer(service_fn(|name: &'static str| async move {
//!         Ok::<_, std::convert::Infallible>(format!("200, hello {name}"))
//!     }));
//!
//! assert_eq!(service.clone().oneshot("Ada").await?, "200, hello Ada");
//! assert_eq!(service.oneshot("Bob").await?, "429, retry after 10 s");
//! # Ok(())
//! # }
//! ```
//!
//! # Caveats
//!
//! - Waiting needs a tokio runtime with its timer enabled, and panics outside of one, or in one
//!   that is shut down. A call that does not wait needs none.
//! - Timers resolve one millisecond, so [short windows](#short-windows) lose a share of their
//!   quota.
//! - Up to N = 256, the time of each issue is recorded. Above that, only the time of every n-th
//!   issue is, and up to 0.8 % of the permits may expire late: with the next issue, or at the next
//!   refill. The window never holds more than N, and takes 8 KiB for any N.
//! - A permit of a clone that is neither called nor dropped is unavailable to all other requests.
//! - A service that would reject is ready, because `call` rejects. So `Balance` over endpoints with
//!   an empty queue bound, `max_queue(0)`, prefers the full one. Put the bound in front of the
//!   balancer, or let requests wait at the endpoints.
//! - A lowered limit and a pause do not revoke the permits of clones that are ready.
//! - The queue keeps the memory of its greatest length: 48 bytes for each waiter, and 20 more with
//!   a `max_wait`. An estimate of a wait takes longer with its length if a request for several
//!   permits is in it.
//! - If settings change hundreds of times within a window, permits may expire late by up to 1/190
//!   of the longest window. Setting the limit that is set already costs nothing.
//! - A thread may keep the limit that it used last in memory (8 KiB) until it uses another or ends.
//!   This saves the next call the counting of references.
//! - tower's `TimeoutLayer` around the limit does not bound the time in the queue: it starts at
//!   `call`, and a request waits in `poll_ready`. [`max_wait`](WindowRateLimitLayer::max_wait)
//!   does.
//! - A request is issued when the inner service is *called*. The limit cannot know when it reaches
//!   the server.

mod handle;
mod layer;
mod limiter;
mod permit;
mod snapshot;
mod window;

pub(crate) use self::limiter::RateLimiter;
pub use self::{
    handle::WindowRateLimitHandle,
    layer::WindowRateLimitLayer,
    permit::{Acquire, AcquireMany, WindowPermit},
    snapshot::WindowSnapshot,
};
pub use crate::limiter::{AcquireManyError, BoundError, CloseError, Closed, Drained};
use crate::{
    middleware::{self, Limited},
    reject::NeverReject,
};

/// A service with a bound on the requests issued in a window of time. See the
/// [module](crate::rate_limit).
pub type WindowRateLimit<S, P = NeverReject> = Limited<S, RateLimiter, P>;

/// The future of [`WindowRateLimit`].
pub type ResponseFuture<F, P> = middleware::ResponseFuture<F, RateLimiter, P>;
