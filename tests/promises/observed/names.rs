use tower::{Layer, Service, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, WindowRateLimitLayer,
    observe::{Limits, Snapshot},
};

use super::counted;
use crate::support::{Probe, WakeCounter, poll_ready, secs};

#[test]
fn c7_o3_name_of_no_letters_is_an_invalid_setting() {
    let concurrency = ConcurrencyBackpressureLayer::new(1).try_name("").unwrap_err();
    let window = WindowRateLimitLayer::new(1, secs(1)).try_name(String::new()).unwrap_err();
    for invalid in [concurrency, window] {
        assert_eq!(invalid.to_string(), "name is \"\": it must be a text that is not empty");
    }
}

#[test]
fn c7_o3_limit_has_one_name() {
    let layer = ConcurrencyBackpressureLayer::new(1).name("github");
    let handle = layer.handle();
    let again = layer.clone().name("github");
    assert_eq!(again.handle().name(), Some("github"));
    let invalid = layer.clone().max_queue(3).try_name("gitlab").unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "name is \"gitlab\": it must be \"github\", as the limit is named already"
    );
    assert_eq!(handle.name(), Some("github"));
}

#[test]
fn o3_layers_services_handles_and_snapshots_of_a_limit_share_the_name() {
    let layer = WindowRateLimitLayer::new(5, secs(1));
    let before = layer.handle();
    assert_eq!((before.name(), before.snapshot().name), (None, None));
    let layer = layer.max_queue(1).name(String::from("github")).reject_with_box_error();
    let service = layer.layer(Probe::new());
    for handle in [before, layer.handle(), service.handle()] {
        assert_eq!(handle.name(), Some("github"));
        assert_eq!(handle.snapshot().name.as_deref(), Some("github"));
        assert!(format!("{handle:?}").contains("name: \"github\""));
    }
    assert!(format!("{layer:?}").contains("name: \"github\""));
    assert!(!format!("{:?}", WindowRateLimitLayer::new(5, secs(1))).contains("name"));
}

#[tokio::test(start_paused = true)]
async fn c1_o3_limits_per_service_share_the_name_and_nothing_else() {
    let layer = ConcurrencyBackpressureLayer::new(5).name("github").per_service();
    let (one, other) = (layer.layer(Probe::new()), layer.layer(Probe::new()));
    let handles = [one.handle(), other.handle()];
    one.oneshot(1).await.unwrap();
    assert_eq!(handles.each_ref().map(|handle| handle.name()), [Some("github"); 2]);
    assert_eq!(handles.map(|handle| counted(handle.snapshot())[0]), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn o1_limit_without_a_name_counts_rejections_only() {
    let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(0);
    let handle = layer.handle();
    let mut service = layer.layer(Probe::new());
    service.ready().await.unwrap().call(1).await.unwrap();
    service.ready().await.unwrap().call(2).await.unwrap_err();
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.counts, snapshot.rejected.queue_full), (None, 1));

    // Named later, it counts from then on.
    let named = layer.name("github");
    service.ready().await.unwrap().call(3).await.unwrap_err();
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.rejected.queue_full, 2);
    assert_eq!(counted(snapshot), [0; 6]);
    handle.set_limit(2).unwrap();
    named.layer(Probe::new()).oneshot(4).await.unwrap();
    assert_eq!(counted(handle.snapshot()), [1, 0, 0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn o1_each_event_is_counted_once() {
    let layer = WindowRateLimitLayer::new(2, secs(60)).name("github");
    let handle = layer.handle();
    let wakes = WakeCounter::new();
    let mut service = layer.layer(Probe::new());
    service.ready().await.unwrap().call(1).await.unwrap();
    let mut ready = service.clone();
    ready.ready().await.unwrap();
    let mut waiting = service.clone();
    assert!(poll_ready(&mut waiting, &wakes.waker()).is_pending());
    assert!(poll_ready(&mut waiting, &wakes.waker()).is_pending());
    let mut cancelled = service.clone();
    assert!(poll_ready(&mut cancelled, &wakes.waker()).is_pending());
    assert_eq!(counted(handle.snapshot()), [2, 0, 2, 0, 0, 0]);

    drop(cancelled);
    drop(ready); // its permit goes to `waiting`
    waiting.ready().await.unwrap().call(2).await.unwrap();
    assert_eq!(counted(handle.snapshot()), [3, 1, 2, 1, 0, 0]);

    handle.pause_for(secs(10));
    handle.pause_for(secs(5)); // no later than the first
    handle.pause_for(secs(0));
    handle.pause_for(secs(20));
    handle.set_limit(3).unwrap();
    handle.set_limit(0).unwrap_err();
    handle.set_window(secs(30)).unwrap();
    assert_eq!(counted(handle.snapshot()), [3, 1, 2, 1, 2, 2]);
    assert_eq!(handle.rejected().total(), 0);
}

#[tokio::test(start_paused = true)]
async fn o1_set_of_limits_has_a_snapshot_of_each_with_its_kind() {
    let limits = Limits::new();
    limits.add(ConcurrencyBackpressureLayer::new(5).name("one").handle());
    limits.add(WindowRateLimitLayer::new(5, secs(1)).handle());
    let kinds = |snapshot: &Snapshot| (snapshot.kind(), snapshot.name().map(|it| it.to_string()));
    let snapshots: Vec<_> = limits.snapshots().iter().map(kinds).collect();
    assert_eq!(snapshots, [("concurrency", Some("one".into())), ("window", None)]);
}
