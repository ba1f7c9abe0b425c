//! A bound on the requests issued in a window of time.
//!
//! # What is promised
//!
//! - **Sliding** ([`WindowRateLimitLayer::new`], the default): at most N requests are issued in **any**
//!   half-open span as long as the window, wherever the span begins, over all clones.
//! - **Fixed** ([`WindowRateLimitLayer::fixed`]): at most N in each window of a grid that begins when the layer
//!   is made and doesn't drift. Around a boundary up to 2 N pass within a span shorter than the window.
//!
//! To obey a server's quota, take the sliding one, even if the server counts by fixed windows: its grid
//! isn't yours, and what holds in any span holds in its windows, too. Both cost the same.
//!
//! # What happens at the limit
//!
//! A place is **reserved** when the service becomes ready, and **issued** when it is called; the window counts
//! issues. So however long a clone sits ready, N holds at the moment of the calls, and a clone that is dropped
//! unused gives its place to whoever is next.
//!
//! | built with | the next caller at the limit |
//! | --- | --- |
//! | `new(n, window)` | waits its turn |
//! | `.max_queue(m)` | waits, or is turned away as *queue full* if `m` wait already |
//! | `.max_wait(d)` | waits, or is turned away as *wait timeout*, **at once**, if its turn comes only after `d` |
//!
//! A rejection tells [how long](crate::Rejected::retry_after) until there is room for that request: sent again at
//! that instant it goes without waiting, if nobody came first, and not if it is sent earlier. (With a line, it may
//! come earlier and wait for the rest.)
//!
//! Those who wait go in the order in which they came. While anybody waits, a small task of this crate's looks
//! for all who wait in its runtime, and hands out what has come back; there is one in each runtime with
//! somebody in line. So the line goes on behind a task that isn't polled any more, or a runtime that stands
//! still. Dropping a service that waits leaves the line, and the task ends with the last who does.
//!
//! # Short windows
//!
//! tokio's timer fires at whole milliseconds, at the first one after the time it is set to. A waiter
//! that it wakes is issued shortly after a whole millisecond, so the permit expires shortly after
//! another, and the timer fires at the one after that: about a millisecond late. A late permit starts
//! its next window late. Where waiters are the demand, a sliding window of W whole milliseconds
//! therefore uses about W / (W + 1 ms) of its quota, and less where tasks are scheduled late:
//!
//! | window | W / (W + 1 ms) | one thread, medians | two threads, the least |
//! | --- | --- | --- | --- |
//! | 1 ms | 50 % | 36 to 48 % | 15 % |
//! | 10 ms | 91 % | 84 to 91 % | 56 % |
//! | 50 ms | 98 % | 90 to 97 % | 87 % |
//! | 100 ms | 99 % | 95 to 99 % | 92 % |
//!
//! (Measured with limits of 1 to 1000, on two processors that were busy with other programs.) A fixed
//! window makes up for a late timer, because its grid does not move: it uses 90 % and more from 20 ms
//! on. With 1 ms it misses whole windows, and uses 13 to 64 %.
//!
//! # Between polls
//!
//! Any time may pass between two polls of a service, and between the last poll and the call:
//! `Steer`, `Balance`, `select!`, a timeout around `ready()`, a cancelled message of a `Buffer`. A
//! rejection is that of the moment of `call`, and a wait does not outlive its request. A service that
//! was polled is in one of these states:
//!
//! | state | the next `poll_ready` | `call` |
//! | --- | --- | --- |
//! | waiting, before its `max_wait` | waits on | panics |
//! | waiting, up to 100 ms later | ready: with a permit that is free, or to be rejected | panics |
//! | waiting, later than that | begins anew, as a request of its own | panics |
//! | ready, with a permit | ready | passes the request on |
//! | ready, to be rejected | with a permit that is free by then, or ready; begins anew after 100 ms | rejects, unless a permit is free by then |
//!
//! A wait with a `max_wait` leaves the queue at the end of that, polled or not, and counts no more. A
//! permit that was granted to it until then goes to the next waiter 100 ms later, unless it is polled.
//! If another task polls a service that waits, the request is taken for a new one: its `max_wait` begins
//! then, and it keeps the position in the queue. The same task can't be told from one that still waits,
//! so there the deadline stays: in an abandoned wait that is resumed early, the next request has what is
//! left of the `max_wait`. A clone for each request has neither.
//!
//! A rejection is made and counted by the call. If a permit is free by then, the call polls the inner
//! service once, and passes the request on if that is ready.
//!
//! # One layer twice on a request
//!
//! A layer has one limit, whatever it is put on. A request that passes two services of one layer (on
//! an axum `Router` and on a route of it, on a server and on a client that its handler calls) counts
//! twice, which halves the quota. With nothing but layers between the two, as in one
//! `ServiceBuilder`, both permits are acquired before the first is committed. **Then requests wait
//! for each other for good**, because a permit that is not committed does not expire.
//!
//! Put the layer on once, make a second layer, or make a limit for each service with
//! [`per_service`](WindowRateLimitLayer::per_service). Debug builds report such a request on standard
//! error, once per limit. A second permit that is acquired in another task is not reported.
//!
//! # How it differs from tower's
//!
//! tower's `RateLimit` has its state in each service and can't be cloned, so it needs a `Buffer` to be shared;
//! it restarts its window when somebody happens to look, and keeps no promise for spans across two windows;
//! a runtime has to be there when it is built.
//!
//! # Example
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
//! let began = tokio::time::Instant::now();
//! let mut times = Vec::new();
//! for n in 0..5 {
//!     service.ready().await?.call(n).await?;
//!     times.push(began.elapsed().as_secs());
//! }
//! assert_eq!(times, [0, 0, 1, 1, 2]);
//! # Ok(())
//! # }
//! ```
//!
//! Tuned: a server's side, which sheds what would wait for more than two seconds, without an error.
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
//!     .reject_with(|rejected: Rejected| format!("429, come again in {} s", rejected.retry_after_secs().unwrap()))
//!     .layer(service_fn(|name: &'static str| async move {
//!         Ok::<_, std::convert::Infallible>(format!("200, hello {name}"))
//!     }));
//!
//! assert_eq!(service.clone().oneshot("Ada").await?, "200, hello Ada");
//! assert_eq!(service.oneshot("Bob").await?, "429, come again in 10 s");
//! # Ok(())
//! # }
//! ```
//!
//! # Caveats
//!
//! - Waiting needs a tokio runtime with its timer enabled, and panics outside, or in one that is shut down; a
//!   call that can go at once needs none.
//! - Timers resolve one millisecond, so [short windows](#short-windows) lose a share of their quota.
//! - Up to N = 256 each issue is remembered by its own time. Above, up to 0.8 % of the places may come back
//!   late: with the next issue, or when the window is looked at. It is never more than N, and memory is 8 KiB whatever N is.
//! - What is reserved and never called nor dropped is out of reach for everybody else.
//! - A lowered limit and a pause don't take back what was ready before.
//! - If settings change hundreds of times within a window, permits may come back late by up to the 190th of
//!   the longest window. An equal limit, set again, costs nothing.
//! - A thread may keep the limit it used last in memory (8 KiB) until it uses another or ends, to save the next
//!   call from counting references.
//! - The time of an issue is when the inner service is *called*. What the network makes of it, a limit on this
//!   side can't know.

pub mod future;
mod handle;
mod layer;
mod limiter;
mod ringer;
mod service;
mod window;

pub use self::{
    handle::WindowRateLimitHandle, layer::WindowRateLimitLayer, service::WindowRateLimit,
};
