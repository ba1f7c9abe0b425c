//! What is left of a rate limit is told on every response.
//!
//! Put it **outside** the [rate limit](crate::rate_limit), so that it sees what passes and what is
//! [turned away](super::respond()) alike:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     WindowRateLimitLayer,
//!     http::{self as limits, RateLimitFieldsLayer},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let limit = WindowRateLimitLayer::new(1, Duration::from_secs(60))
//!     .max_waiting(0)
//!     .respond(limits::respond);
//! let service = ServiceBuilder::new()
//!     .layer(RateLimitFieldsLayer::new("default", limit.handle()).with_x_ratelimit())
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
//! # What the fields say
//!
//! `RateLimit-Policy` and `RateLimit` are those of [draft-ietf-httpapi-ratelimit-headers][draft], as of its
//! revision 10: lists of strings with parameters (RFC 9651). The limit may be changed by its handle at any time;
//! each response tells of the moment at which its head was there.
//!
//! | | says | |
//! | --- | --- | --- |
//! | `q` | the limit | |
//! | `w` | the window in whole seconds | left out if it isn't whole: the draft knows no fractions, and rounded either way it would be another policy |
//! | `r` | how many could be issued now | 0 while paused, and while anybody waits |
//! | `t` | within so many seconds no more than `r` can be issued | rounded up, never 0 |
//!
//! A sliding window has no moment at which it begins anew, so what is `t`? If nothing is left, the time until
//! there is room, as in `Retry-After`. Otherwise the time after which everything that is used now has come
//! back: the whole window (for a fixed one, the rest of it). Places come back earlier than that, one by one. But
//! a client that spreads `r` over `t` must not come out faster than the policy allows (section 8.5 of the
//! draft), which it would if `t` were the time until the first of them.
//!
//! [`with_x_ratelimit`](RateLimitFieldsLayer::with_x_ratelimit) adds `X-RateLimit-Limit`,
//! `X-RateLimit-Remaining` and `X-RateLimit-Reset`. Nothing defines them. The limit and what remains are `q` and
//! `r`; the reset is when `t` is over as **seconds since 1970**, as the APIs of GitHub, GitLab and X have it.
//! (Others count from now. A client that takes the one for the other waits far too long, or not at all: leave
//! them off where nobody needs them.)
//!
//! # Several limits
//!
//! Each has its layer, and its name: `RateLimit` and `RateLimit-Policy` are lists, and a layer adds to what is
//! there already. There is no more than one set of `X-RateLimit-*`: what came from inside stays as it is.
//!
//! # Caveats
//!
//! - A reading costs a mutex that calls take only while somebody waits, and the fields cost their text.
//! - They tell of the limit as a whole. If all your clients share it, they learn how busy the others are.
//! - `Retry-After` is of the moment at which the request was turned away, `t` of the moment of the response, and
//!   of this limit only. Where both are, `Retry-After` counts (section 7 of the draft).
//! - An error of the service passes untouched.
//!
//! [draft]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/

mod fields;
pub mod future;
mod layer;
mod service;

pub use self::{layer::RateLimitFieldsLayer, service::RateLimitFields};
