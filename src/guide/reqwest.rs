//! A client of reqwest.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use reqwest::{Client, Request, redirect, retry};
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
//!     WindowRateLimitLayer,
//!     client::{Attempts, HttpClassifier, HttpHints},
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     // The layers count each attempt, so reqwest makes none by itself.
//!     let reqwest = Client::builder()
//!         .retry(retry::never())
//!         .redirect(redirect::Policy::none())
//!         .build()?;
//!     let policy = ExponentialRetry::new(5)
//!         .classify(HttpClassifier::new().assume_no_redirects())
//!         .clone_with(Request::try_clone);
//!     let rate = WindowRateLimitLayer::new(100, Duration::from_secs(1));
//!     let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
//!     let client = ServiceBuilder::new()
//!         .layer(ConcurrencyBackpressureLayer::new(10))
//!         .layer(ExponentialRetryLayer::new(policy))
//!         .layer(rate)
//!         .layer(pause)
//!         .service(reqwest.clone());
//!
//!     let request = reqwest.get("http://127.0.0.1:3000/").build()?;
//!     let response = client.clone().oneshot(request).await?;
//!     println!("{} at attempt {}", response.status(), Attempts::from_response(&response).get());
//!     Ok(())
//! }
//! ```
//!
//! - A streamed body can't be cloned, and is sent once. A hook is told its failure with
//!   `clone_with(ByTryClone)`.
//! - If reqwest follows redirects, leave out
//!   [`assume_no_redirects`](crate::client::HttpClassifier::assume_no_redirects): its error doesn't
//!   tell which of the requests failed.
//! - A limit with a bound rejects by an error: the error type is then `BoxError`, and
//!   [`Rejected::find`](crate::Rejected::find) finds the rejection in it.
