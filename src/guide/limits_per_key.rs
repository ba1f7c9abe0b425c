//! Limits per client of other libraries, and the same with this crate.
//!
//! | from | |
//! | --- | --- |
//! | [tower_governor](#tower_governor) | line by line |
//! | [limits, slowapi](#limits-and-slowapi) (Python) | table |
//! | [express-rate-limit](#express-rate-limit) (Node) | table |
//! | [nginx](#nginx) | table |
//! | [ASP.NET Core](#aspnet-core) | table |
//! | [Envoy, HAProxy](#envoy-and-haproxy) | table |
//!
//! [`keyed`](crate::keyed) is the page of the layer. The versions are those of November 2026:
//! tower_governor 0.8.0, limits 5.8.0, slowapi 0.1.10, express-rate-limit 8.7.5, nginx 1.31.
//!
//! # A bucket as a window
//!
//! Most libraries fill a bucket: `burst` requests at once, then one in each `period`. Here a limit
//! is a sentence: at most N requests in any span of a window. N is the burst.
//!
//! | wish | limit |
//! | --- | --- |
//! | never more than the bucket, at the same rate in the long run | `at_most(burst, burst * period)` |
//! | about the same share of irregular clients admitted | `at_most(burst, period)` and `at_most(n, n * period)`, with a larger `n` |
//! | a burst and a quota, which a bucket cannot state | `at_most(10, second)` and `at_most(1_000, hour)` |
//!
//! A bucket issues up to twice the burst, less one, in a span of `burst * period`. The first row
//! issues the burst. Its permits come back as the requests leave the window, so a client that is
//! irregular and close to its rate is rejected more often: at 60 % of the rate, by 11 % in place of
//! 1 %. The second row gives 1 %, too.
//!
//! # tower_governor
//!
//! ```text
//! let config = GovernorConfigBuilder::default()
//!     .per_second(2)                               // one request in two seconds...
//!     .burst_size(5)                               // ...after five at once
//!     .key_extractor(SmartIpKeyExtractor)
//!     .use_headers()
//!     .finish()
//!     .unwrap();
//!
//! let limiter = config.limiter().clone();
//! std::thread::spawn(move || loop {
//!     std::thread::sleep(Duration::from_secs(60));
//!     tracing::info!("rate limiting storage size: {}", limiter.len());
//!     limiter.retain_recent();
//! });
//!
//! let app = Router::new()
//!     .route("/", get(hello))
//!     .layer(GovernorLayer::new(config).error_handler(|error| ...));
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! ```
//!
//! ```
//! use axum::{Router, body::Body, extract::connect_info::MockConnectInfo, routing::get};
//! use http::{Request, StatusCode};
//! use std::{net::SocketAddr, time::Duration};
//! use tower::ServiceExt;
//! use tower_floodgate::{
//!     keyed::{ClientIp, KeyedLimitLayer, Rule},
//!     server::http_rejection,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let limit = KeyedLimitLayer::new(
//!     Rule::new("client", ClientIp::behind(["10.0.0.0/8"])) // the networks of your proxies
//!         .at_most(5, Duration::from_secs(10)) // five at once; one in two seconds in the long run
//!         .max_keys(100_000), // the memory; there is no sweep
//! );
//! let clients = limit.handle("client");
//!
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(limit.reject_with(http_rejection)); // 429 and Retry-After, rounded up
//!
//! // In the place of `into_make_service_with_connect_info::<SocketAddr>()`:
//! let app = app.layer(MockConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
//! for _ in 0..5 {
//!     let response = app.clone().oneshot(Request::new(Body::empty())).await.unwrap();
//!     assert_eq!(response.status(), StatusCode::OK);
//! }
//! let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(response.headers()["retry-after"], "11");
//! assert_eq!(clients.live_keys(), 1); // `limiter.len()`
//! # }
//! ```
//!
//! | tower_governor | here |
//! | --- | --- |
//! | `per_second(2)`, `per_millisecond(..)`, `period(..)`: the time of one request, with `burst_size(5)` | [`at_most(5, 5 * period)`](#a-bucket-as-a-window); `burst_size(1)` is the same exactly |
//! | `GovernorConfig::default()`, `secure()` | `at_most(8, 4 s)`, `at_most(2, 8 s)` |
//! | `PeerIpKeyExtractor` | [`ClientIp::peer`](crate::keyed::ClientIp::peer): IPv6 by /64, mapped addresses as IPv4 |
//! | `SmartIpKeyExtractor`: the left-most entry of the first line, of any sender | [`ClientIp::behind`](crate::keyed::ClientIp::behind): the right-most that is not a proxy's, of trusted networks |
//! | `GlobalKeyExtractor` | [`Rule::global`](crate::keyed::Rule::global) |
//! | `impl KeyExtractor`, with a `String` for each request | a function `\|request: &Request<Body>\| Option<K>`, or a [`Key`](crate::keyed::Key), which allocates nothing |
//! | `Err(UnableToExtractKey)`, a 500 | the request [shares one quota](crate::keyed::Rule::without_key) with all others without a key |
//! | `use_headers()` | [`KeyedLimitLayer::rate_limit_headers`](crate::keyed::KeyedLimitLayer::rate_limit_headers) |
//! | `retry-after`, rounded down, and 0 below a second | rounded up, at least 1, and of the longest of all windows |
//! | `x-ratelimit-after`, the body `Too Many Requests! Wait for 1s` | [`http_rejection_with_body`](crate::server::http_rejection_with_body()) |
//! | `error_handler(..)` | `reject_with(..)` |
//! | `methods(vec![Method::POST])` | [`exempt`](crate::keyed::Rule::exempt) for the others, or the layer on a method: `post(..).layer(..)` |
//! | the thread, `retain_recent()`, `shrink_to_fit()` | nothing: memory is fixed |
//! | `limiter().len()` | `live_keys()`: the keys that hold a permit |
//! | an `Arc<GovernorConfig>` in several layers | clones of the layer |
//! | `finish().unwrap()` | a panic at the caller's line, or [`try_new`](crate::keyed::KeyedLimitLayer::try_new) |
//! | `RateLimiter::keyed`, `check_key`, `check_key_n` | [`Rule::cost`](crate::keyed::Rule::cost); the decision is made by the service |
//! | `until_key_ready`, in any order | [`wait`](crate::keyed::KeyedLimitLayer::wait): first come, first served within a key |
//! | two layers, of which the outer one counts what the inner one rejects | two rules, or two windows, decided together |
//! | time of `quanta` | tokio's: `tokio::time::pause` controls tests |
//!
//! # limits and slowapi
//!
//! | limits, slowapi | here |
//! | --- | --- |
//! | `key_func=get_remote_address` | [`ClientIp`](crate::keyed::ClientIp) |
//! | `hit(item, "user", id)` | a rule with the key `(user, id)` |
//! | `"10/minute"` | `at_most(10, minute)`, or [`quota("10/minute".parse()?)`](crate::keyed::Rule::quota) |
//! | `"10/minute;100/hour"`: items that pass count although a later one rejects | [`quotas`](crate::keyed::Rule::quotas), decided together |
//! | `default_limits`: for each key and each URL | a key `(client, path)`; [`MatchedPath`](crate::keyed::MatchedPath) for the route |
//! | `application_limits` | a rule on the whole `Router` |
//! | `shared_limit` | a clone of the layer |
//! | `cost=3`, `cost=f` | [`cost`](crate::keyed::Rule::cost) |
//! | `exempt`, `exempt_when` | [`exempt`](crate::keyed::Rule::exempt) |
//! | `moving-window`: exact when it decides, a list of times for each key, and keys that stay | exact when the request is issued, in 34 bytes for each key |
//! | `fixed-window`: up to twice the limit in a window | the same `at_most` |
//! | a key that is empty: not limited | shares one quota with all requests without a key |
//! | `get_window_stats(item, key)`, `clear(item, key)` | [`remaining`](crate::keyed::RuleHandle::remaining), [`forget`](crate::keyed::RuleHandle::forget) |
//! | 429 with `{"error": "Rate limit exceeded: 10 per 1 minute"}` | `reject_with` |
//!
//! # express-rate-limit
//!
//! | express-rate-limit | here |
//! | --- | --- |
//! | `windowMs`, `limit`: a window from the first request, up to twice the limit in a span | `at_most(limit, window)` |
//! | `limit: (req) => ...` | [`plans`](crate::keyed::Rule::plans) |
//! | `keyGenerator` | a key function |
//! | `ipv6Subnet: 56` | [`ipv6_prefix(56)`](crate::keyed::ClientIp::ipv6_prefix); the default here is 64 |
//! | `app.set('trust proxy', 'loopback, 10.0.0.0/8')` | [`ClientIp::behind`](crate::keyed::ClientIp::behind); a network of everything is an error |
//! | `skip` | [`exempt`](crate::keyed::Rule::exempt) |
//! | `skipSuccessfulRequests`, `requestWasSuccessful` | [`failures_only`](crate::keyed::Rule::failures_only) |
//! | `handler`, `message`, `statusCode` | `reject_with` |
//! | `standardHeaders: 'draft-8'` | [`rate_limit_headers`](crate::keyed::KeyedLimitLayer::rate_limit_headers): the same syntax |
//! | `Retry-After`, only with headers | on each 429 of [`http_rejection`](crate::server::http_rejection()) |
//! | `resetKey`, `getKey` | [`forget`](crate::keyed::RuleHandle::forget), [`remaining`](crate::keyed::RuleHandle::remaining) |
//! | rate-limiter-flexible: `blockDuration`, `block(key, secs)` | [`penalty`](crate::keyed::Rule::penalty), [`pause_for`](crate::keyed::RuleHandle::pause_for) |
//! | `MemoryStore`: grows with the keys of two windows | [`max_keys`](crate::keyed::Rule::max_keys) |
//! | express-slow-down, a timer for each request | [`wait`](crate::keyed::KeyedLimitLayer::wait), with bounded queues |
//! | several middlewares, of which the outer ones count what the inner ones reject | rules, decided together |
//!
//! # nginx
//!
//! | nginx | here |
//! | --- | --- |
//! | `limit_req_zone $binary_remote_addr zone=z:10m rate=10r/s; limit_req zone=z;` | `at_most(1, 100 ms)`, exactly |
//! | `... burst=20;` (20 wait) | the same with [`wait(2 s)`](crate::keyed::KeyedLimitLayer::wait) and `max_queue_per_key(20)` |
//! | `... burst=20 nodelay;` (21 at once, then 10 in a second) | `at_most(21, 2_100 ms)`, or [two windows](#a-bucket-as-a-window) |
//! | `rate=30r/m`, kept in thousandths of a request per second | `at_most(1, 2 s)` |
//! | two `limit_req`, of client and server | two rules, decided together |
//! | `limit_conn` | [`max_in_flight`](crate::keyed::Rule::max_in_flight) |
//! | `limit_req_dry_run on` | [`dry_run`](crate::keyed::Rule::dry_run) |
//! | `limit_req_status 429` (the default is 503) | 429, and a `Retry-After` |
//! | an empty key, by `map` or `geo`: not limited | [`exempt`](crate::keyed::Rule::exempt), or [`WithoutKey::Exempt`](crate::keyed::WithoutKey::Exempt) |
//! | `set_real_ip_from`, `real_ip_header`, `real_ip_recursive on` | [`ClientIp::behind`](crate::keyed::ClientIp::behind) |
//! | a full zone forgets the key that was looked up least recently, which has its burst again | a key that holds a permit is never forgotten |
//!
//! # ASP.NET Core
//!
//! | ASP.NET Core | here |
//! | --- | --- |
//! | `AddFixedWindowLimiter("name", ...)` and its siblings: one limit for all clients | [`Rule::global`](crate::keyed::Rule::global) |
//! | `AddPolicy`, `RateLimitPartition.GetSlidingWindowLimiter(key, ...)` | a rule with a key |
//! | `PermitLimit`, `Window`; sliding windows issue nearly twice the limit in a span shorter than the window | `at_most` |
//! | token bucket: `TokenLimit`, `TokensPerPeriod`, `ReplenishmentPeriod` | `at_most(limit, limit / tokens * period)` |
//! | `GetConcurrencyLimiter` | [`max_in_flight`](crate::keyed::Rule::max_in_flight) |
//! | `QueueLimit`: for each key, and none in total | [`wait`](crate::keyed::KeyedLimitLayer::wait), with `max_queue_per_key` and `max_queue` |
//! | `GetNoLimiter` | [`exempt`](crate::keyed::Rule::exempt) |
//! | `CreateChained`, a global limiter and that of an endpoint: windows that agreed keep their permits | rules, decided together |
//! | `RejectionStatusCode` (503), `OnRejected` | 429, `reject_with` |
//! | `MetadataName.RetryAfter`: none for sliding windows | on each rejection by a window |
//! | `AttemptAcquire(resource, permitCount)`; the middleware asks for 1 | [`cost`](crate::keyed::Rule::cost) |
//! | `GetStatistics(resource)`, which makes the limiter | [`remaining`](crate::keyed::RuleHandle::remaining), which makes nothing |
//!
//! # Envoy and HAProxy
//!
//! | Envoy, HAProxy | here |
//! | --- | --- |
//! | Envoy: `token_bucket { max_tokens, tokens_per_fill, fill_interval }` of a descriptor | `at_most(max, max / tokens_per_fill * fill_interval)` |
//! | `max_dynamic_descriptors`: 20, and the key that is dropped begins anew | [`max_keys`](crate::keyed::Rule::max_keys) |
//! | `filter_enforced` at 0 % | [`dry_run`](crate::keyed::Rule::dry_run) |
//! | HAProxy: `stick-table type ipv6 size 100k store http_req_rate(10s)`, `deny if { sc_http_req_rate(0) gt 20 }` | `at_most(20, 10 s)`; denied requests do not count |
//! | `http_err_rate` | [`failures_only`](crate::keyed::Rule::failures_only) |
//! | `conn_cur` | [`max_in_flight`](crate::keyed::Rule::max_in_flight) |
//! | a ban: `http-request deny if { sc_get_gpc0(0) gt 0 }`, for as long as the entry lives | [`penalty`](crate::keyed::Rule::penalty); [`pause_for`](crate::keyed::RuleHandle::pause_for) of the handle |
//! | a full table with `nopurge`: not limited | shares an [overflow](crate::keyed#a-full-table) |
