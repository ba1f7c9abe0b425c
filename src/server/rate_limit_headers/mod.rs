//! The state of a rate limit as headers of each response.
//!
//! Put it **outside** the [rate limit](crate::rate_limit), so that it sees accepted and
//! [rejected](super::http_rejection()) requests alike:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     WindowRateLimitLayer,
//!     server::{RateLimitHeadersLayer, http_rejection},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let limit = WindowRateLimitLayer::new(1, Duration::from_secs(60))
//!     .max_queue(0)
//!     .reject_with(http_rejection);
//! let service = ServiceBuilder::new()
//!     .layer(RateLimitHeadersLayer::new("default", limit.handle()).with_x_ratelimit())
//!     .layer(limit)
//!     .service(service_fn(|_: Request<()>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//!
//! service.clone().oneshot(Request::new(())).await?;
//! tokio::time::advance(Duration::from_millis(20_500)).await;
//! let response = service.oneshot(Request::new(())).await?;
//! assert_eq!(response.status(), 429);
//! assert_eq!(response.headers()["retry-after"], "40");
//! assert_eq!(response.headers()["ratelimit-policy"], r#""default";q=1;w=60"#);
//! assert_eq!(response.headers()["ratelimit"], r#""default";r=0;t=40"#);
//! assert_eq!(response.headers()["x-ratelimit-limit"], "1");
//! assert_eq!(response.headers()["x-ratelimit-remaining"], "0");
//! # Ok(())
//! # }
//! ```
//!
//! # Meaning of the headers
//!
//! `RateLimit-Policy` and `RateLimit` are those of [draft-ietf-httpapi-ratelimit-headers][draft],
//! revision 10: lists of strings with parameters (RFC 9651). The handle may change the limit at any
//! time; each response reports the moment at which its head was complete.
//!
//! | parameter | meaning | |
//! | --- | --- | --- |
//! | `q` | the limit | |
//! | `w` | the window in whole seconds | left out if it isn't whole: the draft has no fractions, and a rounded window would be another policy |
//! | `r` | requests that could be issued now | 0 while paused, and while a request waits |
//! | `t` | seconds within which no more than `r` can be issued | rounded up, never 0 |
//!
//! A sliding window never begins anew, so `t` has two meanings. With nothing left, it is the time
//! until the next permit, as in `Retry-After`. Otherwise it is the time after which all permits in
//! use now have expired: the whole window (for a fixed one, the rest of it). Permits expire one by
//! one before that. But a client that spreads `r` over `t` must not become faster than the policy
//! allows (section 8.5 of the draft), as it would if `t` were the time until the first of them.
//!
//! [`with_x_ratelimit`](RateLimitHeadersLayer::with_x_ratelimit) adds `X-RateLimit-Limit`,
//! `X-RateLimit-Remaining` and `X-RateLimit-Reset`, which no standard defines. The first two are
//! `q` and `r`. The last is the end of `t` in **seconds since 1970**, as in the APIs of GitHub,
//! GitLab and X. Other APIs count from now, and a client that mistakes one for the other waits far
//! too long or not at all: leave them off unless your clients need them.
//!
//! # Limits that many processes share
//!
//! Of a [shared limit](crate::shared), `q` is that of the whole fleet. `r` is as far as the process
//! knows: its permits at hand, and those that were free at the latest reply of the store. Other
//! processes may have leased these since. With nothing left, `t` is the time of the next permit as
//! far as it is known, and at most the window or the rest of a longer pause. Otherwise `t` is the
//! window. While the store is away, the values are those of before; with
//! [`Away::Open`](crate::shared::Away::Open), more requests pass than they tell.
//!
//! # Several limits
//!
//! Each limit has its own layer and name: `RateLimit` and `RateLimit-Policy` are lists, to which a
//! layer appends. `X-RateLimit-*` exist once; those of the innermost layer stay.
//!
//! # Caveats
//!
//! - Reading the limit takes the mutex of its wait queue while no permit is available. The value of
//!   `RateLimit` is allocated for each response. That of `RateLimit-Policy` is shared while the
//!   settings are those of the first response.
//! - The headers describe the limit as a whole. If your clients share it, each learns the load of
//!   the others.
//! - `Retry-After` is of the moment of the rejection, and `t` of the moment of the response and of
//!   this limit only. Where both are present, `Retry-After` takes precedence (section 7 of the
//!   draft).
//! - An error of the service passes unchanged.
//!
//! [draft]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/

pub mod future;
mod headers;
mod layer;
mod service;

pub use self::{layer::RateLimitHeadersLayer, service::RateLimitHeaders};
