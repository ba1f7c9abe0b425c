//! Three [Tower](tower) layers that keep an asynchronous system stable: **limit, smooth the peak, tolerate
//! the fault**.
//!
//! | layer | what it does |
//! | --- | --- |
//! | [`ConcurrencyBackpressureLayer`] | bounds the requests in flight; the rest waits in a line, first come first served, which can be bounded, too |
//! | [`WindowRateLimitLayer`] | issues at most N requests in *any* span of W (or in each fixed window); the rest waits, or is told exactly how long it would have to |
//! | [`ExponentialRetryLayer`] | retries with exponential backoff, jitter, an attempt cap, the server's hints, and a budget; a [`tower::retry::Policy`] |
//!
//! They stack in front of any [`Service`](tower::Service):
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::io::Error> {
//! # let client = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) });
//! let service = ServiceBuilder::new()
//!     .layer(ConcurrencyBackpressureLayer::new(5))                     // the sixth caller waits
//!     .layer(ExponentialRetryLayer::new(ExponentialRetry::new(3)))     // up to 1 s and 2 s apart
//!     .layer(WindowRateLimitLayer::new(2, Duration::from_secs(1)))     // retries included
//!     .service(client);
//!
//! assert_eq!(service.oneshot(1).await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Which layer goes where
//!
//! A request passes the layers from the outside in, and its answer from the inside out. What an order
//! means:
//!
//! ```text
//!   ┌─ ConcurrencyBackpressure ──────────────────┐   holds a place for the whole task: for its backoffs,
//!   │  ┌─ ExponentialRetry ────────────────────┐ │   too. That bounds the tasks, and with them memory.
//!   │  │  ┌─ WindowRateLimit ────────────────┐ │ │   Each attempt takes its own place in the window, so
//!   │  │  │  client                          │ │ │   retries count against the quota.
//! ```
//!
//! | order, outside first | a place in flight is held | the quota counts | use it to |
//! | --- | --- | --- | --- |
//! | backpressure, retry, rate | for the task, with its waits and backoffs | every attempt | bound the work that is taken on, and obey a quota: **the usual order** |
//! | retry, backpressure, rate | for one attempt, with its wait for the window | every attempt | spare a server connections, and let others go during a backoff |
//! | rate, retry, … | | tasks, not attempts: retries escape it | limit what your own users may ask for |
//! | …, rate, backpressure | only for what is really sent; those who wait for it have their place in the window | what is ready, as soon as it is called | rarely: a slow server makes the window stand idle |
//!
//! Keep one retry in a stack. Two multiply: three times three attempts are nine.
//!
//! # Where they go in a framework
//!
//! | framework | the layers go | with |
//! | --- | --- | --- |
//! | axum, server | on a `Router`, its routes or its methods: `.layer(limits)`, without a `HandleErrorLayer` | [`server::http_rejection`](server::http_rejection()) |
//! | hyper, server | around a service, a clone of which serves each connection: `TowerToHyperService::new(service.clone())` | [`server::http_rejection`](server::http_rejection()) |
//! | tonic, server | on the builder: `Server::builder().layer(limits)` | `server::grpc_rejection` |
//! | hyper-util and reqwest, clients | `ServiceBuilder::new().layer(...).service(client)` | [`client::HttpClassifier`] |
//! | tonic, client | between channel and generated client: `HealthClient::new(ServiceBuilder::new().layer(...).service(channel))` | `client::GrpcClassifier` |
//!
//! The [guide] has the code for each; the programs in `examples/` run it.
//!
//! # What all three share
//!
//! - **One limit is one limit.** State is made with the layer: every service it is put on and every clone
//!   share it. A limit for each service has to be asked for by name (`per_service()`).
//! - **A call that doesn't wait** allocates nothing, takes no mutex and boxes no future. The limits are
//!   decided in lock-free atomics. (The pages of [`client`] and [`server`] tell their costs.)
//! - **Nothing is lost.** Whatever was reserved comes back when its holder goes away: waiting, ready but
//!   never called, in flight, in a panic. (What was issued counts until its window has passed.)
//! - **Turning away is an answer**, of `call`, never an error of `poll_ready`: an error, an error type of your own,
//!   or a response. Where nobody can be turned away the error type is the inner service's. See [`reject`].
//! - **Built anywhere**, in a `LazyLock`, in `main`: a layer needs no runtime. Only who waits for a time needs
//!   tokio's timer.
//! - **Time is tokio's**: `tokio::time::pause` steers every test. Timers resolve one millisecond, so
//!   shorter waits take one.
//! - **Wrong settings are reported at once**: constructors panic at the caller's line, their `try_` twins return
//!   an [`InvalidSetting`].
//!
//! # Features
//!
//! `client` and `server` are on by default. Without them, the crate has no code for HTTP and
//! depends on none of its crates.
//!
//! - `client`: [clients of HTTP](client). Retry classification by status and by the errors of
//!   hyper, hyper-util and h2, hints, replayable request bodies.
//! - `server`: [servers of HTTP](server). Responses to rejected requests, rate-limit headers,
//!   permits held until a body ends. Depends on `http` and `http-body` only.
//! - `grpc`: clients and servers of gRPC. Made for tonic, without depending on it. Includes both.
//! - `reqwest`: requests, responses and errors of reqwest. Includes `client`.
//!
//! # To keep a service, and to return it
//!
//! The type of a stack names all its layers, and a closure in it has no name. Where it has to be written down, in the
//! field of a struct or as the state of an axum `Router`, put it in a box, for which each call allocates its future:
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer};
//!
//! type Client = BoxCloneSyncService<u32, u32, std::io::Error>; // request, response, error
//!
//! #[derive(Clone)]
//! struct App {
//!     client: Client,
//! }
//!
//! fn client() -> impl Service<u32, Response = u32, Error = std::io::Error, Future: Send> + Clone + Send + Sync {
//!     ServiceBuilder::new()
//!         .layer(ConcurrencyBackpressureLayer::new(5))
//!         .layer(ExponentialRetryLayer::new(ExponentialRetry::new(3)))
//!         .service(service_fn(|n: u32| async move { Ok(n + 1) }))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::io::Error> {
//! let app = App { client: BoxCloneSyncService::new(client()) };
//! assert_eq!(app.client.clone().oneshot(1).await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! (`BoxCloneService` isn't `Sync`, which axum's state has to be.) The error type is the inner service's, unless a limit
//! that turns away answers with an error: then it is a `BoxError`. See [`reject`].
//!
//! # When it doesn't compile
//!
//! If a layer doesn't fit, `oneshot` and `ready` "exist, but their trait bounds were not satisfied", and the compiler
//! doesn't say which. Ask for the service instead, and it does:
//!
//! ```
//! # use tower::{Service, ServiceBuilder, service_fn};
//! # use tower_floodgate::ConcurrencyBackpressureLayer;
//! # let client = ServiceBuilder::new()
//! #     .layer(ConcurrencyBackpressureLayer::new(5))
//! #     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
//! fn is_service_of<Request>(_: &impl Service<Request>) {}
//!
//! is_service_of::<u32>(&client); // the type of your requests
//! ```
//!
//! | it says | write |
//! | --- | --- |
//! | `Infallible: From<Box<dyn Error ...>>`, of an axum `Router` | `.reject_with(server::http_rejection)` on each limit that may reject |
//! | `expected Response<Body>, found Response<PermitBody<Body>>` | `.map_response(IntoResponse::into_response)` over the layers that are in an [`ExemptLayer`] |
//! | that a copy can't be made | [`clone_with`](ExponentialRetry::clone_with) |
//! | that `close` isn't found | a bound, `.reject_with(...)` or [`.reject_with_box_error()`](ConcurrencyBackpressureLayer::reject_with_box_error) on the layer, before its handle is taken |
//! | that `assume_no_redirects` is a private field, or that nothing reads reqwest's messages | the feature `reqwest` |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod reject;
pub mod backpressure;
mod cause;
#[cfg(feature = "client")]
pub mod client;
mod clock;
mod count;
pub mod exempt;
mod gate;
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(any(feature = "client", feature = "server"))]
mod headers;
mod macros;
#[cfg(debug_assertions)]
mod nested;
pub mod pause_on_hint;
mod per_service;
pub mod rate_limit;
mod rejected;
pub mod retry;
mod seat;
#[cfg(feature = "server")]
pub mod server;
mod settings;
mod spare;
mod sync;

pub use self::{
    backpressure::{
        ConcurrencyBackpressure, ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    },
    cause::find_cause,
    exempt::ExemptLayer,
    pause_on_hint::PauseOnHintLayer,
    per_service::PerService,
    rate_limit::{WindowRateLimit, WindowRateLimitHandle, WindowRateLimitLayer},
    rejected::Rejected,
    retry::{ExponentialRetry, ExponentialRetryLayer},
    seat::RejectedCounts,
    settings::InvalidSetting,
};

/// Compiles and runs what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
