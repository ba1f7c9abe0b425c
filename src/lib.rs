//! Three [Tower](tower) layers for stable services: a concurrency limit, a rate limit, and retries.
//!
//! Together they bound the load, smooth its peaks, and tolerate faults.
//!
//! | layer | effect |
//! | --- | --- |
//! | [`ConcurrencyBackpressureLayer`] | bounds the requests in flight; the others wait in a queue, first come, first served, which can be bounded, too |
//! | [`WindowRateLimitLayer`] | issues at most N requests in *any* span of a window's length, or in each fixed window; the others wait, or are rejected with the exact time until there is room |
//! | [`ExponentialRetryLayer`] | retries with exponential backoff, jitter, a cap on the attempts, the server's hints, and a budget |
//!
//! They stack in front of any [`Service`](tower::Service). [`ServiceBuilderExt`] adds plain ones to
//! tower's `ServiceBuilder`:
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::ServiceBuilderExt;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::io::Error> {
//! # let client = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) });
//! let service = ServiceBuilder::new()
//!     .concurrency_backpressure(5)                  // the sixth request waits
//!     .exponential_retry(3)                         // three attempts, up to 1 s and 2 s apart
//!     .window_rate_limit(2, Duration::from_secs(1)) // of all attempts
//!     .service(client);
//!
//! assert_eq!(service.oneshot(1).await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! Tuned layers are added by `layer`. [`ExponentialRetry`] is a [`tower::retry::Policy`], so
//! tower's own `retry` takes it, too:
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, ExponentialRetry};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! # let client = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) });
//! let limit = ConcurrencyBackpressureLayer::new(5)
//!     .max_queue(20)
//!     .max_wait(Duration::from_secs(2));
//! let service = ServiceBuilder::new()
//!     .layer(limit)
//!     .retry(ExponentialRetry::new(3))
//!     .service(client);
//!
//! assert_eq!(service.oneshot(1).await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! A limit for each client, tenant or host is a [`keyed`] one: windows and requests in flight of a
//! key, decided together. A quota that many processes have together is a [`shared`] one, through
//! Redis or another store.
//!
//! Work that is no request of a service, such as a WebSocket or a job, acquires permits of the same
//! limits [by](backpressure#permits-without-a-request)
//! [their handles](rate_limit#permits-without-a-request).
//!
//! # Order of the layers
//!
//! A request passes the layers from the outside in, and its response from the inside out. The first
//! layer of a `ServiceBuilder` is the outermost. This is the usual order:
//!
//! ```text
//! ┌─ ConcurrencyBackpressure ───┐  holds a permit for the whole task, its backoffs included. This
//! │ ┌─ ExponentialRetry ──────┐ │  bounds the tasks, and with them the memory.
//! │ │ ┌─ WindowRateLimit ───┐ │ │  Each attempt acquires a permit of the window, so retries count
//! │ │ │ client              │ │ │  against the quota.
//! │ │ └─────────────────────┘ │ │
//! │ └─────────────────────────┘ │
//! └─────────────────────────────┘
//! ```
//!
//! | order, outermost first | a permit in flight is held | the quota counts | use |
//! | --- | --- | --- | --- |
//! | backpressure, retry, rate | for the task, with its waits and backoffs | every attempt | bounds the work that is accepted, and obeys a quota: **the usual order** |
//! | retry, backpressure, rate | for one attempt, with its wait for the window | every attempt | spares a server connections, and admits other requests during a backoff |
//! | rate, retry, … | | tasks, not attempts: retries escape it | limits the requests of a server's users |
//! | …, rate, backpressure | only for requests that are sent; waiters hold permits of the window | requests with both permits, as they are called | rare: behind a slow server, the window stands idle |
//!
//! One retry in a stack is enough. Two multiply: three times three attempts are nine.
//!
//! A [`DeadlineLayer`] outermost bounds the time of a request over all of them: see
//! [which timeout counts what](deadline#which-timeout-counts-what).
//!
//! # Frameworks
//!
//! | framework | the layers go | with |
//! | --- | --- | --- |
//! | axum, server | on a `Router`, its routes or its methods: `.layer(limits)`, without a `HandleErrorLayer` | [`server::http_rejection`](server::http_rejection()) |
//! | hyper, server | around a service, a clone of which serves each connection: `TowerToHyperService::new(service.clone())` | [`server::http_rejection`](server::http_rejection()) |
//! | tonic, server | on the builder: `Server::builder().layer(limits)` | `server::grpc_rejection` |
//! | hyper-util and reqwest, clients | `ServiceBuilder::new().layer(...).service(client)` | [`client::HttpClassifier`] |
//! | tonic, client | between the channel and the generated client: `HealthClient::new(ServiceBuilder::new().layer(...).service(channel))` | `client::GrpcClassifier` |
//!
//! The [guide] has the code for each, and the programs in `examples/` run it.
//! [Coming from](guide::coming_from) other libraries has their lines beside those of this crate.
//!
//! # Plain functions
//!
//! [`retry::retry`] calls an async function by the same policy, without a service:
//!
//! ```
//! use tower_floodgate::retry::{ExponentialRetry, retry};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::io::Error> {
//! # async fn fetch(page: u32) -> Result<u32, std::io::Error> { Ok(page) }
//! let page = retry(ExponentialRetry::new(3), || fetch(7)).await?;
//! # assert_eq!(page, 7);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **A layer has one limit.** All services that it is put on, all their clones and all clones of
//!   the layer share it. `per_service()` creates a limit for each service.
//! - **A call that does not wait** allocates nothing, takes no mutex and boxes no future. Limits
//!   are decided in lock-free atomics. The pages of [`client`] and [`server`] state the costs of
//!   their parts.
//! - **No permit is lost.** It is released when its holder goes away: waiting, ready and never
//!   called, in flight, or in a panic. A request that was issued counts until its window has
//!   passed.
//! - **A rejection is the result of `call`**, never an error of `poll_ready`: an error, an error
//!   type of the user, or a response. If no request can be rejected, the error type is the inner
//!   service's. See [`reject`].
//! - **A permit orders memory.** Its release happens before its next acquisition: see
//!   [`backpressure`](backpressure#memory-ordering) and [`rate_limit`](rate_limit#memory-ordering).
//! - **A layer is built anywhere**, in a `LazyLock` or in `main`, without a runtime. Only waits for
//!   a time need tokio's timer.
//! - **Time is tokio's**: `tokio::time::pause` controls every test. Timers resolve one millisecond,
//!   so shorter waits take one.
//! - **Invalid settings are reported at once.** Constructors panic at the caller's line, and their
//!   `try_` twins return an [`InvalidSetting`]. No order of builder calls panics.
//!
//! # Observation
//!
//! A layer with a [`name`](WindowRateLimitLayer::name) counts the events of its limit, records them
//! as metrics and traces them. See [`observe`].
//!
//! # Features
//!
//! `client` and `server` are on by default. Without them, the crate has no code for HTTP and
//! depends on none of its crates.
//!
//! | feature | for | depends on |
//! | --- | --- | --- |
//! | none | the three layers, for any service | `tower` (its `retry`), `tower-layer`, `tower-service`, `tokio` (its `rt` and `time`), `futures-util`, `pin-project`, `fastrand` |
//! | `client` (default) | [clients of HTTP](client): retry classification by status and by the errors of hyper, hyper-util and h2, hints, replayable request bodies | `http`, `http-body`, `bytes`, `httpdate`, `jiff`, `sfv`, `h2`, `hyper`, `hyper-util` (its `client-legacy` and `http1`), tower's `timeout` |
//! | `server` (default) | [servers of HTTP](server): responses to rejected requests, rate-limit headers, permits held until a body ends, [addresses of clients](keyed::ClientIp) | `http`, `http-body`, `ipnet` |
//! | `axum` | responses to rejected requests of any type that a handler of axum may return, `observe::page`, which draws limits live, and the peer and the route of a request as keys | `server`, `serde`, `axum` 0.8 (its `matched-path` and `tokio`), `serde_json` |
//! | `grpc` | clients and servers of gRPC: codes, pushbacks and timeouts, read and written | `client`, `server`, `base64`, `prost`, and the `Status` of `tonic` 0.14, without its transport |
//! | `reqwest` | requests, responses and errors of reqwest | `client`, `reqwest` 0.13 without its features, so without TLS |
//! | `metrics` | [metrics](observe#metrics) of limits and [of retries](retry#observation-and-control), for any exporter of the facade | `metrics` 0.24 |
//! | `tracing` | [traces](observe#traces) of limits and retries, in the span of the caller; with `client`, [spans of attempts](client) | `tracing`, without its macros for functions |
//! | `shared-keys` | [shared quotas](shared) of each key | `sha2` |
//! | `serde` | [settings](config) and quotas that are read from files, and written; snapshots that are written | `serde` and its `derive` |
//!
//! `client` names hyper, hyper-util and h2 for their error types, which a client of them compiles
//! anyway. It makes no connections. With another version of tonic than that of `grpc`, a rejection
//! without a reject policy is a broken stream or `UNKNOWN`.
//!
//! # Settings
//!
//! The settings of each layer are also [values](config), with quotas as text (`"100/1m"`). They
//! change [running limits](WindowRateLimitHandle::set_quota) in one step, and the guide
//! [reloads them from a file](guide::settings). The limits of [keys](keyed) are read from files,
//! too, with plans by name.
//!
//! # Testing with the layers
//!
//! In a test with a paused clock (tokio's feature `test-util`), waits take no time and their
//! lengths are exact:
//!
//! ```
//! use std::time::Duration;
//! use tokio::time::Instant;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::ServiceBuilderExt;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! // In a test: #[tokio::test(start_paused = true)]
//! let service = ServiceBuilder::new()
//!     .window_rate_limit(2, Duration::from_secs(60))
//!     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
//!
//! let start = Instant::now();
//! for n in 0..3 {
//!     service.clone().oneshot(n).await.unwrap();
//! }
//! assert_eq!(start.elapsed(), Duration::from_secs(60)); // the third waited
//! # }
//! ```
//!
//! The jitter of a retry is the same in each run with [`seed`](ExponentialRetry::seed).
//!
//! # Naming the type of a stack
//!
//! The type of a stack names all its layers, and the type of a closure in it has no name. Where the
//! type must be written, such as for the field of a struct or the state of an axum `Router`, put
//! the stack in a box. Each call then allocates its future:
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
//! use tower_floodgate::ServiceBuilderExt;
//!
//! type Client = BoxCloneSyncService<u32, u32, std::io::Error>; // request, response, error
//!
//! #[derive(Clone)]
//! struct App {
//!     client: Client,
//! }
//!
//! fn client()
//! -> impl Service<u32, Response = u32, Error = std::io::Error, Future: Send> + Clone + Send + Sync {
//!     ServiceBuilder::new()
//!         .concurrency_backpressure(5)
//!         .exponential_retry(3)
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
//! The state of an axum `Router` must be `Sync`, and `BoxCloneService` is not. The error type is
//! the inner service's, unless a limit rejects with an error: then it is `BoxError`, or the type
//! that `reject_with_error` names. See [`reject`].
//!
//! # When a stack does not compile
//!
//! If a layer does not fit, the compiler reports that `oneshot` or `ready` exists but "its trait
//! bounds were not satisfied", and does not name the bound. It does if the stack is required to be
//! a service:
//!
//! ```
//! # use tower::{Service, ServiceBuilder, service_fn};
//! # use tower_floodgate::ConcurrencyBackpressureLayer;
//! # let client = ServiceBuilder::new()
//! #     .layer(ConcurrencyBackpressureLayer::new(5))
//! #     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
//! fn is_service_of<Request>(_: &impl Service<Request>) {}
//!
//! is_service_of::<u32>(&client); // the type of the requests
//! ```
//!
//! So does a box whose type of requests is written out: `BoxCloneSyncService::<u32, _, _>::new`.
//!
//! | message | remedy |
//! | --- | --- |
//! | `Infallible: From<Box<dyn Error ...>>`, of an axum `Router` | `.reject_with(server::http_rejection)` on each limit that may reject; for a `TimeoutLayer`, a [`DeadlineLayer`] with it in its place |
//! | `expected Response<Body>, found Response<PermitBody<Body>>` | `.map_response(IntoResponse::into_response)` over the layers that are in an [`ExemptLayer`] |
//! | a request can't be copied | for HTTP [`client::HttpRetryLayer`], or [`clone_with`](ExponentialRetry::clone_with) |
//! | `expected MyError, found Box<dyn Error ...>` | `.reject_with_error::<MyError>()` on each limit with a bound, and on a [`DeadlineLayer`] |
//! | `ExponentialRetry: Layer` is not satisfied | `.retry(policy)`, or [`ExponentialRetryLayer::new(policy)`](ExponentialRetryLayer) |
//! | one policy does not fit two stacks with other error types | `.classify(...)` anew on the clone: a classifier judges one error type |
//! | "one type is more general than the other", of a spawned hyper connection | `serve_connection(...).into_owned()`, or the stack in a box |
//! | `mismatched types` where a bound is set in an `if` | the reject policy first: see [`max_queue`](ConcurrencyBackpressureLayer::max_queue) |
//! | `no method named handle` of an `ExponentialRetry` | [`.name(...)`](ExponentialRetry::name) first: only a policy with a name is observed and steered |
//! | bounds of `Retry<ExponentialRetry<{closure ...}>, ...>` are not satisfied | of a closure for `classify`, both arguments are annotated: see [`classify`](ExponentialRetry::classify) |
//! | `expected Box<dyn Error ...>, found reqwest::Error`, of a boxed service | `.reject_with_box_error()` on a limit, or `.map_err(BoxError::from)` as the outermost layer |
//! | `expected ConcurrencyBackpressureHandle, found WindowRateLimitHandle`, of `Limits::from_iter` | [`Limits::add`](observe::Limits::add) of each, or [`Handle::from`](observe::Handle) around each |
//! | `AttemptSpan<...>` does not satisfy `Service<_>`, of requests that are not of HTTP | none: its spans are those of HTTP. [Events of the retry](retry#observation-and-control) tell each attempt |
//! | `assume_no_redirects` is a private field, or a message of reqwest can't be read | the feature `reqwest` |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arc_cache;
pub mod backpressure;
mod builder_ext;
mod cause;
mod class;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
mod current_deadline;
pub mod deadline;
mod duration_text;
pub mod exempt;
#[cfg(feature = "grpc")]
mod grpc_status;
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(any(feature = "client", feature = "server"))]
mod headers;
mod judge;
pub mod keyed;
mod limiter;
mod macros;
#[cfg(feature = "metrics")]
mod metric;
pub mod middleware;
pub mod observe;
pub mod pause_on_hint;
mod per_service;
mod quota;
pub mod rate_limit;
mod rate_limit_handle;
mod refill_task;
pub mod reject;
mod rejected;
pub mod retry;
mod rule_name;
mod semaphore;
mod seq48;
#[cfg(feature = "serde")]
mod serde_fields;
#[cfg(feature = "serde")]
mod serde_seconds;
#[cfg(feature = "server")]
pub mod server;
mod settings;
pub mod shared;
mod sync;
mod time;
#[cfg(any(feature = "client", feature = "server"))]
mod wrap_body;

pub use self::{
    backpressure::{
        ConcurrencyBackpressure, ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    },
    builder_ext::ServiceBuilderExt,
    cause::find_cause,
    deadline::DeadlineLayer,
    exempt::ExemptLayer,
    limiter::RejectedCounts,
    pause_on_hint::PauseOnHintLayer,
    per_service::PerService,
    quota::{ParseQuotaError, Quota, Quotas},
    rate_limit::{WindowRateLimit, WindowRateLimitHandle, WindowRateLimitLayer},
    rate_limit_handle::RateLimitHandle,
    rejected::Rejected,
    retry::{ExponentialRetry, ExponentialRetryHandle, ExponentialRetryLayer},
    settings::InvalidSetting,
};

/// Compiles and runs what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
