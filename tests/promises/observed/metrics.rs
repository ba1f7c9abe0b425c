use std::time::Duration;

use metrics::Unit;
use tower::{Layer, Service, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, WindowRateLimitLayer,
    backpressure::{Class, Terms},
    keyed::{KeyedLimitLayer, Rule},
    observe::{self, Limits},
};

use super::recorded::TestRecorder;
use crate::support::{Probe, WakeCounter, ms, poll_ready, secs};

/// The keys of the metrics of events, and of the gauges.
fn keys(name: &str, kind: &str) -> (Vec<String>, Vec<String>) {
    let full = |metric: &&str| match metric.split_once('/') {
        Some((metric, reason)) => {
            format!("floodgate_{metric}{{limiter={name:?},kind={kind:?},reason={reason:?}}}")
        }
        None => format!("floodgate_{metric}{{limiter={name:?},kind={kind:?}}}"),
    };
    let is_of_kind = |metric: &&&str| kind == "window" || !metric.starts_with("pause");
    let events = [
        "limit_changes_total",
        "pause_seconds",
        "pauses_total",
        "permits_unused_total",
        "queue_wait_seconds",
        "requests_admitted_total",
        "requests_cancelled_total",
        "requests_rejected_total/closed",
        "requests_rejected_total/queue_full",
        "requests_rejected_total/wait_timeout",
    ];
    let mut gauges = vec!["limit", "queue_age_seconds", "remaining", "requests_queued"];
    match kind {
        "concurrency" => gauges.push("requests_in_flight"),
        _ => gauges.extend(["paused_seconds", "requests_issued_total", "window_seconds"]),
    }
    (events.iter().filter(is_of_kind).map(full).collect(), gauges.iter().map(full).collect())
}

#[tokio::test(start_paused = true)]
async fn o3_labels_are_the_name_the_kind_and_the_reason() {
    let recorder = TestRecorder::new();
    let layer = recorder.while_in(|| WindowRateLimitLayer::new(1, secs(60)).name("github"));
    let limited = layer.clone().max_queue(0).layer(Probe::new());
    let limits = Limits::from_iter([layer.handle()]);
    limits.add(ConcurrencyBackpressureLayer::new(5).handle()); // without a name
    let (events, gauges) = keys("github", "window");
    // Each has a value before its first event.
    assert_eq!(recorder.read().keys(), events);

    for request in 0..1_000 {
        let _ = limited.clone().oneshot(request).await;
    }
    recorder.while_in(|| limits.record_metrics());
    let mut all = [events, gauges].concat();
    all.sort();
    assert_eq!(recorder.read().keys(), all);
}

#[tokio::test(start_paused = true)]
async fn o4_recorder_that_is_installed_late_gets_all_later_events() {
    let (early, late) = ["early", "late"]
        .map(|name| {
            let layer = ConcurrencyBackpressureLayer::new(2).name(name);
            (layer.layer(Probe::new()), layer.handle())
        })
        .into();
    for (service, _) in [&early, &late] {
        service.clone().oneshot(1).await.unwrap();
    }
    let recorder = TestRecorder::new();
    let _guard = recorder.install();
    early.0.clone().oneshot(2).await.unwrap();
    let counter = |name| {
        format!("floodgate_requests_admitted_total{{limiter={name:?},kind=\"concurrency\"}}")
    };
    let recorded = recorder.read();
    assert_eq!(recorded.counter(&counter("early")), 1);
    assert!(!recorded.keys().contains(&&*counter("late")));

    // Recording the gauges registers the rest.
    Limits::from_iter([early.1.clone(), late.1.clone()]).record_metrics();
    let recorded = recorder.read();
    assert_eq!(recorded.counter(&counter("late")), 0);
    for name in ["early", "late"] {
        let (events, gauges) = keys(name, "concurrency");
        let missing = |key: &String| !recorded.keys().contains(&key.as_str());
        assert_eq!([events, gauges].concat().into_iter().find(missing), None);
    }
    late.0.oneshot(3).await.unwrap();
    assert_eq!(recorder.read().counter(&counter("late")), 1);
    assert_eq!(early.1.snapshot().counts.unwrap().admitted, 2);
}

#[tokio::test(start_paused = true)]
async fn o1_gauges_are_the_readings_of_the_handles() {
    let recorder = TestRecorder::new();
    let _guard = recorder.install();
    let concurrency = ConcurrencyBackpressureLayer::new(5).name("in flight");
    let window = WindowRateLimitLayer::new(3, secs(60)).name("rate");
    let limits = Limits::new();
    limits.add(concurrency.handle());
    limits.add(window.handle());
    let mut holders = [(); 2].map(|()| concurrency.layer(Probe::new()));
    for holder in &mut holders {
        holder.ready().await.unwrap();
    }
    window.layer(Probe::new()).oneshot(1).await.unwrap();
    window.handle().pause_for(secs(10));
    let wakes = WakeCounter::new();
    let mut waiting = window.layer(Probe::new());
    assert!(poll_ready(&mut waiting, &wakes.waker()).is_pending());
    tokio::time::advance(secs(4)).await;

    limits.record_metrics();
    let recorded = recorder.read();
    let of = |metric: &str, name: &str, kind: &str| {
        recorded.gauge(&format!("floodgate_{metric}{{limiter={name:?},kind={kind:?}}}"))
    };
    let concurrency = |metric| of(metric, "in flight", "concurrency");
    let window = |metric| of(metric, "rate", "window");
    let names = ["limit", "requests_in_flight", "remaining", "requests_queued"];
    assert_eq!(names.map(concurrency), [5.0, 2.0, 3.0, 0.0]);
    let names = ["limit", "remaining", "requests_queued", "window_seconds", "paused_seconds"];
    assert_eq!(names.map(window), [3.0, 0.0, 1.0, 60.0, 6.0]);
    let issued = "floodgate_requests_issued_total{limiter=\"rate\",kind=\"window\"}";
    assert_eq!(recorded.counter(issued), 1);
}

