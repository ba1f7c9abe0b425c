//! A deadline of a request, from its call to its response: queue, window, attempts and backoffs.
//!
//! [`DeadlineLayer`] goes outside all other layers. From the call of a request, it runs everything
//! inside under one deadline. When that passes, it drops the inside, which leaves the queues of
//! this crate's limits and releases the permits that it holds, and [rejects](crate::reject) the
//! request. From the deadline on, the inside is not polled, so the layers inside begin no call.
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
//! | [`max_wait`](crate::ConcurrencyBackpressureLayer::max_wait) of a limit | as a request queues | as it acquires its permit | rejects the request; on arrival, if the wait is known to be longer |
//! | tower's `TimeoutLayer` next to the client | at the call of an attempt | with its response | fails the attempt, which is retried |
//! | tower's `TimeoutLayer` outermost | at `call`, *after* the first waits for queue and window | with the response | fails the request |
//! | [`max_elapsed`](crate::ExponentialRetry::max_elapsed) of a retry | at the first attempt | with a backoff | begins no backoff that would end later |
//! | `DeadlineLayer` | at `call`, *before* all waits | with the response | rejects the request; a retry whose backoff could not end in time is not begun |
//!
//! A request waits for its first permits in `poll_ready`, and tower's `TimeoutLayer` starts in
//! `call`. So outermost it does not bound that time: at a limit of 1 with a timeout of 200 ms, the
//! eighth caller of a service that takes 150 ms has its response after 1.2 s, without an error.
//! `DeadlineLayer` is always ready, and waits in its call.
//!
//! No timeout of this table covers the body of a response, unless a layer inside reads it:
//! `client::CollectLayer` the bodies of successes, `client::HttpRetryLayer` and
//! `client::ReadFailuresLayer` those of failures. A failed response whose body is still being read
//! at the deadline is lost to the rejection.
//!
//! # Deadlines of requests
//!
//! [`DeadlineLayer::from_request`] reads the time from each request, with a function or any other
//! [`ReadDeadline`]. `GrpcTimeout` (feature `grpc`) reads gRPC's `grpc-timeout`, on servers and on
//! clients, and `HeaderTimeout` (features `client`, `server`) a header of your own.
//! [`at_most`](DeadlineLayer::at_most) is the default of requests without a deadline, and
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
//!   permit is expected at or after the deadline, with the time until there is room. It judges on
//!   arrival, as if all waiters before it get their permits.
//! - A [`ConcurrencyBackpressureLayer`](crate::ConcurrencyBackpressureLayer) that [knows
//!   deadlines](crate::backpressure#deadlines) rejects at once a request that could not be done by
//!   the deadline, and sends none that has too little time left at its turn.
//! - `client::send_grpc_timeout` (feature `grpc`) tells the server of each attempt the time that is
//!   left.
//! - A handler of a server with this layer passes its deadline on to the clients that it calls
//!   before it returns its response, although no argument names it. A response's body is polled
//!   outside. A second `DeadlineLayer` can only shorten the deadline.
//!
//! A task that is spawned inside has no current deadline; a call of a `DeadlineLayer` that was made
//! before the spawn keeps its own. Behind a `Buffer`, the worker makes the first call without a
//! deadline, and the response, with its retries, is polled with it. A future that several requests
//! share has the deadline of the request that polls it.
//!
//! # Other places
//!
//! Innermost, the layer bounds the inner service alone, as tower's `TimeoutLayer` does. With
//! `reject_with` it fits an axum `Router`, which a `TimeoutLayer` does not without a
//! `HandleErrorLayer`. Inside a retry, it bounds each attempt. As it is always ready, a rate limit
//! around it counts a request before the inner service is ready for it.
//!
//! # Caveats
//!
//! - The service is always ready, so backpressure ends here: bound the queue of the limit inside,
//!   or the number of callers.
//! - Each call clones the inner service, as servers do, and drives the clone to readiness. An error
//!   of readiness is an error of the call.
//! - A request whose response is not ready at the first poll starts a timer, which allocates, and
//!   panics outside a tokio runtime with its timer enabled.
//! - A request that is rejected may have reached the server. In a retry *outside* this layer,
//!   `HttpClassifier` repeats it like one that timed out, only if it is repeatable, and
//!   `GrpcClassifier` as `UNAVAILABLE`. The default, `AnyError`, always repeats it.
//! - A response that has arrived, and was not polled before the deadline, is lost.
//! - Timers resolve one millisecond. So an error of the inside in the last millisecond before the
//!   deadline is replaced by the rejection, whatever its cause. This hides the error of a tonic
//!   `Channel`, which itself ends a call at the `grpc-timeout` that it sends. With a deadline of a
//!   millisecond or less, nearly every error is replaced.
//! - At a rate limit without a bound, a pause that is longer than the deadline costs each request
//!   its whole time, and at one with a bound the requests that were queued before the pause.
//! - A message in a `Buffer` inside keeps its slot until the worker comes to it.

pub mod future;
mod layer;
mod read_deadline;
mod service;

#[cfg(feature = "grpc")]
pub use self::read_deadline::GrpcTimeout;
#[cfg(any(feature = "client", feature = "server"))]
pub use self::read_deadline::HeaderTimeout;
pub use self::{
    layer::DeadlineLayer,
    read_deadline::{NoDeadline, ReadDeadline},
    service::Deadline,
};
pub use crate::current_deadline::current;
