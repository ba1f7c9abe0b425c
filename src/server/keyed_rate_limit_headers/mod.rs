//! The state of a request's keys as headers of its response.
//!
//! A layer made by [`rate_limit_headers`](crate::keyed::KeyedLimitLayer::rate_limit_headers)
//! reports each window of each rule of a [keyed limit](crate::keyed), as it stands for the key of
//! the request. Put it directly **outside** of the limit, so that it sees accepted and
//! [rejected](super::http_rejection()) requests alike, with the keys that the limit reads:
//!
//! ```
//! use axum::{Router, body::Body, extract::Request, http::StatusCode, routing::get};
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_floodgate::{
//!     keyed::{BearerToken, KeyedLimitLayer, Rule},
//!     server::http_rejection,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let limit = KeyedLimitLayer::new((
//!     Rule::new("user", BearerToken)
//!         .at_most(1, Duration::from_secs(10))
//!         .at_most(100, Duration::from_secs(3600)),
//!     Rule::global("all").at_most(5_000, Duration::from_secs(60)),
//! ))
//! .reject_with(http_rejection);
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(ServiceBuilder::new().layer(limit.rate_limit_headers()).layer(limit));
//!
//! let get = || {
//!     let request = Request::get("/").header("authorization", "Bearer of-user-7");
//!     app.clone().oneshot(request.body(Body::empty()).unwrap())
//! };
//! get().await?;
//! tokio::time::advance(Duration::from_millis(4_500)).await;
//! let response = get().await?;
//! assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(response.headers()["retry-after"], "6");
//! assert_eq!(
//!     response.headers()["ratelimit-policy"],
//!     r#""user";q=1;w=10, "user/1h";q=100;w=3600, "all";q=5000;w=60"#,
//! );
//! assert_eq!(
//!     response.headers()["ratelimit"],
//!     r#""user";r=0;t=6, "user/1h";r=99;t=3776, "all";r=4999;t=60"#,
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # Meaning of the headers
//!
//! Both are those of [draft-ietf-httpapi-ratelimit-headers][draft], revision 10, as the [headers of
//! a rate limit](super::rate_limit_headers#meaning-of-the-headers) are: one line with an item for
//! each window, in the order of the rules. Each response reports the moment at which its head was
//! complete.
//!
//! | parameter | meaning | |
//! | --- | --- | --- |
//! | `q` | the limit, of the plan of the request | |
//! | `w` | the window in whole seconds | left out if it isn't whole |
//! | `r` | permits that are left to the key | not less than 0, with a smaller plan or a debt too |
//! | `t` | seconds within which no more than `r` can be issued | rounded up, never 0 |
//! | `pk` | the key, by choice | see [partition keys](#partition-keys) |
//!
//! With nothing left, `t` is the time until there is a permit, as in `Retry-After`. Otherwise it is
//! the time after which all permits that are held now have expired, and not shorter than the
//! window: a client that spreads `r` over `t` does not become faster than the policy allows
//! (section 8.5 of the draft). Permits of a key [expire late](crate::keyed#exactness) by up to a
//! twentieth of the window, so `t` may be that much longer than `w`.
//!
//! [`with_x_ratelimit`](KeyedRateLimitHeadersLayer::with_x_ratelimit) adds `X-RateLimit-Limit`,
//! `X-RateLimit-Remaining` and `X-RateLimit-Reset` (in seconds since 1970) of one window: that with
//! the smallest `r`, and of several with the same, that with the longest `t`.
//!
//! # Names
//!
//! The draft has a policy for each window, with a name of its own. The first window of a rule has
//! the name of the rule; each further one adds a slash and its length, as a
//! [quota](crate::Quota#as-text) writes it: `"user"`, `"user/1h"`. So a name stays as it is when
//! a window is added behind.
//!
//! # What is reported
//!
//! | request | items of the rule |
//! | --- | --- |
//! | with a key | those of its key; while the table is full, of the overflow that the key shares |
//! | without a key | those of the quota that such requests [share](crate::keyed::WithoutKey::Share); none if they are exempt or rejected |
//! | exempt from the rule | none |
//! | with a cost of 0, or one that is too large | those of its key |
//! | at a [dry run](crate::keyed::Rule::dry_run) | none: a client that obeys headers would be slowed by a rule that admits everything |
//!
//! Requests [in flight](crate::keyed::Rule::max_in_flight) are not reported: the number has changed
//! by the time the client reads it. A response for which no rule has an item gets no header.
//!
//! # Partition keys
//!
//! The draft lets a server tell which key a response is about, so that a client with several of
//! them tells their quotas apart. [`with_partition_keys`] adds eight bytes in base64,
//! `pk=:bGlnaHQgdy4=:`, to each item that is of a key. They are a hash of the key with a random
//! seed of the layer, so they tell nothing about its value, and nothing about its place in the
//! table. They are off by default, because most clients have one key, and because
//!
//! - they are of one process: after a restart, or from another instance behind a load balancer, the
//!   same key has other bytes;
//! - they tell a client which of its requests share a key, such as accounts of one tenant;
//! - they add 18 bytes to each item of both headers.
//!
//! # Caveats
//!
//! - The functions of the rules (keys, plans, costs, exemptions) are called once more for each
//!   request. A layer between this one and the limit must not change what they read.
//! - Reading takes no lock and acquires nothing. Of keys that another request uses meanwhile, `r`
//!   and `t` are of two moments.
//! - The two values are allocated for each response, and grown by each item.
//! - A request of a cost above `r` may be rejected while `r` is not 0. `Retry-After` has the time
//!   for its cost, of all rules, at the moment of the rejection. It takes precedence (section 7 of
//!   the draft).
//! - A key that is not secret, such as a [path](crate::keyed::Path), tells each client the load of
//!   the others.
//! - An error of the service passes unchanged.
//!
//! [draft]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
//! [`with_partition_keys`]: KeyedRateLimitHeadersLayer::with_partition_keys

pub mod future;
mod headers;
mod layer;
mod service;

pub use self::{layer::KeyedRateLimitHeadersLayer, service::KeyedRateLimitHeaders};