#[tokio::test(start_paused = true)]
async fn o1_limits_of_one_kind_and_name_are_added_up() {
    let recorder = TestRecorder::new();
    let _guard = recorder.install();
    let layer = WindowRateLimitLayer::new(3, secs(60)).name("rate").per_service();
    let services = [(); 2].map(|()| layer.layer(Probe::new()));
    let limits: Limits = services.iter().map(|service| service.handle()).collect();
    limits.add(ConcurrencyBackpressureLayer::new(7).name("rate").handle());
    let [mut one, mut other] = services;
    for request in 0..2 {
        one.ready().await.unwrap().call(request).await.unwrap();
    }
    other.ready().await.unwrap().call(2).await.unwrap();
    one.handle().pause_for(secs(5));
    other.handle().pause_for(secs(9));
    limits.record_metrics();
    limits.record_metrics();

    let recorded = recorder.read();
    let key = |metric: &str| format!("floodgate_{metric}{{limiter=\"rate\",kind=\"window\"}}");
    let gauge = |metric| recorded.gauge(&key(metric));
    assert_eq!(["limit", "remaining", "paused_seconds"].map(gauge), [6.0, 0.0, 9.0]);
    let counter = |metric| recorded.counter(&key(metric));
    let names = ["requests_issued_total", "requests_admitted_total", "pauses_total"];
    assert_eq!(names.map(counter), [3, 3, 2]);
    assert_eq!(recorded.histogram(&key("pause_seconds")), [5.0, 9.0]);
}

#[tokio::test(start_paused = true)]
async fn o1_wait_of_each_admitted_request_is_recorded() {
    let recorder = TestRecorder::new();
    let layer = recorder
        .while_in(|| WindowRateLimitLayer::new(2, secs(1)).name("rate").max_wait(ms(1_500)));
    let calls = (0..6).map(|request| tokio::spawn(layer.layer(Probe::new()).oneshot(request)));
    let results = futures::future::join_all(calls).await;
    assert_eq!(results.iter().filter(|result| result.as_ref().unwrap().is_err()).count(), 2);
    let waits =
        recorder.read().histogram("floodgate_queue_wait_seconds{limiter=\"rate\",kind=\"window\"}");
    assert_eq!(waits, [0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn o3_each_metric_is_described_and_stands_on_the_page() {
    let recorder = TestRecorder::new();
    let _guard = recorder.install();
    let limits = Limits::new();
    limits.add(ConcurrencyBackpressureLayer::new(5).name("one").handle());
    limits.add(WindowRateLimitLayer::new(5, secs(1)).name("other").handle());
    let [of, dry] = ["rule", "dry"].map(|name| Rule::global(name).at_most(5, secs(1)));
    let rules = KeyedLimitLayer::new((of.count_admitted(), dry.dry_run()));
    ["rule", "dry"].into_iter().for_each(|rule| limits.add(rules.handle(rule)));
    limits.record_metrics();
    let recorded = recorder.read();
    let page = include_str!("../../../src/observe/mod.rs");
    for (name, (unit, text)) in recorded.descriptions() {
        let is_time = name.ends_with("_seconds");
        assert_eq!(unit, Some(if is_time { Unit::Seconds } else { Unit::Count }), "{name}");
        assert!(text.is_some_and(|text| text.ends_with('.')), "{name}");
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

#[test]
fn o1_buckets_rise_and_tell_waits_from_none() {
    for buckets in [&observe::QUEUE_WAIT_BUCKETS[..], &observe::PAUSE_BUCKETS] {
        assert!(buckets.is_sorted_by(|one, next| one < next));
    }
    // A wait takes a tick of tokio's timer at least.
    assert!(Duration::from_secs_f64(observe::QUEUE_WAIT_BUCKETS[0]) <= ms(1));
}

#[tokio::test(start_paused = true)]
async fn o1_a14_rejections_of_a_class_are_recorded_with_its_name() {
    let recorder = TestRecorder::new();
    let _guard = recorder.install();
    let layer = ConcurrencyBackpressureLayer::new(1).name("api").max_queue(0).by_request(
        |class: &Option<Class>| class.map_or(Terms::new(), |of| Terms::new().class(of)),
    );
    let handle = layer.handle();
    let _permit = handle.try_acquire().unwrap();
    let service =
        layer.layer(tower::service_fn(async |_: Option<Class>| Ok::<_, std::io::Error>(())));
    let [critical, sheddable] = [Some(Class::Critical), Some(Class::Sheddable)];
    for class in [critical, sheddable, sheddable, None] {
        service.clone().oneshot(class).await.unwrap_err();
    }
    let recorded = recorder.read();
    let of = |labels: &str| {
        let labels = format!("limiter=\"api\",kind=\"concurrency\",reason=\"queue_full\"{labels}");
        recorded.counter(&format!("floodgate_requests_rejected_total{{{labels}}}"))
    };
    assert_eq!(of(",class=\"critical\""), 1);
    assert_eq!(of(",class=\"sheddable\""), 2);
    assert_eq!(of(""), 1);
    let by_class = handle.rejected_by_class().unwrap();
    assert_eq!((by_class.critical, by_class.normal, by_class.sheddable), (1, 0, 2));
}
