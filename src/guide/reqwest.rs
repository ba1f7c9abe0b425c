//! A client of reqwest.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use reqwest::{Client, redirect, retry};
//! use tower::{BoxError, ServiceBuilder};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExponentialRetry, PauseOnHintLayer, WindowRateLimitLayer,
//!     client::{Attempts, HttpClassifier, HttpHints, HttpRetryLayer, RequestBuilderExt},
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     // The layers count each attempt, so reqwest makes none by itself.
//!     let reqwest = Client::builder()
//!         .retry(retry::never())
//!         .redirect(redirect::Policy::none())
//!         .build()?;
//!     let policy =
//!         ExponentialRetry::new(5).classify(HttpClassifier::new().assume_no_redirects());
//!     let rate = WindowRateLimitLayer::new(100, Duration::from_secs(1));
//!     let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
//!     let client = ServiceBuilder::new()
//!         .layer(ConcurrencyBackpressureLayer::new(10))
//!         .layer(HttpRetryLayer::new(policy))
//!         .layer(rate)
//!         .layer(pause)
//!         .service(reqwest.clone());
//!
//!     let response = reqwest.get("http://127.0.0.1:3000/").send_through(&client).await?;
//!     println!("{} at attempt {}", response.status(), Attempts::from_response(&response).get());
//!     Ok(())
//! }
//! ```
//!
//! - [`send_through`](crate::client::RequestBuilderExt::send_through) takes the place of `send`.
//! - [`HttpRetryLayer`](crate::client::HttpRetryLayer) sends streamed bodies again, up to 64 KiB of
//!   each, and reads the bodies of failed responses, so that attempts share a connection.
//! - With reqwest a permit ends with the response head.
//!   `ConcurrencyBackpressureLayer::new(10).until_body_ends()` holds it to the end of the body
//!   (feature `server`, on by default).
//! - A body that breaks off after its head is not retried. Collecting it inside the retry makes it
//!   so: `.layer(CollectLayer::new())` below the line of the retry. The error type is then
//!   `BoxError`. See [`read_body`](crate::client::read_body).
//! - A timeout of the client or of a request (`RequestBuilder::timeout`) bounds each attempt, its
//!   body included.
//! - If reqwest follows redirects, leave out
//!   [`assume_no_redirects`](crate::client::HttpClassifier::assume_no_redirects): its error doesn't
//!   tell which of the requests failed.
//! - `.map_err(BoxError::from)` next to the client lets an error tell its attempts:
//!   [`Attempts::from_error`](crate::client::Attempts::from_error).
//! - A limit with a bound rejects by an error: the error type is then `BoxError`, and
//!   [`Rejected::find`](crate::Rejected::find) finds the rejection in it.
//!
//! # In a struct
//!
//! A box has a type that can be written. A [`DeadlineLayer`](crate::DeadlineLayer) outermost bounds
//! a call with all its waits and attempts.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use reqwest::{Client, Request, Response, retry};
//! use tower::{BoxError, ServiceBuilder, util::BoxCloneSyncService};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, DeadlineLayer, ExponentialRetry, PauseOnHintLayer,
//!     WindowRateLimitLayer,
//!     client::{CollectLayer, HttpClassifier, HttpHints, HttpRetryLayer, RequestBuilderExt},
//! };
//!
//! #[derive(Clone)]
//! struct Api {
//!     reqwest: Client,
//!     service: BoxCloneSyncService<Request, Response, BoxError>,
//! }
//!
//! impl Api {
//!     fn new() -> Result<Self, BoxError> {
//!         let reqwest = Client::builder().retry(retry::never()).build()?;
//!         // A POST is repeated after a 429, and not after a broken connection.
//!         let classify = HttpClassifier::new().any_method_if_rejected();
//!         let rate = WindowRateLimitLayer::new(100, Duration::from_secs(1));
//!         let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
//!         let service = ServiceBuilder::new()
//!             .layer(DeadlineLayer::new(Duration::from_secs(10)))
//!             .layer(ConcurrencyBackpressureLayer::new(8))
//!             .layer(HttpRetryLayer::new(ExponentialRetry::new(4).classify(classify)))
//!             .layer(rate.max_queue(1_000)) // rejects at once what would be too late
//!             .layer(CollectLayer::new()) // bodies of up to 1 MiB are a part of the attempt
//!             .layer(pause)
//!             .service(reqwest.clone());
//!         Ok(Self { reqwest, service: BoxCloneSyncService::new(service) })
//!     }
//!
//!     async fn create(&self, name: &str) -> Result<String, BoxError> {
//!         let request = self.reqwest.post("http://127.0.0.1:3000/items").body(name.to_owned());
//!         let response = request.send_through(&self.service).await?;
//!         Ok(response.error_for_status()?.text().await?)
//!     }
//! }
//! ```
//!
//! # Observed
//!
//! With names, the three parts are counted, and with the features `axum`, `metrics` and `tracing`
//! shown by a page, recorded as metrics, and traced with a span for each attempt:
//!
//! ```no_run
//! # #[cfg(all(feature = "axum", feature = "metrics", feature = "tracing"))]
//! # mod observed {
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use metrics_exporter_prometheus::PrometheusHandle;
//! use reqwest::{Client, Request, Response};
//! use tower::{ServiceBuilder, util::BoxCloneSyncService};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExponentialRetry, PauseOnHintLayer, WindowRateLimitLayer,
//!     client::{AttemptSpanLayer, HttpClassifier, HttpHints, HttpRetryLayer},
//!     observe::{Limits, page::LimitsPage},
//! };
//!
//! type Service = BoxCloneSyncService<Request, Response, reqwest::Error>;
//!
//! pub fn client(reqwest: Client, limits: &Limits) -> Service {
//!     let in_flight = ConcurrencyBackpressureLayer::new(10).name("github");
//!     let policy = ExponentialRetry::new(5)
//!         .classify(HttpClassifier::new().assume_no_redirects())
//!         .name("github"); // last, because each setter makes a policy of its own
//!     let rate = WindowRateLimitLayer::new(100, Duration::from_secs(1)).name("github");
//!     limits.add(in_flight.handle());
//!     limits.add(policy.handle());
//!     limits.add(rate.handle());
//!
//!     let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
//!     let service = ServiceBuilder::new()
//!         .layer(in_flight)
//!         .layer(HttpRetryLayer::new(policy))
//!         .layer(AttemptSpanLayer::new()) // inside the retry, outside the window
//!         .layer(rate)
//!         .layer(pause)
//!         .service(reqwest);
//!     BoxCloneSyncService::new(service)
//! }
//!
//! /// Serves the operators, on a port of its own.
//! pub fn admin(limits: Limits, prometheus: PrometheusHandle) -> Router {
//!     let page = LimitsPage::new(limits.clone());
//!     let metrics = move || async move {
//!         limits.record_metrics(); // the gauges of this moment
//!         prometheus.render()
//!     };
//!     Router::new().nest("/limits", page.into_router()).route("/metrics", get(metrics))
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! The [page of observation](crate::observe) lists the metrics and the events, and sets the buckets
//! of the exporter. The example `observe` runs such a client, with a dashboard.
