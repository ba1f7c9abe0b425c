//! Other libraries, and the same lines with this crate.
//!
//! | from | to |
//! | --- | --- |
//! | [tenacity](#tenacity) (Python) | [`retry`](crate::retry::retry) |
//! | [backon, tokio-retry](#backon-and-tokio-retry) | [`retry`](crate::retry::retry) |
//! | [reqwest-middleware, reqwest-retry](#reqwest-retry) | [`HttpRetryLayer`](crate::client::HttpRetryLayer) |
//! | [limits, slowapi](#limits-and-slowapi) (Python) | [`WindowRateLimitLayer`](crate::WindowRateLimitLayer) |
//! | [governor, tower_governor](#governor-and-tower_governor) | [`WindowRateLimitLayer`](crate::WindowRateLimitLayer) |
//! | [limiters in Redis](#limiters-in-redis) | [`WindowRateLimitLayer::shared`](crate::WindowRateLimitLayer::shared) |
//! | [tower](#tower): its limits, `Buffer`, `LoadShed`, `Retry`, `Budget` | all layers |
//!
//! Theirs is shown as text, ours is compiled and run with the tests.
//!
//! Limits of each client, tenant or host have a [page of their own](super::limits_per_key).
//!
//! # Any future through the layers
//!
//! The layers are for services, and a service need not have requests. One that takes a future, and
//! returns it, puts the layers around any async code:
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};
//!
//! async fn fetch(page: u32) -> std::io::Result<String> {
//!     Ok(format!("page {page}"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> std::io::Result<()> {
//! let limited = ServiceBuilder::new()
//!     .layer(ConcurrencyBackpressureLayer::new(5))
//!     .layer(WindowRateLimitLayer::new(10, Duration::from_secs(60)))
//!     .service(service_fn(|future| future));
//!
//! let page = limited.clone().oneshot(fetch(7)).await?;
//! assert_eq!(page, "page 7");
//! # Ok(())
//! # }
//! ```
//!
//! A service takes futures of one type; clones of the layers put the same limits around another
//! one. A retry needs a function, which makes a future for each attempt:
//! `retry(policy, || limited.clone().oneshot(fetch(7)))` acquires a permit for each of them, and
//! `limited.oneshot(retry(policy, || fetch(7)))` one for all.
//!
//! # tenacity
//!
//! ```text
//! @retry(stop=stop_after_attempt(5), wait=wait_random_exponential(multiplier=1, max=60),
//!        retry=retry_if_exception_type(ConnectionError), reraise=True)
//! async def fetch(page): ...
//!
//! text = await fetch(7)
//! fetch.statistics["attempt_number"], fetch.statistics["idle_for"]
//! ```
//!
//! ```
//! use std::{io, time::Duration};
//! use tower_floodgate::retry::{Backoff, ExponentialRetry, Verdict, retry};
//!
//! # async fn fetch(page: u32) -> io::Result<String> { Ok(format!("page {page}")) }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> io::Result<()> {
//! let policy = ExponentialRetry::new(5)
//!     .backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(60)))
//!     .classify(|_: &(), result: &io::Result<String>| match result {
//!         Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Verdict::Retry,
//!         _ => Verdict::Done,
//!     });
//!
//! let (text, statistics) = retry(policy.clone(), || fetch(7)).with_statistics().await;
//! assert_eq!((text?, statistics.attempts()), ("page 7".to_owned(), 1));
//! assert_eq!(statistics.waited(), Duration::ZERO);
//! # Ok(())
//! # }
//! ```
//!
//! | tenacity | here |
//! | --- | --- |
//! | `stop_after_attempt(5)` | `ExponentialRetry::new(5)` |
//! | `stop_before_delay(60)` | `.max_elapsed(Duration::from_secs(60))`: no wait ends later |
//! | `stop_after_delay(60)` | the same; a wait that would end later is not begun |
//! | `stop_never` | `ExponentialRetry::new(u32::MAX)` |
//! | `stop_after_delay(60) \| stop_after_attempt(5)` | both settings |
//! | `stop_when_event_set(event)` | drop the future: `tokio::select!` with the event |
//! | `wait_fixed(2)` | `.backoff(Backoff::fixed(d))` |
//! | `wait_random(1, 2)` | `.backoff(Backoff::uniform(d1..=d2))` |
//! | `wait_fixed(3) + wait_random(0, 2)` | `.backoff(Backoff::uniform(d3..=d5))` |
//! | `wait_random_exponential(multiplier=1, max=60)` | `.backoff(Backoff::new(d1, d60))`: jitter is on by default |
//! | `wait_exponential(multiplier=1, max=60)` | `.backoff(Backoff::new(d1, d60).jitter(Jitter::None))` |
//! | `wait_exponential_jitter(initial=1, max=60)` | `.jitter(Jitter::Equal)` is the nearest: between half of the wait and all of it |
//! | `wait_chain(wait_fixed(3), wait_fixed(9))` | `.waits(Waits::chain([d3, d9]))` |
//! | `wait_incrementing`, an own function | `.waits(Waits::from_fn(\|retry\| ...))` |
//! | `wait_exception(seconds_of)` | `Verdict::RetryAfter(wait)`, plus jitter, or `Verdict::RetryExactly(wait)` |
//! | `wait_none()` | `Backoff::fixed(Duration::from_millis(1))`, the resolution of timers |
//! | `retry_if_exception`, `retry_if_result`, `raise TryAgain` | `.classify(...)` sees the error and the value |
//! | `before_sleep=before_sleep_log(...)` | `.on_decision(...)`, or `.on_decision_with(...)` with the result |
//! | `after=...` | the same: it sees the last attempt, too |
//! | `reraise=True` | always: the last error, or the last value, is returned as it is; there is no `RetryError` |
//! | `retry_error_callback=...` | `.await.or_else(...)` |
//! | `@retry` as a decorator | a function that contains `retry(POLICY.clone(), \|\| ...)`, with a `LazyLock` |
//! | `async with attempt` | none: an attempt is a call of the function |
//! | `sleep=...`, for tests | tokio's paused clock: waits take no time, and are exact |
//!
//! Different by default: tenacity retries forever without a wait, this crate as often as `new` says
//! with waits of up to 1, 2, 4 s and so on, spread by jitter. Waits, by example; the numbers of
//! attempts hold on the paused clock, because with a real one an attempt takes time, too:
//!
//! ```
//! use std::time::Duration;
//! use tower_floodgate::retry::{Backoff, ExponentialRetry, Jitter, Waits, retry};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let secs = Duration::from_secs;
//! let forever = ExponentialRetry::new(u32::MAX).max_elapsed(secs(60));
//!
//! let fixed = forever.clone().backoff(Backoff::fixed(secs(2)));
//! let random = forever.clone().backoff(Backoff::uniform(secs(1)..=secs(2)));
//! let fixed_and_random = forever.clone().backoff(Backoff::uniform(secs(3)..=secs(5)));
//! let exponential = forever.clone().backoff(Backoff::new(secs(1), secs(60)).jitter(Jitter::None));
//! // wait_chain(*[wait_fixed(3) for i in range(3)] + [wait_fixed(9)])
//! let chain = forever.clone().waits(Waits::chain([3, 3, 3, 9].map(secs)));
//! // wait_incrementing(start=1, increment=2, max=10)
//! let linear =
//!     forever.clone().waits(Waits::from_fn(move |retry| secs(10).min(secs(1) + secs(2) * retry)));
//! // wait_exponential(multiplier=1, min=4, max=10)
//! let backoff = Backoff::new(secs(1), secs(10));
//! let at_least = forever.waits(Waits::from_fn(move |retry| backoff.ceiling(retry).max(secs(4))));
//!
//! for (policy, waits) in [
//!     (fixed, 60 / 2),
//!     (exponential, 5), // 1, 2, 4, 8, 16 s
//!     (chain, 3 + 5),
//!     (linear, 8), // 1, 3, 5, 7, 9, 10, 10, 10 s
//!     (at_least, 8), // 4, 4, 4, 8, 10, 10, 10, 10 s
//! ] {
//!     let (_, statistics) =
//!         retry(policy, || async { Err::<(), _>("no answer") }).with_statistics().await;
//!     assert_eq!(statistics.attempts(), 1 + waits);
//! }
//! # let _ = (random, fixed_and_random);
//! # }
//! ```
//!
//! # backon and tokio-retry
//!
//! ```text
//! let page = (|| fetch(7))
//!     .retry(ExponentialBuilder::default().with_jitter().with_max_times(3))
//!     .when(|error| error.kind() == ErrorKind::ConnectionReset)
//!     .notify(|error, wait| println!("{error}, retry in {wait:?}"))
//!     .await?;
//!
//! let strategy = ExponentialBackoff::from_millis(10).max_delay(MINUTE).map(jitter).take(3);
//! let page = Retry::spawn(strategy, || fetch(7)).await?;
//! ```
//!
//! ```
//! use std::{io, time::Duration};
//! use tower_floodgate::retry::{Backoff, Decision, ExponentialRetry, Verdict, retry};
//!
//! # const MINUTE: Duration = Duration::from_secs(60);
//! # async fn fetch(page: u32) -> io::Result<String> { Ok(format!("page {page}")) }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> io::Result<()> {
//! let policy = ExponentialRetry::new(4) // attempts: one more than the retries
//!     .backoff(Backoff::new(Duration::from_secs(1), MINUTE))
//!     .classify(|_: &(), result: &io::Result<String>| match result {
//!         Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Verdict::Retry,
//!         _ => Verdict::Done,
//!     })
//!     .on_decision_with(|decision: &Decision, _: &(), result: &io::Result<String>| {
//!         if let (Ok(wait), Err(error)) = (decision.retry_in(), result) {
//!             println!("{error}, retry in {wait:?}");
//!         }
//!     });
//! let page = retry(policy, || fetch(7)).await?;
//! # assert_eq!(page, "page 7");
//!
//! // tokio-retry takes powers of the number of milliseconds: 10 ms, 100 ms, 1 s.
//! let backoff = Backoff::new(Duration::from_millis(10), MINUTE).factor(10.0);
//! let page = retry(ExponentialRetry::new(4).backoff(backoff), || fetch(7)).await?;
//! # assert_eq!(page, "page 7");
//! # Ok(())
//! # }
//! ```
//!
//! | backon, tokio-retry | here |
//! | --- | --- |
//! | `with_max_times(3)`, `take(3)`: retries | `ExponentialRetry::new(4)`: attempts |
//! | `with_total_delay(d)` | `.max_elapsed(d)`, which counts the attempts, too |
//! | `ConstantBuilder`, `FixedInterval` | `Backoff::fixed(d)` |
//! | `FibonacciBuilder`, any iterator of durations | `Waits::chain(...)` or `Waits::from_fn(...)` |
//! | `with_jitter()`: up to as much again (backon), `jitter`: between zero and the wait (tokio-retry) | `Jitter::Full`, the default: between zero and the wait |
//! | `adjust(\|error, wait\| ...)` | `Verdict::RetryAfter(wait)` of the classifier |
//! | `RetryIf::spawn(strategy, action, condition)` | `.classify(...)` |
//! | `RetryableWithContext` | clone, or lock, what an attempt changes |
//! | blocking functions, other runtimes | none: waits need tokio |
//!
//! # reqwest-retry
//!
//! ```text
//! let policy = ExponentialBackoff::builder()
//!     .retry_bounds(Duration::from_secs(1), Duration::from_secs(60))
//!     .build_with_max_retries(3);
//! let client = ClientBuilder::new(Client::new())
//!     .with(RetryTransientMiddleware::new_with_policy(policy))
//!     .build();
//! let response = client.get(url).send().await?;
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//! use reqwest::{Client, retry};
//! use tower::{BoxError, ServiceBuilder};
//! use tower_floodgate::{
//!     client::{HttpClassifier, HttpRetryLayer, RequestBuilderExt},
//!     retry::{Backoff, ExponentialRetry},
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), BoxError> {
//! # let url = "http://127.0.0.1:3000/";
//! let policy = ExponentialRetry::new(4)
//!     .backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(60)))
//!     .classify(HttpClassifier::new());
//! let reqwest = Client::builder().retry(retry::never()).build()?;
//! let client = ServiceBuilder::new()
//!     .layer(HttpRetryLayer::new(policy))
//!     .service(reqwest.clone());
//! let response = reqwest.get(url).send_through(&client).await?;
//! # let _ = response;
//! # Ok(())
//! # }
//! ```
//!
//! | reqwest-middleware, reqwest-retry | here |
//! | --- | --- |
//! | `.with(middleware)` | `.layer(layer)`, any of Tower; the first one is the outermost in both |
//! | `client.get(url).send()` | `reqwest.get(url).send_through(&client)` |
//! | `build_with_max_retries(3)` | `ExponentialRetry::new(4)` |
//! | `build_with_total_retry_duration(d)` | `.max_elapsed(d)` |
//! | `.base(2)`, `.jitter(...)` | `.factor(2.0)`, `.jitter(...)` of `Backoff` |
//! | `RetryableStrategy` | [`Classify`](crate::retry::Classify), or settings of [`HttpClassifier`](crate::client::HttpClassifier) |
//! | a POST is retried like a GET | only by `any_method`, by `any_method_if_rejected`, or with an `Idempotency-Key` |
//! | a `Retry-After` is ignored | it is a floor of the wait; [`HttpHints`](crate::client::HttpHints) reads other headers, too |
//! | a streamed body is an error | it is sent again, up to 64 KiB |
//! | `Extension`s of a request | none: state goes into the layers |
//!
//! The [page of reqwest](super::reqwest) has the complete stack. Without layers, a single request
//! is retried by a function, which neither sends a streamed body again nor reads the body of a
//! failed response:
//!
//! ```no_run
//! use reqwest::{Client, Method};
//! use tower_floodgate::{
//!     client::HttpClassifier,
//!     retry::{ExponentialRetry, retry},
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), reqwest::Error> {
//! # let (client, url) = (Client::new(), "http://127.0.0.1:3000/");
//! let policy = ExponentialRetry::new(4).classify(HttpClassifier::new().for_method(Method::GET));
//! let response = retry(policy, || client.get(url).send()).await?;
//! # let _ = response;
//! # Ok(())
//! # }
//! ```
//!
//! # limits and slowapi
//!
//! ```text
//! limiter = Limiter(key_func=get_remote_address, headers_enabled=True)
//! app.state.limiter = limiter
//! app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
//!
//! @app.get("/")
//! @limiter.limit("10/minute")
//! async def root(request: Request): ...
//! ```
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower::ServiceBuilder;
//! use tower_floodgate::{
//!     WindowRateLimitLayer,
//!     server::{RateLimitHeadersLayer, http_rejection},
//! };
//!
//! # fn main() -> Result<(), tower_floodgate::ParseQuotaError> {
//! let limit = WindowRateLimitLayer::with_quota("10/minute".parse()?);
//! let handle = limit.handle();
//! let layers = ServiceBuilder::new()
//!     .layer(RateLimitHeadersLayer::new("default", handle.clone()).with_x_ratelimit())
//!     .layer(limit.max_queue(0).reject_with(http_rejection));
//! let app: Router = Router::new().route("/", get(async || "hello").layer(layers));
//!
//! assert_eq!(handle.remaining(), 10);
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! | limits, slowapi | here |
//! | --- | --- |
//! | `MovingWindowRateLimiter`, `strategy="moving-window"` | `WindowRateLimitLayer::new(10, minute)`: exact, in memory of a few KiB |
//! | `FixedWindowRateLimiter`, the default of slowapi | `WindowRateLimitLayer::fixed(10, minute)`; its windows do not begin with a request |
//! | `SlidingWindowCounterRateLimiter` | the exact one costs no more |
//! | `parse("10/minute")` | `"10/minute".parse::<Quota>()?` |
//! | `limiter.hit(item)` | a call of the service: waits, or is rejected if `max_queue` or `max_wait` says so; without a service `handle.try_acquire()?.commit()` |
//! | `limiter.test(item)` | `handle.remaining() > 0` |
//! | `limiter.get_window_stats(item)` | `handle.remaining()`, `handle.reset_after()`, `handle.estimated_wait()` |
//! | `RateLimitExceeded`, its handler | `reject_with(http_rejection)`: 429 and `Retry-After`; `reject_with` takes a function |
//! | `@limiter.exempt`, `exempt_when` | [`ExemptLayer`](crate::ExemptLayer) |
//! | `@limiter.shared_limit(...)` | clones of one layer: a layer has one limit, wherever it is put |
//! | `key_func`, `hit(item, "user", id)` | [limits per key](super::limits_per_key#limits-and-slowapi) |
//! | `cost=3` | `handle.try_acquire_many(3)?.commit()`; [`cost`](crate::keyed::Rule::cost) for the requests of a service |
//! | `"10/minute;100/hour"` | [`Quotas`](crate::Quotas) reads it; [`Rule::quotas`](crate::keyed::Rule::quotas) of one rule, decided together |
//! | `storage_uri="redis://..."` | [`WindowRateLimitLayer::shared`](crate::WindowRateLimitLayer::shared): see [below](#limiters-in-redis) |
//!
//! # governor and tower_governor
//!
//! ```text
//! let limiter = RateLimiter::direct(Quota::per_second(nonzero!(50u32)));
//! limiter.until_ready().await;
//! let page = fetch(7).await;
//!
//! let limiter = GovernorConfigBuilder::default()
//!     .per_second(2) // one request every two seconds...
//!     .burst_size(5) // ...after five at once
//!     .key_extractor(GlobalKeyExtractor)
//!     .use_headers()
//!     .finish();
//! ```
//!
//! ```
//! use std::time::Duration;
//! use tower_floodgate::{
//!     WindowRateLimitLayer,
//!     server::{RateLimitHeadersLayer, http_rejection},
//! };
//!
//! # async fn fetch(page: u32) -> std::io::Result<String> { Ok(format!("page {page}")) }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let limit = WindowRateLimitLayer::new(50, Duration::from_secs(1));
//! limit.handle().acquire().await?.commit(); // counts from the commit
//! let page = fetch(7).await?;
//! # assert_eq!(page, "page 7");
//!
//! // `check()`: rejects in the place of waiting.
//! match limit.handle().try_acquire() {
//!     Ok(permit) => permit.commit(),
//!     Err(rejected) => println!("in {:?}", rejected.retry_after()), // `NotUntil`
//! }
//!
//! // Five in any ten seconds: the same rate as one in two seconds.
//! let server = WindowRateLimitLayer::new(5, Duration::from_secs(10));
//! let headers = RateLimitHeadersLayer::new("default", server.handle()).with_x_ratelimit();
//! let server = server.max_queue(0).reject_with(http_rejection);
//! let app: axum::Router = axum::Router::new().layer(server).layer(headers);
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! | governor, tower_governor | here |
//! | --- | --- |
//! | a bucket of `burst` cells, one of which is refilled per period (GCRA): up to twice the quota in a window | at most N in any window; permits come back as the requests leave the window |
//! | `until_ready().await`, in any order | `handle.acquire().await?.commit()`, or a call of the service: first come, first served |
//! | `check()`, `NotUntil::wait_time_from` | `handle.try_acquire()?.commit()`, or `max_queue(0)`; [`Rejected::retry_after`](crate::Rejected::retry_after) |
//! | `until_ready_with_jitter` | none: requests are issued in order as permits come back |
//! | `check_n(n)`, `until_n_ready(n)` | `handle.try_acquire_many(n)`, `handle.acquire_many(n)` |
//! | `RateLimiter::keyed`, `PeerIpKeyExtractor` (the default of tower_governor) | [limits per key](super::limits_per_key#tower_governor) |
//! | `error_handler(...)` | `reject_with(...)` |
//! | `methods(...)` | [`ExemptLayer`](crate::ExemptLayer), or the layer on a route |
//! | a fixed quota | `handle.set_quota`, `handle.pause_for` |
//!
//! # Limiters in Redis
//!
//! Other limiters ask Redis about each request: by GCRA (redis-cell, go-redis/redis_rate), by a
//! sorted set of times (`limits` of Python in part), or by a counter with a time to live. A [shared
//! quota](crate::shared) leases permits in advance, so most calls ask nothing, and its limit holds
//! for the moment at which requests go out. The crate `tower-floodgate-redis` has the store.
//!
//! | there | here |
//! | --- | --- |
//! | a limiter with a Redis client | `WindowRateLimitLayer::shared(quota)` of a `SharedWindow::new(RedisStore::new(connection), name, n, window, away)` |
//! | a key for each user | `KeyedLimitLayer::shared(windows, key)` of a `SharedKeyedWindow`, with the feature `shared-keys` |
//! | sleep until the time of the reply, and try again | nothing: requests wait in order, up to `max_wait` |
//! | reject at once | `.max_wait(Duration::ZERO)`: after one reply of the store, if no permit is at hand |
//! | `in_memory_fallback` (Flask-Limiter, slowapi), `insuranceLimiter` (rate-limiter-flexible) | `Away::Share { processes }` |
//! | `passOnStoreError: true` (express-rate-limit), `timeout` (Upstash) | `Away::Open` |
//! | an error for each request | `Away::Closed`, with `max_wait` of zero |
//! | `blockDuration`, penalties | none: those of [keyed](crate::keyed) limits, for each process |
//!
//! # tower
//!
//! ```text
//! let backoff = ExponentialBackoffMaker::new(min, max, 0.5, rng)?.make_backoff();
//! let budget = TpsBudget::new(ttl, 10, 0.2);
//! let service = ServiceBuilder::new()
//!     .timeout(Duration::from_secs(30))
//!     .load_shed()
//!     .layer(GlobalConcurrencyLimitLayer::new(5))
//!     .retry(MyPolicy { attempts: 3, backoff, budget }) // and its `impl Policy`
//!     .buffer(100) // `RateLimit` is not `Clone`
//!     .rate_limit(10, Duration::from_secs(1))
//!     .service(client);
//! ```
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, DeadlineLayer, WindowRateLimitLayer,
//!     retry::{Backoff, ExponentialRetry, RetryBudget},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let policy = ExponentialRetry::new(3)
//!     .backoff(Backoff::new(Duration::from_millis(100), Duration::from_secs(5)))
//!     .budget(RetryBudget::builder(0.2).floor_per_second(10).build());
//! let service = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(30)))
//!     .layer(ConcurrencyBackpressureLayer::new(5).max_queue(0))
//!     .retry(policy)
//!     .layer(WindowRateLimitLayer::new(10, Duration::from_secs(1)))
//!     .service(service_fn(async |n: u32| Ok::<_, std::io::Error>(n + 1)));
//! assert_eq!(service.oneshot(1).await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! | tower | here |
//! | --- | --- |
//! | `ConcurrencyLimitLayer`: a limit for each service | `ConcurrencyBackpressureLayer::new(5).per_service()` |
//! | `GlobalConcurrencyLimitLayer` | `ConcurrencyBackpressureLayer::new(5)` |
//! | `RateLimitLayer` behind a `Buffer`: up to twice the quota in a window, no `Clone` | `WindowRateLimitLayer::new(10, second)`: shared by clones, exact |
//! | `BufferLayer::new(100)`, for `Clone` or as a queue | none, or `.max_queue(100)`: no worker task, and the error type stays |
//! | `LoadShedLayer` | `.max_queue(0)`: rejects by the limit alone, and tells when there is room |
//! | `RetryLayer::new(policy)`, `.retry(policy)` | the same, with [`ExponentialRetry`](crate::ExponentialRetry), which is a `Policy` |
//! | `Policy::retry`, `Policy::clone_request` | `.classify(...)`, `.clone_with(...)` |
//! | `ExponentialBackoffMaker` | [`Backoff`](crate::retry::Backoff) |
//! | `TpsBudget::new(ttl, min_per_sec, retry_percent)` | [`RetryBudget`](crate::retry::RetryBudget): the percentage as it is, to the millionth |
//! | `TimeoutLayer` outside: counts from `call` | [`DeadlineLayer`](crate::DeadlineLayer): the queue, too |
//! | `TimeoutLayer` inside a retry | the same |
//! | `Balance`, `Steer`, `Filter`, `Hedge` | go on in the same stack |
//!
//! An error type is `BoxError` only if a layer rejects, and no [reject policy](crate::reject) says
//! otherwise.
