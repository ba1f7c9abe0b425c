//! A bound on the requests in flight, and on the line of those who wait.
//!
//! # What happens at the limit
//!
//! `poll_ready` takes a place if one is free and nobody waits, and otherwise joins the line. Whoever drives
//! the service therefore slows down to the pace at which places come back: that is the backpressure.
//!
//! | built with | the next caller at the limit |
//! | --- | --- |
//! | `new(n)` | waits, however many wait already |
//! | `.max_queue(m)` | waits, or is turned away as *queue full* if `m` wait already; with 0, whatever can't go at once is shed |
//! | `.max_wait(d)` | waits, and is turned away as *wait timeout* after `d` |
//! | both | both |
//!
//! # What a place is, and when it comes back
//!
//! A place is taken when the service becomes **ready** and held until the response future **has completed
//! or is dropped**. So a clone that is ready and never called holds one; dropping it gives it back. A clone
//! that waits has a place in the line; dropping it frees that at once. A panic of the inner service gives
//! the place back.
//!
//! Those who wait go in the order in which they came, and a newcomer never overtakes: a place that comes
//! back is handed to the head of the line, which is woken once, for good. If its task is then not polled
//! any more, that one place is missing, and the others serve everybody else: until the clone is dropped or
//! polled, or with a `max_wait`, until that is over.
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
//! A layer has one limit, whatever it is put on. A request that passes two services of one layer
//! acquires two permits of that limit: on an axum `Router` and on a route of it, twice in one
//! `ServiceBuilder`, on a server and on a client that its handler calls. Once such requests hold all
//! permits at the outer service, each of them waits at the inner one for a permit of another.
//! **Then none proceeds, for good**, unless `max_queue` or `max_wait` rejects the second.
//!
//! Put the layer on once, make a second layer, or make a limit for each service with
//! [`per_service`](ConcurrencyBackpressureLayer::per_service). Debug builds report such a request on
//! standard error, once per limit. A second permit that is acquired in another task, which the
//! request waits for, is not reported.
//!
//! # How it differs from tower's
//!
//! tower's `ConcurrencyLimitLayer` makes a limit for every service it is put on (its
//! `GlobalConcurrencyLimitLayer` doesn't), has a line without bounds, and leaves shedding to `LoadShed`,
//! which sheds at any inner service that isn't ready. It takes a mutex at every release; this one only while
//! somebody waits.
//!
//! # Example
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
//! Tuned, with a graceful end:
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
//! handle.close();
//! let error = service.ready().await?.call(2).await.unwrap_err();
//! assert!(Rejected::find(&*error).is_some_and(Rejected::is_closed));
//!
//! handle.drained().await; // what was in flight has ended
//! assert!(running.await?.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Caveats
//!
//! - One service that one task drives (`ready().await`, then `call`) has at most one request in the line: its
//!   own. Lines form where many clones are driven.
//! - The place is given back when the response *future* ends. A body that is streamed after that is not
//!   counted, unless the layer holds it [until the body ends](crate::server::until_body_ends) (feature `server`).
//! - The line keeps the memory of its longest: 32 bytes for each waiter, and 20 more with a `max_wait`.
//! - A thread may keep the limit it used last in memory until it uses another or ends, to save the next call
//!   from counting references.
//! - There is no order among priorities, and no weight: each request takes one place.

pub mod future;
mod handle;
mod layer;
mod limiter;
mod service;

#[cfg(feature = "server")]
pub(crate) use self::limiter::Permit;
pub use self::{
    handle::{ConcurrencyBackpressureHandle, Drained},
    layer::ConcurrencyBackpressureLayer,
    service::ConcurrencyBackpressure,
};
