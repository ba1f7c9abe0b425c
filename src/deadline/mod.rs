//! A deadline of a request, from its call to its response: queue, window, attempts and backoffs.
//!
//! [`DeadlineLayer`] goes outside all other layers. From the call of a request, it runs everything
//! inside under one deadline. When that passes, it drops the inside, which leaves each queue and
//! releases each permit, and [rejects](crate::reject) the request. The inner service is never
//! called at or after the deadline.
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, DeadlineLayer, Rejected};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_millis(200)))
//!     .layer(ConcurrencyBackpressureLayer::new(1))
//!     .service(service_fn(|n: u32| async move {
//!         tokio::time::sleep(Duration::from_millis(150)).await;
//!         Ok::<_, std::io::Error>(n)
//!     }));
//!
//! // The second request waits 150 ms in the queue, so only 50 ms are left for its response.
//! let (first, second) =
//!     tokio::join!(service.clone().oneshot(1), service.clone().oneshot(2));
//! assert_eq!(first.unwrap(), 1);
//! let error = second.unwrap_err();
//! assert!(Rejected::find(&*error).unwrap().is_deadline_exceeded());
//! # }
//! ```
//!
//! # Which timeout counts what
//!
//! ```text
//!                   call                                                    response
//!                    │ queue │ window │ attempt │ backoff │ window │ attempt │ body │
//! max_wait           ├───────┤        ·         ·         ·        ·         ·
//! max_wait, window   ·       ├────────┤         ·         ├────────┤         ·
//! TimeoutLayer       ·       ·        ├─────────┤         ·        ├─────────┤
//! TimeoutLayer, outermost    ·        ├──────────────────────────────────────┤
//! max_elapsed        ·       ·        ├─────────┬─────────┤        ·         ·
//! DeadlineLayer      ├───────────────────────────────────────────────────────┤
//! ```
//!
//! | timeout | begins | ends | when it is over |
//! | --- | --- | --- | --- |
//! | [`max_wait`](crate::ConcurrencyBackpressureLayer::max_wait) of a limit | as a request queues | as it acquires its permit | rejects the request; a window does so on arrival |
//! | tower's `TimeoutLayer` next to the client | at the call of an attempt | with its response | fails the attempt, which is retried |
//! | tower's `TimeoutLayer` outermost | at `call`, *after* the first waits for queue and window | with the response | fails the request |
//! | [`max_elapsed`](crate::ExponentialRetry::max_elapsed) of a retry | at the first attempt | with a backoff | begins no backoff that would end later |
//! | `DeadlineLayer` | at `call`, *before* all waits | with the response | rejects the request; a retry that could not end in time is not begun |
//!
//! A request waits for its first permits in `poll_ready`, and tower's `TimeoutLayer` starts in
//! `call`. So outermost it does not bound that time: at a limit of 1 with a timeout of 200 ms, the
//! eighth caller of a service that takes 150 ms has its response after 1.2 s, without an error.
//! `DeadlineLayer` is always ready, and waits in its call.
//!
//! No timeout of this table covers a response's body. A `client::CollectLayer` inside
//! makes the body a part of the response.
//!
//! # Deadlines of requests
//!
//! [`DeadlineLayer::from_request`] reads the time from each request, with a function or any other
//! [`ReadDeadline`]. `GrpcTimeout` (feature `grpc`) reads gRPC's `grpc-timeout`, on servers and on
//! clients. [`at_most`](DeadlineLayer::at_most) is the default of requests without a deadline, and
//! bounds those of the others.
//!
//! # Propagation
//!
//! While the inside is polled, [`current()`] returns the deadline. Thereby:
//!
//! - [`ExponentialRetry`](crate::ExponentialRetry) begins no retry whose backoff would end at or
//!   after the deadline. The response or error of the last attempt is returned at once, and the
//!   hook sees [`StopReason::Deadline`](crate::retry::StopReason::Deadline).
//! - A [`WindowRateLimit`](crate::WindowRateLimit) with a bound rejects at once a request whose
//!   permit is expected after the deadline, with the time until there is room.
//! - `client::send_grpc_timeout` (feature `grpc`) tells the server of each attempt the time that is
//!   left.
//! - A handler of a server with this layer passes its deadline on to the clients that it calls,
//!   although no argument names it. A second `DeadlineLayer` can only shorten it.
//!
//! A task that is spawned inside, such as the worker of a `Buffer`, has no current deadline. The
//! layer rejects the request in time all the same.
//!
//! # Other places
//!
//! Innermost, the layer bounds the inner service alone, as tower's `TimeoutLayer` does. With
//! `reject_with` it fits an axum `Router`, which a `TimeoutLayer` does not without a
//! `HandleErrorLayer`. Inside a retry, it bounds each attempt.
//!
//! # Caveats
//!
//! - At a rate limit without a bound, a pause that is longer than the deadline costs each request
//!   its whole time.
//! - The service is always ready, so backpressure ends here: bound the queue of the limit inside,
//!   or the number of callers.
//! - Each call clones the inner service, as servers do, and drives the clone to readiness. An error
//!   of readiness is an error of the call.
//! - A request that is rejected may have reached the server. A retry *outside* this layer repeats
//!   it like one that timed out, only if it is repeatable.
//! - A response that is there at the deadline is too late, because the inside of a late request is
//!   not polled.
//! - Timers resolve one millisecond. An error of the inside less than that before the deadline is
//!   taken for its consequence: a tonic `Channel`, which keeps the `grpc-timeout` that it sends,
//!   fails in the same moment.

pub mod future;
mod layer;
mod read_deadline;
mod service;

#[cfg(feature = "grpc")]
pub use self::read_deadline::GrpcTimeout;
pub use self::{
    layer::DeadlineLayer,
    read_deadline::{NoDeadline, ReadDeadline},
    service::Deadline,
};
pub use crate::current_deadline::current;
