//! Counts of a named retry.

use std::{
    future::ready,
    sync::{Arc, Mutex},
    thread,
};

use futures::{executor::block_on, future::join_all};
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    observe::{Limits, Snapshot},
    retry::{Backoff, Decision, Jitter, RetryBudget, StopReason, Verdict, Waits, retry},
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
            "has_waits": false,
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

#[tokio::test(start_paused = true)]
async fn o5_snapshot_tells_that_the_backoff_is_not_used() {
    let with_waits =
        |policy: ExponentialRetry<_, _, _, _>| policy.waits(Waits::chain([secs(3600)]));
    let before_name = with_waits(ExponentialRetry::new(2)).name("api");
    let named = ExponentialRetry::new(2).name("api");
    let handle = named.handle();
    let after_name = named.waits(Waits::chain([secs(3600)]));
    assert!(before_name.handle().snapshot().has_waits);
    assert!(after_name.handle().snapshot().has_waits);
    assert!(!handle.snapshot().has_waits, "it steers the policy of before");
}

#[test]
fn o5_snapshot_under_load_has_no_more_give_ups_than_requests() {
    let policy = ExponentialRetry::new(1).name("api");
    let handle = policy.handle();
    let busy = thread::spawn(move || {
        for _ in 0..100_000 {
            block_on(retry(policy.clone(), || ready(Err::<(), ()>(())))).unwrap_err();
        }
    });
    while !busy.is_finished() {
        let snapshot = handle.snapshot();
        assert!(snapshot.give_ups.total() <= snapshot.requests, "{snapshot:?}");
    }
    busy.join().unwrap();
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.requests, snapshot.give_ups.max_attempts), (100_000, 100_000));
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
mod with_class {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use futures::FutureExt;
    use tower_floodgate::retry::{Classify, ErrorType};

    use super::*;

    /// Panics when it is asked for a class.
    #[derive(Clone)]
    struct Classless;

    impl Classify<(), (), ()> for Classless {
        fn classify(&self, (): &(), _: &Result<(), ()>) -> Verdict {
            Verdict::Retry
        }

        fn error_type(&self, _: &Result<(), ()>) -> ErrorType {
            panic!("no class")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn o5_retry_whose_class_panics_is_not_counted() {
        let budget = RetryBudget::builder(1.0).floor_per_second(0).build();
        let policy =
            ExponentialRetry::new(3).classify(Classless).budget(budget.clone()).name("api");
        let call = retry(policy.clone(), || ready(Err(())));
        assert!(catch_unwind(AssertUnwindSafe(|| call.now_or_never())).is_err());
        assert_eq!(budget.saved(), 1, "refunded");
        let handle = policy.handle();
        assert_eq!((handle.requests(), handle.retries(), handle.give_ups().total()), (1, 0, 0));
    }
}

#[cfg(feature = "metrics")]
mod with_recorder {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicU32, Ordering::SeqCst},
    };

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

    #[test]
    fn o5_balances_of_policies_of_one_name_are_added_up_and_a_shared_budget_once() {
        let recorder = DebuggingRecorder::new();
        let _recorder = metrics::set_default_local_recorder(&recorder);
        let budgets = [3, 1, 7].map(|saved| {
            let budget = RetryBudget::builder(1.0).build();
            (0..saved).for_each(|_| budget.deposit());
            budget
        });
        let [three, one, seven] = &budgets;
        let policies = [("api", three), ("api", one), ("api", three), ("other", seven)];
        let limits: Limits = policies
            .into_iter()
            .map(|(name, budget)| {
                ExponentialRetry::new(3).budget(budget.clone()).name(name).handle()
            })
            .collect();
        limits.add(ExponentialRetry::new(3).name("api").handle());
        limits.add(ExponentialRetry::new(3).name("unbounded").handle());
        limits.record_metrics();
        let values = values(&recorder.snapshotter());
        let balance =
            |name| values.get(&format!("floodgate_retry_budget_balance{{limiter={name}}}"));
        assert_eq!(balance("api"), Some(&vec![4.0]));
        assert_eq!(balance("other"), Some(&vec![7.0]));
        assert_eq!(balance("unbounded"), None, "0 is a balance that is exhausted");
    }

    /// Counts the descriptions of the counter of retries.
    #[derive(Default)]
    struct Described(AtomicU32);

    impl metrics::Recorder for Described {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            let is_of_retries = name.as_str() == "floodgate_retries_total";
            self.0.fetch_add(is_of_retries.into(), SeqCst);
        }
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

    #[tokio::test(start_paused = true)]
    async fn o5_counter_of_retries_is_described_once() {
        let policy = ExponentialRetry::new(3).name("api");
        // Before there is a recorder.
        retry(policy.clone(), || ready(Err::<(), ()>(()))).await.unwrap_err();
        let recorder = Described::default();
        let _recorder = metrics::set_default_local_recorder(&recorder);
        assert_eq!(recorder.0.load(SeqCst), 0);
        for _ in 0..3 {
            retry(policy.clone(), || ready(Err::<(), ()>(()))).await.unwrap_err();
        }
        assert_eq!((policy.handle().retries(), recorder.0.load(SeqCst)), (8, 1));
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
