//! Counts, metrics and traces of limits.
//!
//! A limit is observed from the moment it has a name. Each of its events is counted for the handle,
//! recorded as a metric (feature `metrics`) and traced (feature `tracing`):
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_floodgate::{WindowRateLimitLayer, observe::Limits};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), std::io::Error> {
//! let layer = WindowRateLimitLayer::new(1, Duration::from_secs(1)).name("github");
//! let limits = Limits::new();
//! limits.add(layer.handle());
//!
//! let service = layer.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
//! service.clone().oneshot(1).await?;
//! service.oneshot(2).await?; // waits
//!
//! let snapshot = layer.handle().snapshot();
//! let counts = snapshot.counts.expect("the limit has a name");
//! assert_eq!((counts.admitted, counts.waited), (2, 1));
//! assert_eq!(limits.snapshots().len(), 1); // of all limits of a program, for a page or a log
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `axum`, `observe::page` draws a set of limits live in a browser. Retries are
//! observed alike: [`retry`](crate::retry#observation-and-control) has their counts, metrics and
//! events, and a set takes the handles of policies, too. So it does those of the
//! [rules](#rules-of-keyed-limits) of keyed limits, of [shared limits](#shared-limits), and of
//! those [of keys](#shared-limits-of-keys).
//!
//! # Costs
//!
//! - **A limit without a name** is not observed. Its calls take the same instructions as if there
//!   were no observation. Only its rejections are counted.
//! - **A limit with a name** counts by an atomic step per event, on a cache line that its calls use
//!   for nothing else. A call that does not wait still takes no mutex and allocates nothing. A
//!   request that waits reads the clock once more.
//! - **A metric** is recorded through a handle that is registered once per limit: no name is looked
//!   up and no label is built in a call. The recorder's own work comes on top, and may be more than
//!   the rest.
//! - **An event of `tracing`** that no subscriber wants costs a load and a comparison.
//!
//! # Metrics
//!
//! Metrics are recorded with the facade [`metrics`](https://docs.rs/metrics), so any of its
//! exporters takes them. Each has the labels `limiter`, which is the name of the limit, and `kind`:
//! `concurrency` or `window`. Those of [rules](#rules-of-keyed-limits) have the kind `rule`, and
//! those of [shared limits](#shared-limits) the kind `shared`, or `shared_keys` if they are [of
//! keys](#shared-limits-of-keys).
//!
//! | metric | type | unit | meaning |
//! | --- | --- | --- | --- |
//! | `floodgate_requests_admitted_total` | counter | requests | acquired a permit, with a wait or without; `acquire_many(n)` of a handle counts as `n` of them |
//! | `floodgate_requests_rejected_total` | counter | requests | were rejected; label `reason`: `queue_full`, `wait_timeout`, `closed`, or `too_late`, `concurrency` only; label `class` of a request with a [class](crate::backpressure#classes) |
//! | `floodgate_requests_cancelled_total` | counter | requests | were queued, and went away neither admitted nor rejected |
//! | `floodgate_permits_unused_total` | counter | permits | were acquired and released without a call |
//! | `floodgate_queue_wait_seconds` | histogram | seconds | of each admitted request, from its arrival to its permit; 0 without a wait; once for `acquire_many` |
//! | `floodgate_pauses_total` | counter | pauses | and extensions of one, `window` only |
//! | `floodgate_pause_seconds` | histogram | seconds | of each of them, from the call that pauses to the end, `window` only |
//! | `floodgate_limit_changes_total` | counter | changes | of the limit or the window by a handle; the same set again is none |
//! | `floodgate_requests_in_flight` | gauge | requests | from readiness to the end of the response, `concurrency` only |
//! | `floodgate_requests_queued` | gauge | requests | in the queue |
//! | `floodgate_limit` | gauge | requests | that may be in flight, or issued in a window |
//! | `floodgate_remaining` | gauge | requests | that could be admitted at once |
//! | `floodgate_queue_age_seconds` | gauge | seconds | that the first request in the queue has waited |
//! | `floodgate_window_seconds` | gauge | seconds | the length of the window, `window` only |
//! | `floodgate_paused_seconds` | gauge | seconds | the rest of the present pause, `window` only |
//! | `floodgate_requests_issued_total` | counter | requests | that were issued since the limit was created, `window` only; recorded with the gauges |
//!
//! **Counters and histograms** are recorded when the event happens, once a recorder is installed.
//! That may be later than the limit is named, as for a layer in a `LazyLock`: the handles are
//! registered with the first recorder that an event meets.
//!
//! **Gauges** are recorded by [`Limits`], when `record_metrics` is called: in the handler of a
//! scrape, as below, or at an interval before each push. Between two calls a gauge keeps its value,
//! so a queue that fills and empties in between is not seen. The histogram sees its waits.
//!
//! ```
//! # #[cfg(feature = "metrics")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use tower_floodgate::{
//!     ConcurrencyBackpressureLayer,
//!     observe::{
//!         Limits, PAUSE_BUCKETS, QUEUE_WAIT_BUCKETS, RETRY_ATTEMPTS_BUCKETS,
//!         RETRY_BACKOFF_BUCKETS, STORE_OUTAGE_BUCKETS, STORE_REQUEST_BUCKETS,
//!     },
//! };
//!
//! let full = |metric: &str| Matcher::Full(metric.into());
//! let prometheus = PrometheusBuilder::new()
//!     .set_buckets_for_metric(full("floodgate_queue_wait_seconds"), &QUEUE_WAIT_BUCKETS)?
//!     .set_buckets_for_metric(full("floodgate_pause_seconds"), &PAUSE_BUCKETS)?
//!     .set_buckets_for_metric(full("floodgate_retry_attempts"), &RETRY_ATTEMPTS_BUCKETS)?
//!     .set_buckets_for_metric(full("floodgate_retry_backoff_seconds"), &RETRY_BACKOFF_BUCKETS)?
//!     .set_buckets_for_metric(full("floodgate_store_request_seconds"), &STORE_REQUEST_BUCKETS)?
//!     .set_buckets_for_metric(full("floodgate_store_outage_seconds"), &STORE_OUTAGE_BUCKETS)?
//!     .install_recorder()?;
//!
//! let layer = ConcurrencyBackpressureLayer::new(100).name("api");
//! let limits = Limits::from_iter([layer.handle()]);
//! let app = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(layer)
//!     .route("/metrics", get(move || async move {
//!         limits.record_metrics();
//!         prometheus.render()
//!     }));
//! # let get = |path| axum::extract::Request::get(path).body(axum::body::Body::empty());
//! # tower::ServiceExt::oneshot(app.clone(), get("/")?).await?;
//! # let page = tower::ServiceExt::oneshot(app, get("/metrics")?).await?;
//! # let page = axum::body::to_bytes(page.into_body(), usize::MAX).await?;
//! # let page = String::from_utf8(page.into())?;
//! # let labels = r#"limiter="api",kind="concurrency""#;
//! # for line in [
//! #     format!("floodgate_requests_admitted_total{{{labels}}} 1\n"),
//! #     format!("floodgate_requests_in_flight{{{labels}}} 0\n"),
//! #     format!("floodgate_queue_wait_seconds_bucket{{{labels},le=\"0.001\"}} 1\n"),
//! # ] {
//! #     assert!(page.contains(&line), "{line} in {page}");
//! # }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "metrics"))]
//! # fn main() {}
//! ```
//!
//! Without buckets, this exporter makes summaries of histograms, which cannot be added up over
//! instances. It keeps each value of a histogram until it is rendered or `run_upkeep` is called.
//!
//! # Traces
//!
//! Events of [`tracing`](https://docs.rs/tracing) have the target `tower_floodgate`, are in the
//! span of the caller, and have the fields `limiter` and `kind`. Times are in seconds.
//!
//! | event | level | further fields |
//! | --- | --- | --- |
//! | `admitted` | TRACE | `permits` |
//! | `queued` | TRACE | |
//! | `admitted after a wait` | DEBUG | `permits`, `queued_for` |
//! | `cancelled` | DEBUG | |
//! | `permits unused` | DEBUG | `permits` |
//! | `rejected` | INFO | `reason`; `retry_after`, if it is known |
//! | `paused` | INFO | `paused_for` |
//! | `limit changed` | INFO | `limit`; `window` of a window |
//!
//! `queued_for` is only in `admitted after a wait`, and is the time in the queue alone, without the
//! backoffs of a retry.
//!
//! An event that admitted requests cause is below the level at which programs usually run, one that
//! changes the fate of requests is not. None is a warning: each is the effect of a setting. A
//! filter of `tower_floodgate=warn` turns them off, `tower_floodgate=debug` shows all waits. Only
//! [shared limits](#shared-limits) have warnings: of their store.
//!
//! # Rules of keyed limits
//!
//! A [`Rule`](crate::keyed::Rule) has a name from the beginning. Its rejections are always counted,
//! recorded and traced; the rest is by choice:
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_floodgate::{keyed::{KeyedLimitLayer, Rule}, observe::{Limits, Snapshot}};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let rule = Rule::new("tenant", |tenant: &u32| Some(*tenant))
//!     .at_most(2, Duration::from_secs(1))
//!     .count_admitted()
//!     .track_top(10);
//! let layer = KeyedLimitLayer::new(rule);
//! let limits = Limits::from_iter([layer.handle("tenant")]);
//! let service = layer.layer(service_fn(|_: u32| async { Ok::<_, std::io::Error>(()) }));
//! for tenant in [1, 1, 1, 2] {
//!     let _ = service.clone().oneshot(tenant).await;
//! }
//!
//! let Snapshot::Rule(snapshot) = limits.snapshots().remove(0) else { unreachable!() };
//! assert_eq!((snapshot.live_keys, snapshot.admitted), (2, Some(3)));
//! assert_eq!(snapshot.rejected.limit_reached, 1);
//! assert_eq!((snapshot.top[0].used, snapshot.top[0].limit), (2, 2));
//! # }
//! ```
//!
//! | | counted | asked for by |
//! | --- | --- | --- |
//! | rejections, by reason | when the rejection reaches its caller | |
//! | rejections of a [dry run](crate::keyed::Rule::dry_run) | when the request is decided | |
//! | admitted requests | when the request is issued with permits of the rule | [`count_admitted`](crate::keyed::Rule::count_admitted) |
//! | the keys that are rejected most | as a rejection; see [`TopKey`] | [`track_top`](crate::keyed::Rule::track_top) |
//! | requests in an overflow, live keys, the queue | in the states of the keys | |
//!
//! | metric, of the kind `rule` | type | unit | meaning |
//! | --- | --- | --- | --- |
//! | `floodgate_requests_rejected_total` | counter | requests | were rejected; label `reason`: `limit_reached`, `too_large`, `no_key`, `table_full`, `paused`, `queue_full` or `wait_timeout` |
//! | `floodgate_dry_run_rejections_total` | counter | requests | would have been, by a rule in a dry run; label `reason` |
//! | `floodgate_requests_admitted_total` | counter | requests | were issued with permits of the rule, if it counts them |
//! | `floodgate_requests_overflowed_total` | counter | requests | were decided in an overflow, because the table was full of live keys |
//! | `floodgate_live_keys` | gauge | keys | hold a permit, or have a request in flight |
//! | `floodgate_max_keys` | gauge | keys | are kept apart |
//! | `floodgate_requests_queued` | gauge | requests | wait at the rule |
//! | `floodgate_queue_age_seconds` | gauge | seconds | that the first of them has waited |
//! | `floodgate_top_key_rejections` | gauge | requests | of each key that is listed, at least, of which a minute halves each; label `rank`: from 1, the key that is rejected most |
//!
//! The two counters of rejections are recorded when they happen. All others are recorded by
//! `record_metrics`, the counters as totals: an admitted request calls no recorder. The gauge of
//! the live keys looks at each slot of the table.
//!
//! Of the events, a rule has `rejected`, and `would be rejected` in a dry run, both at INFO. An
//! admitted request is no event. **The value of a key is neither a label of a metric nor a field of
//! an event**: clients choose it, so there would be no bound. It is shown by
//! [`RuleHandle::top`](crate::keyed::RuleHandle::top), in snapshots and on the page, by the label
//! that the key [returns](crate::keyed::Key::label), for as many keys as the list has. The metric
//! has the rank of a key in the place of its value.
//!
//! # Shared limits
//!
//! A limit that many processes [share](crate::shared) has the metrics and the events of a window,
//! with the kind `shared`. `reason` may be `unavailable`, too: the store was away. Two of the
//! gauges and one counter mean something of their own:
//!
//! | metric | of a shared limit |
//! | --- | --- |
//! | `floodgate_limit` | requests that all processes may issue in a window |
//! | `floodgate_remaining` | permits at hand, and those that were free at the latest reply |
//! | `floodgate_requests_issued_total` | requests of this process, those that are about to be issued included |
//!
//! Between the process and the store:
//!
//! | metric, of the kind `shared` | type | unit | meaning |
//! | --- | --- | --- | --- |
//! | `floodgate_store_requests_total` | counter | requests to the store | that have ended; label `code`: `ok`, `timeout`, `invalid_reply`, `panic`, or that of the [error](crate::shared::StoreError) of the store |
//! | `floodgate_store_request_seconds` | histogram | seconds | of each of them with a reply: the round trip |
//! | `floodgate_store_outages_total` | counter | outages | the store [went away](crate::shared::Away), for each key that is kept |
//! | `floodgate_store_outage_seconds` | histogram | seconds | of each outage, once it is over |
//! | `floodgate_store_away` | gauge | limits | whose store is away: 1 or 0 for one limit of the name |
//! | `floodgate_store_away_seconds` | gauge | seconds | since the store is away; 0 if it is not |
//! | `floodgate_permits_free` | gauge | permits | that no process had leased at the latest reply |
//! | `floodgate_permits_pooled` | gauge | permits | at hand in this process |
//! | `floodgate_permits_held` | gauge | permits | of this process that may count in the store, used or not |
//! | `floodgate_permits_leased_total` | counter | permits | that the store has leased to this process |
//! | `floodgate_permits_lapsed_total` | counter | permits | that lapsed, or were given back, before they were used |
//! | `floodgate_permits_refunded_total` | counter | permits | unused ones that the store has taken back |
//! | `floodgate_requests_issued_late_total` | counter | requests | that were issued after the deadline of their lease |
//! | `floodgate_requests_issued_alone_total` | counter | requests | that were issued by the limit of this process alone, during an outage |
//! | `floodgate_requests_issued_unlimited_total` | counter | requests | that were issued without a limit, during an outage |
//! | `floodgate_store_epoch_changes_total` | counter | changes | of the history of the state: it was lost, or its server was started anew |
//! | `floodgate_store_clock_steps_total` | counter | steps | of the store's clock ahead, after each of which the process pauses for 1.4 windows |
//! | `floodgate_store_other_terms_total` | counter | replies | that told of another limit or window under the same name |
//!
//! The first four are recorded when they happen, and all others by `record_metrics`: a request that
//! finds a permit at hand records no more than one of a window does. The counters are the
//! [`StoreCounts`] of the snapshot, which count from the creation of the limit. A store has few
//! codes; from the 17th on, they are one, `other`.
//!
//! | event | level | further fields |
//! | --- | --- | --- |
//! | `store away` | WARN | `code`, `error`: once per outage |
//! | `store denies a right` | WARN | `error`, `remedy`: once, of an error with the code `no_permission` |
//! | `store back` | INFO | `away_for` |
//! | `epoch changed` | WARN | |
//! | `store clock set ahead` | WARN | `step` |
//! | `other terms` | WARN | `limit` and `window` of this process; once, and again after they are changed |
//! | `issued late` | DEBUG | |
//! | `store request` | TRACE | `code`, `took` |
//!
//! They have the fields `kind` and `quota`, the name of the quota in the store. They are traced
//! without a name, too; with one, they have the field `limiter`. All but `issued late` come from
//! the task that talks to the store, and are in no span. A warning is no effect of a setting, and
//! may cost the limit or the requests.
//!
//! # Shared limits of keys
//!
//! The keys of a [quota for each key](crate::shared#a-quota-for-each-key) would be a time series
//! each. So they have one name, and their events and metrics have the kind `shared_keys`, and no
//! key. They are those of a shared limit, each the sum over all keys, with these exceptions:
//!
//! | metric, of the kind `shared_keys` | type | unit | meaning |
//! | --- | --- | --- | --- |
//! | `floodgate_requests_rejected_total` | counter | requests | `reason` may be `no_key`, too: the request had none |
//! | `floodgate_kept_keys` | gauge | keys | are kept in this process |
//! | `floodgate_max_keys` | gauge | keys | that it keeps at most |
//! | `floodgate_limit` | gauge | requests | of a key that all processes may issue in a window |
//! | `floodgate_store_away` | gauge | keys | that are kept, and whose store is away |
//! | `floodgate_store_outages_total` | counter | outages | of each key that noticed: one outage counts for many; and so in `floodgate_store_outage_seconds` |
//!
//! Times of gauges are those of the key with the greatest. `floodgate_remaining`,
//! `floodgate_permits_free` and `floodgate_paused_seconds` are not recorded: they are of one key.
//! The counters are those of the keys that are kept and of all that went. A key for which there was
//! no room is added to the ones that `record_metrics` records when its last request and its leases
//! are over.
//!
//! Of an event of the store that all keys notice, one is traced: an outage until its end, a change
//! of the epoch and a step of the clock once a minute.
//!
//! # Cardinality
//!
//! The value of a label is a name given when a layer or a policy is built, a kind, a reason, one of
//! up to 20 codes of a store, a rank up to 100, or the [class](crate::retry::ErrorType) of a
//! failure that was retried: a status from 400 to 599, one of the 17 codes of gRPC, or one of a
//! handful of names. A classifier of your own may judge other statuses, and name classes of its
//! own. Nothing else of a request becomes a label. So the number of time series is bounded by the
//! number of names in the program. The limits of `per_service()` share their name, and so their
//! series.
//!
//! Limits of one kind and name count together. As gauges, those in one [`Limits`] are added up, and
//! of times the greatest is taken.
//!
//! # Not measured
//!
//! - The time of the response, and its success: an HTTP layer measures them. A limit does not know
//!   what its requests are.
//! - Requests of a limit without a name, and events before a limit was named or a recorder was
//!   installed.
//! - Rejections by a [`DeadlineLayer`](crate::DeadlineLayer), which has no limit.

#[cfg(feature = "metrics")]
mod buckets;
#[cfg(feature = "metrics")]
mod gauges;
mod limits;
#[cfg(feature = "axum")]
pub mod page;
mod snapshot;

#[cfg(feature = "metrics")]
pub use self::buckets::{
    PAUSE_BUCKETS, QUEUE_WAIT_BUCKETS, STORE_OUTAGE_BUCKETS, STORE_REQUEST_BUCKETS,
};
pub use self::{
    limits::{Handle, Limits},
    snapshot::Snapshot,
};
#[cfg(feature = "metrics")]
pub use crate::retry::{RETRY_ATTEMPTS_BUCKETS, RETRY_BACKOFF_BUCKETS};
#[cfg(feature = "shared-keys")]
pub use crate::shared::SharedKeysSnapshot;
pub use crate::{
    backpressure::ConcurrencySnapshot,
    keyed::{PlanSnapshot, RuleRejectedCounts, RuleSnapshot, TopKey},
    limiter::LimitCounts,
    rate_limit::WindowSnapshot,
    retry::{RetryBudgetSnapshot, RetrySnapshot},
    shared::{SharedSnapshot, StoreCounts},
};
