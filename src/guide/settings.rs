//! Settings of a file, and a change of them while the program runs.
//!
//! The [settings](crate::config) are values that `serde` reads. The layers are made of them, and
//! their handles take new ones later:
//!
//! ```
//! use std::{fs, path::Path, time::Duration};
//!
//! use serde::Deserialize;
//! use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureHandle, DeadlineLayer, ExponentialRetryHandle, WindowRateLimitHandle,
//!     config::{ConcurrencyConfig, RetryConfig, WindowConfig},
//! };
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     requests: ConcurrencyConfig,
//!     quota: WindowConfig,
//!     retry: RetryConfig,
//! }
//!
//! impl Settings {
//!     fn read(path: &Path) -> Result<Self, BoxError> {
//!         Ok(toml::from_str(&fs::read_to_string(path)?)?)
//!     }
//! }
//!
//! struct Handles {
//!     requests: ConcurrencyBackpressureHandle,
//!     quota: WindowRateLimitHandle,
//!     retry: ExponentialRetryHandle,
//! }
//!
//! impl Handles {
//!     /// Reads the file again. Changes nothing if it is not valid, or does not fit what runs.
//!     fn reload(&self, path: &Path) -> Result<(), BoxError> {
//!         let settings = Settings::read(path)?;
//!         settings.requests.check(&self.requests)?;
//!         settings.quota.check(&self.quota)?;
//!         settings.retry.check(&self.retry)?;
//!
//!         settings.requests.apply(&self.requests)?;
//!         settings.quota.apply(&self.quota)?;
//!         settings.retry.apply(&self.retry)?;
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! # let file = std::env::temp_dir().join(format!("floodgate-{}.toml", std::process::id()));
//! # let path = &file;
//! fs::write(
//!     path,
//!     r#"
//!     [requests]
//!     max_in_flight = 5
//!     max_queue = 20
//!
//!     [quota]
//!     quota = "2 per second"
//!     max_wait = "1m"
//!
//!     [retry]
//!     max_attempts = 3
//!     max_elapsed = "30s"
//!     backoff = { base = "100ms", max = "5s" }
//!     "#,
//! )?;
//!
//! let settings = Settings::read(path)?;
//! let (requests, quota) = (settings.requests.try_layer()?, settings.quota.try_layer()?);
//! let retry = settings.retry.try_policy()?.name("client"); // a handle needs a name
//! let handles =
//!     Handles { requests: requests.handle(), quota: quota.handle(), retry: retry.handle() };
//! let mut client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(90))) // a call with all its waits
//!     .layer(requests)
//!     .retry(retry)
//!     .layer(quota)
//!     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
//! assert_eq!(client.ready().await?.call(1).await?, 1);
//!
//! // The file is edited.
//! let text = fs::read_to_string(path)?;
//! fs::write(path, text.replace("2 per second", "500/1h").replace("= 20", "= 0"))?;
//! handles.reload(path)?;
//! assert_eq!(handles.quota.quota().to_string(), "500/1h");
//! assert_eq!(handles.requests.max_queue(), Some(0));
//!
//! // A mistake changes nothing, and is reported with its line.
//! fs::write(path, text.replace("\"1m\"", "60"))?;
//! let error = handles.reload(path).unwrap_err().to_string();
//! assert!(error.contains("line 8"));
//! assert!(error.contains("max_wait is 60: it must be text with a unit, such as \"30s\""));
//! assert_eq!(handles.quota.quota().to_string(), "500/1h");
//!
//! // So does a change that a running limit cannot make: the limit of requests stays, too.
//! let fixed = text.replace("2 per second\"", "9/s\"\nshape = \"fixed\"");
//! fs::write(path, fixed.replace("max_in_flight = 5", "max_in_flight = 50"))?;
//! let error = handles.reload(path).unwrap_err().to_string();
//! assert!(error.starts_with("shape is fixed: it must be sliding"), "{error}");
//! assert_eq!(handles.requests.limit(), 5);
//! # fs::remove_file(path)?;
//! # Ok(())
//! # }
//! ```
//!
//! - **When to reload** is a matter of the program: by a signal (`tokio::signal`), a request to an
//!   administrative route, or a task that compares the time of the file's last change.
//! - **A change is one step** for each limit: no request is admitted by a part of it. Requests that
//!   wait keep their position and their deadline.
//! - **All is checked before the first value is applied**: the values when the file is read, and
//!   next by `check` what each limit can do. A file that adds or removes the budget of a retry, or
//!   changes the [shape](crate::config::WindowConfig) of a window, fails and changes nothing: it
//!   needs a restart. So does a bound on a limit that has a service without a
//!   [reject policy](crate::reject), which those of `try_layer` have.
//! - **A rejection inside the retry is retried** as any error, by default: here that of the quota
//!   after its `max_wait`. The `DeadlineLayer` outermost bounds the call with all its attempts and
//!   waits.
//! - **A bound of the file is that of the limit.** It replaces the bounds of all layers of the
//!   limit, and where it is absent they have none.
//! - A server answers with a response in the place of an error by
//!   `settings.requests.try_layer()?.reject_with(http_rejection)`.
//!
//! # Limits per key
//!
//! The file has the numbers of a [rule](crate::config::RuleConfig), and the program its name, its
//! key, and the function that tells a request's plan. Here is a server behind a reverse proxy that
//! limits clients by their addresses, and tenants by their plans:
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use serde::Deserialize;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     config::{ClientIpConfig, RuleConfig},
//!     keyed::{KeyedLimitLayer, PeerAddr},
//!     server::http_rejection,
//! };
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     clients: ClientIpConfig,
//!     client: RuleConfig,
//!     tenant: RuleConfig,
//! }
//!
//! const FILE: &str = r#"
//!     [clients]
//!     networks = ["10.0.0.0/8"]
//!
//!     [client]
//!     quotas = "10/s; 1000/h"
//!     max_keys = 50_000
//!
//!     [tenant]
//!     quotas = "2/h" # of tenants without a plan in this list
//!     without_key = "exempt"
//!
//!     [tenant.plans]
//!     paid = "5/h"
//! "#;
//!
//! /// Inserted by the authentication.
//! #[derive(Clone)]
//! struct Tenant {
//!     id: u64,
//!     plan: String,
//! }
//!
//! fn tenant<B>(request: &Request<B>) -> Option<&Tenant> {
//!     request.extensions().get()
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let settings: Settings = toml::from_str(FILE)?;
//! let limit = KeyedLimitLayer::try_new((
//!     settings.client.try_rule("client", settings.clients.try_key()?)?,
//!     settings.tenant.try_rule_with_plans(
//!         "tenant",
//!         |request: &Request<_>| tenant(request).map(|tenant| tenant.id),
//!         |request: &Request<_>| tenant(request).map(|tenant| tenant.plan.as_str()),
//!     )?,
//! ))?;
//! let tenants = limit.handle("tenant");
//! let server = ServiceBuilder::new()
//!     .layer(limit.reject_with(http_rejection))
//!     .service(service_fn(|_: Request<String>| async {
//!         Ok::<_, std::io::Error>(Response::new(String::from("hello")))
//!     }));
//!
//! for (id, plan, quota) in [(1, "paid", 5), (2, "none", 2)] {
//!     for n in 0..=quota {
//!         let request = Request::builder()
//!             .extension(PeerAddr::UNIX_SOCKET)
//!             .extension(Tenant { id, plan: plan.to_owned() })
//!             .body(String::new())?;
//!         let status = server.clone().oneshot(request).await?.status();
//!         assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, n == quota);
//!     }
//! }
//!
//! // The file is edited: a dry run begins at once, and other limits need a new layer.
//! let text = FILE.replace("\"exempt\"", "\"exempt\"\ndry_run = true");
//! toml::from_str::<Settings>(&text)?.tenant.apply(&tenants)?;
//! assert!(tenants.is_dry_run());
//! let text = FILE.replace("2/h", "3/h");
//! let error = toml::from_str::<Settings>(&text)?.tenant.apply(&tenants).unwrap_err();
//! assert!(error.to_string().starts_with("quotas is \"3/1h\": it must be 2/1h, as that of"));
//! # Ok(())
//! # }
//! ```
//!
//! - **Only a dry run begins and ends at run time.** The state of a key counts in units of its
//!   quotas and in steps of its windows, which are fixed when the layer is made, and so is the
//!   number of keys. A file with other limits fails in `check`, and needs a restart. A program that
//!   makes a new layer begins with new keys, each with a whole quota.
//! - **Limits among which a running program chooses are plans.** They may differ in their quotas
//!   and in their requests in flight, not in the lengths of their windows. A key keeps what it has
//!   used when its plan changes.
//! - **The limits of the rule itself are the strictest**, since a request has them if its plan is
//!   not in the file.
//! - The settings of requests that wait are a [value](crate::config::KeyedQueueConfig) of their
//!   own: `settings.queue.layer(limit)`.
