//! Counts of a named retry.

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use futures::future::join_all;
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    observe::{Limits, Snapshot},
    retry::{Backoff, Decision, Jitter, RetryBudget, StopReason, Verdict},
};

use crate::support::{ms, secs};

/// Requests are numbered; each number fails in a way of its own.
fn verdict(request: &u32, result: &Result<u32, u32>) -> Verdict {
    match (request % 6, result) {
        (0, _) | (_, Ok(_)) => Verdict::Done,
        (1, _) => Verdict::Never,
        (2, _) => Verdict::RetryAfter(secs(3600)),
        (3, _) => Verdict::RetryAfter(secs(8)),
        _ => Verdict::Retry,
    }
}

#[tokio::test(start_paused = true)]
async fn o5_counts_agree_with_the_decisions() {
    let decisions = Arc::new(Mutex::new(Vec::<Decision>::new()));
    let seen = Arc::clone(&decisions);
    let policy = ExponentialRetry::new(4)
        .backoff(Backoff::new(secs(1), secs(4)).jitter(Jitter::None))
        .max_elapsed(secs(15))
        .budget(RetryBudget::builder(0.5).floor_per_second(0).build())
        .classify(verdict)
        .on_decision(move |decision| seen.lock().unwrap().push(*decision))
        .name("counted");
    let layer = ExponentialRetryLayer::new(policy);
    let service = layer.layer(service_fn(|n: u32| ready(if n % 5 == 4 { Ok(n) } else { Err(n) })));
    join_all((0..60).map(|n| service.clone().oneshot(n))).await;

    let decisions = decisions.lock().unwrap();
    let count = |wanted: Option<StopReason>| {
        decisions.iter().filter(|decision| decision.retry_in().err() == wanted).count() as u64
    };
    let handle = layer.handle();
    let give_ups = handle.give_ups();
    assert_eq!((handle.requests(), handle.retries()), (60, count(None)));
    assert_eq!(give_ups.max_attempts, count(Some(StopReason::MaxAttempts)));
    assert_eq!(give_ups.max_elapsed, count(Some(StopReason::MaxElapsed)));
    assert_eq!(give_ups.max_hint, count(Some(StopReason::MaxHint)));
    assert_eq!(give_ups.budget_exhausted, count(Some(StopReason::BudgetExhausted)));
    assert_eq!(give_ups.retry_forbidden, count(Some(StopReason::RetryForbidden)));
    assert_eq!(give_ups.total() + handle.retries(), decisions.len() as u64);
    assert_eq!(count(None), 30, "the budget pays for as many");
    // Each of these took place.
    for reason in [StopReason::MaxElapsed, StopReason::MaxHint, StopReason::BudgetExhausted] {
        assert_ne!(count(Some(reason)), 0, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn o5_last_attempt_is_counted_without_a_hook() {
    for max_attempts in [1, 3] {
        let layer = ExponentialRetryLayer::new(ExponentialRetry::new(max_attempts).name("api"));
        let service = layer.layer(service_fn(|_: u32| ready(Err::<(), _>("no answer"))));
        service.oneshot(0).await.unwrap_err();
        let handle = layer.handle();
        assert_eq!(handle.retries(), u64::from(max_attempts) - 1);
        assert_eq!(handle.give_ups().max_attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn o5_retry_of_a_dropped_request_stays_counted() {
    let layer = ExponentialRetryLayer::new(ExponentialRetry::new(3).name("api"));
    let service = layer.layer(service_fn(|_: u32| ready(Err::<(), _>("no answer"))));
    tokio::time::timeout(ms(0), service.oneshot(0)).await.unwrap_err();
    let handle = layer.handle();
    assert_eq!((handle.requests(), handle.retries(), handle.give_ups().total()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn o5_snapshot_holds_the_settings_and_counts() {
    let policy = ExponentialRetry::new(3)
        .backoff(Backoff::new(ms(100), secs(2)))
        .max_elapsed(secs(30))
        .budget(RetryBudget::builder(0.5).floor_per_second(1).max_saved(7).build())
        .name("github");
    let layer = ExponentialRetryLayer::new(policy);
    let service = layer.layer(service_fn(|n: u32| ready(if n > 0 { Ok(()) } else { Err("no") })));
    for n in (0..5).rev() {
        let _ = service.clone().oneshot(n).await;
    }
    let limits = Limits::new();
    limits.add(layer.handle());
    let snapshots = limits.snapshots();
    assert_eq!(snapshots[0].name().map(|name| &**name), Some("github"));
    let Snapshot::Retry(snapshot) = &snapshots[0] else { panic!("{snapshots:?}") };
    assert_eq!(*snapshot, layer.handle().snapshot());
    assert_eq!((snapshot.max_attempts, snapshot.max_hint), (3, secs(60)));
    assert_eq!((snapshot.backoff_base, snapshot.backoff_max), (ms(100), secs(2)));
    assert_eq!(snapshot.max_elapsed, Some(secs(30)));
    assert_eq!((snapshot.requests, snapshot.retries), (5, 2));
    assert_eq!(snapshot.give_ups.max_attempts, 1);
    let budget = snapshot.budget.unwrap();
    assert_eq!((budget.ratio, budget.floor_per_second, budget.max_saved), (0.5, 1, 7));
    assert_eq!(budget.saved, 0, "of five halves, two retries are paid");

    #[cfg(feature = "serde")]
    assert_eq!(
        serde_json::to_value(&snapshots[0]).unwrap(),
        serde_json::json!({
            "kind": "retry",
            "name": "github",
            "max_attempts": 3,
            "backoff_base_seconds": 0.1,
            "backoff_max_seconds": 2.0,
            "max_hint_seconds": 60.0,
            "max_elapsed_seconds": 30.0,
            "budget": { "ratio": 0.5, "floor_per_second": 1, "max_saved": 7, "saved": 0 },
            "requests": 5,
            "retries": 2,
            "give_ups": {
                "max_attempts": 1, "max_elapsed": 0, "deadline": 0, "max_hint": 0,
                "budget_exhausted": 0, "retry_forbidden": 0, "not_replayable": 0,
            },
        })
    );
}

#[cfg(feature = "metrics")]
mod with_recorder {
    use std::collections::BTreeMap;

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

    use super::*;

    /// Returns the values by name and labels: counts, and the sums of histograms.
    fn values(snapshotter: &Snapshotter) -> BTreeMap<String, Vec<f64>> {
        let entries = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let key = key.key();
            let labels: Vec<_> =
                key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
            let values = match value {
                DebugValue::Counter(count) => vec![count as f64],
                DebugValue::Gauge(gauge) => vec![gauge.into_inner()],
                DebugValue::Histogram(all) => all.into_iter().map(|v| v.into_inner()).collect(),
            };
            (format!("{}{{{}}}", key.name(), labels.join(",")), values)
        });
        entries.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn o5_metrics_agree_with_the_handle() {
        let policy = ExponentialRetry::new(3)
            .backoff(Backoff::new(secs(1), secs(4)).jitter(Jitter::None))
            .budget(RetryBudget::builder(0.5).floor_per_second(0).build())
            .classify(verdict)
            .name("api");
        // Named before there is a recorder.
        let layer = ExponentialRetryLayer::new(policy);
        let handle = layer.handle();
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let _recorder = metrics::set_default_local_recorder(&recorder);

        let service =
            layer.layer(service_fn(|n: u32| ready(if n % 5 == 4 { Ok(n) } else { Err(n) })));
        join_all((0..60).map(|n| service.clone().oneshot(n))).await;
        handle.record_metrics();

        let values = values(&snapshotter);
        let sum = |key: &str| values.get(key).map_or(0.0, |values| values.iter().sum());
        let give_ups = |reason: &str| {
            sum(&format!("floodgate_retry_give_ups_total{{limiter=api,reason={reason}}}")) as u64
        };
        let retries = sum("floodgate_retries_total{limiter=api,error_type=_OTHER}") as u64;
        assert_eq!((retries, handle.retries()), (30, 30));
        let counts = handle.give_ups();
        assert_eq!(give_ups("max_attempts"), counts.max_attempts);
        assert_eq!(give_ups("max_hint"), counts.max_hint);
        assert_eq!(give_ups("budget_exhausted"), counts.budget_exhausted);
        assert_eq!(give_ups("retry_forbidden"), counts.retry_forbidden);
        assert!(counts.retry_forbidden > 0 && counts.max_hint > 0);
        // Registered without an event.
        assert!(values.contains_key("floodgate_retry_give_ups_total{limiter=api,reason=deadline}"));
        let attempts = &values["floodgate_retry_attempts{limiter=api}"];
        assert_eq!((attempts.len(), attempts.iter().sum::<f64>()), (60, 60.0 + 30.0));
        assert_eq!(values["floodgate_retry_backoff_seconds{limiter=api}"].len(), 30);
        assert_eq!(values["floodgate_retry_budget_balance{limiter=api}"], [0.0]);
    }

    /// Drops all values, and allocates nothing for one.
    struct Unrecorded {
        _not_a_noop: u8,
    }

    impl metrics::Recorder for Unrecorded {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn c6_o5_request_that_succeeds_at_once_allocates_nothing_with_a_recorder() {
        metrics::with_local_recorder(&Unrecorded { _not_a_noop: 0 }, || {
            crate::allocations::assert_no_allocation(ExponentialRetry::new(3).name("api"));
        });
    }
}
