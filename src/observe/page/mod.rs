//! A page that draws limits live, as an axum `Router`.
//!
//! With the feature `axum`. The router goes at any path of an application's own router:
//!
//! ```
//! use axum::{Router, body::{Body, to_bytes}, extract::Request, routing::get};
//! use tower::ServiceExt;
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer,
//!     observe::{Limits, page::LimitsPage},
//!     server::http_rejection,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let in_flight = ConcurrencyBackpressureLayer::new(100)
//!     .name("public")
//!     .max_queue(20)
//!     .reject_with(http_rejection);
//! let limits = Limits::new();
//! limits.add(in_flight.handle());
//!
//! // Serves the public.
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(in_flight);
//! // Serves the operators, on a port of its own: `http://127.0.0.1:9000/limits`.
//! let admin: Router = Router::new().nest("/limits", LimitsPage::new(limits).into_router());
//!
//! let response = admin.oneshot(Request::get("/limits/snapshot").body(Body::empty())?).await?;
//! let json: serde_json::Value =
//!     serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await?)?;
//! assert_eq!(json[0]["kind"], "concurrency");
//! assert_eq!(json[0]["name"], "public");
//! assert_eq!(json[0]["limit"], 100);
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! | route | response |
//! | --- | --- |
//! | `/` | the page, one HTML document that loads nothing else |
//! | `/events` | [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html): a JSON array of [`Limits::snapshots`](super::Limits::snapshots) at once, then once in each [`interval`](LimitsPage::interval) |
//! | `/snapshot` | the array once |
//!
//! The page shows each limit of the set in the order of addition: its name, a chart of the last
//! minute, and a table with all numbers of its [`Snapshot`](super::Snapshot), with their changes in
//! that minute. A limit without a name is shown by its position. The charts begin when the page is
//! opened: the server keeps no history. If the server is gone, the page says so, and connects anew
//! by itself.
//!
//! Of a [rule](crate::keyed::Rule) of a keyed limit, it shows the limits of a key, the live keys,
//! and a table of the keys that are [rejected most](crate::keyed::Rule::track_top): what each uses
//! now, and bounds of its rejections, of which those of a minute ago count half.
//!
//! Of a limit that many processes [share](crate::shared), it shows the permits that are leased by
//! all of them, and those that this process holds. A store that is away is told in red, with the
//! time since then. Without a name, the limit has that of its quota. Of a [quota for each
//! key](crate::shared#a-quota-for-each-key), it shows the number of keys that are kept, and the
//! sums over them.
//!
//! # Mounting
//!
//! - **On a port of its own, or behind authentication.** The page has none. It changes nothing, but
//!   it tells the names, the limits and the load to each reader.
//! - **`nest("/limits", ...)` serves `/limits`**, and no `/limits/`. `merge` serves it at the root.
//!   The page finds its streams by its own address, so a proxy may cut or add a prefix.
//! - **Outside the layers that it shows.** The page is needed when a limit rejects. The stream of
//!   an open page has no end, so with [`until_body_ends`](crate::server::until_body_ends) it would
//!   hold a permit.
//! - **With [`end_streams_when`](LimitsPage::end_streams_when)** if the server shuts down
//!   gracefully, which waits for open pages.
//!
//! # Costs
//!
//! Without an open page, none. Each open page costs one snapshot of each limit per interval, and
//! its serialization: ten pages cost ten. A snapshot at the limit takes the mutex that waiters
//! take. That of a rule looks at each slot of its key table, that of a shared quota for each key at
//! each key that is kept. An event is made when the connection has room for it, so a slow viewer
//! gets fewer events, and none is kept. The stream of a page that was closed ends at the next write
//! at the latest.
//!
//! Browsers open up to six connections to one server of HTTP/1.1, and an open page holds one: a
//! seventh tab of one browser waits.
//!
//! # Security of the page
//!
//! Its `Content-Security-Policy` allows its own script and style by their hashes, and requests to
//! its own server. Names, and labels of keys, which clients may choose, are set as text. So one
//! with markup is shown as it is.

mod events;
mod router;

pub use self::router::LimitsPage;
