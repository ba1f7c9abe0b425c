//! Complete stacks for axum, hyper, tonic and reqwest, and settings of files.
//!
//! Documentation only: this module exists on docs.rs and in `cargo doc`. The examples of its pages
//! are compiled as tests. The programs in `examples/` of the package (`axum`, `hyper`, `tonic`,
//! `reqwest`) contain the same stacks, run them, and check their output.
//!
//! | framework | the layers go | features |
//! | --- | --- | --- |
//! | [axum, server](axum) | on a `Router`, its routes or its methods | `server` |
//! | [hyper, server](hyper#a-server) | around the service, a clone of which serves each connection | `server` |
//! | [hyper-util, client](hyper#a-client) | around the client | `client` |
//! | [tonic, server](tonic#a-server) | on the `Server` builder | `grpc` |
//! | [tonic, client](tonic#a-client) | between the channel and the generated client | `grpc` |
//! | [reqwest, client](reqwest) | around the client | `reqwest` |
//!
//! [Coming from](coming_from) has the lines of other libraries (tenacity, limits, governor, tower,
//! backon, reqwest-retry) beside ours.
//!
//! [Limits per key](limits_per_key) has those of tower_governor line by line, and those of slowapi,
//! express-rate-limit, nginx and ASP.NET Core in tables.
//!
//! `client` and `server` are default features. `grpc` includes both, `reqwest` includes `client`,
//! and `axum`, for responses of any type that a handler may return and for a
//! [page of limits](crate::observe::page), includes `server` and `serde`.
//!
//! [Settings of a file](settings), read by serde, make the layers and change them at run time.
//!
//! # Common to all frameworks
//!
//! - **A layer has one limit, however often it is put on.** If a request passes two services with
//!   the same layer, it acquires two permits of one limit: on an axum `Router` and on a route of
//!   it, twice in one `ServiceBuilder`, on a server and on a client that its handler calls. With
//!   [`ConcurrencyBackpressureLayer`](crate::ConcurrencyBackpressureLayer), requests that hold all
//!   permits at the outer service then wait for each other at the inner one, and the server stops
//!   responding for good. With [`WindowRateLimitLayer`](crate::WindowRateLimitLayer), each request
//!   counts twice. Put the layer on once, create a second layer, or create a limit for each service
//!   with `per_service()`. Debug builds report such a request on standard error, once per limit.
//! - **Clone a service for each request.** A request that is cancelled while its service is kept
//!   keeps the permit that it has acquired, or its position in the queue, until the service is used
//!   again or dropped.
//! - **Bound the queue of a server.** axum, hyper and tonic make one call for each request whether
//!   or not the service is ready, so backpressure does not slow down the clients.
//! - **`max_wait` bounds the time in the queue.** A `TimeoutLayer` around the limit does not: it
//!   starts at `call`. A [`DeadlineLayer`](crate::DeadlineLayer) around all bounds the whole call:
//!   see [which timeout counts what](crate::deadline#which-timeout-counts-what).
//! - **`Balance` and `Steer` keep services ready**, and each ready one holds a permit. Services of
//!   one limit can then wait for each other: use `per_service()`, or put the limit in front.
//!   `drained()` completes once they are dropped.
//! - **Endpoints of a `Balance` have limits without a bound.** A full endpoint that rejects looks
//!   ready and fast, and attracts the requests. One that lets them wait is passed over.
//! - **A hint of more than 60 s is not waited for**: the response is returned as it is.
//!   [`max_hint`](crate::ExponentialRetry::max_hint) changes that, and
//!   [`max_pause`](crate::PauseOnHintLayer::max_pause) how long a hint holds back other callers.
//! - How a stack is stored in a field or returned, and how the compiler names a missing trait
//!   bound, stands on the [front page](crate).
//! - The behaviour to rely on stands in the [promises].

#[cfg(feature = "server")]
pub mod axum;
#[cfg(all(feature = "reqwest", feature = "server"))]
pub mod coming_from;
#[cfg(all(feature = "client", feature = "server"))]
pub mod hyper;
#[cfg(feature = "axum")]
pub mod limits_per_key;
#[doc = include_str!("../../docs/promises.md")]
pub mod promises {}
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "serde")]
pub mod settings;
#[cfg(feature = "grpc")]
pub mod tonic;
