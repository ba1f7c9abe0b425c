//! Headers and JSON of a limit that many processes share.

use std::{convert::Infallible, time::Duration};

use http::{HeaderMap, Request, Response};
use tokio::time::{advance, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    WindowRateLimitLayer,
    server::{RateLimitHeadersLayer, http_rejection},
    shared::{Away, SharedRateLimitHandle, SharedWindow},
};

use crate::{secs, small_store::SmallStore};

/// A limit of 10 in 5 s, with its headers outside.
fn limited(
    store: &SmallStore,
) -> (
    impl Service<Request<()>, Response = Response<String>, Error = Infallible> + Clone,
    SharedRateLimitHandle,
) {
    let quota = SharedWindow::new(store.clone(), "api", 10, secs(5), Away::Closed);
    let limit = WindowRateLimitLayer::shared(quota).max_wait(Duration::ZERO);
    let handle = limit.handle();
    let service = ServiceBuilder::new()
        .layer(RateLimitHeadersLayer::new("api", limit.handle()).with_x_ratelimit())
        .layer(limit.reject_with(http_rejection))
        .service(service_fn(|_: Request<()>| async { Ok(Response::new(String::new())) }));
    (service, handle)
}

async fn get<S>(service: &S) -> (u16, HeaderMap)
where
    S: Service<Request<()>, Response = Response<String>, Error = Infallible> + Clone,
{
    let (parts, _) = service.clone().oneshot(Request::new(())).await.unwrap().into_parts();
    (parts.status.as_u16(), parts.headers)
}

#[tokio::test(start_paused = true)]
async fn w9_d7_headers_report_a_shared_limit_as_far_as_the_process_knows() {
    let store = SmallStore::new();
    let (service, handle) = limited(&store);
    let (status, headers) = get(&service).await;
    assert_eq!(
        (status, &headers["ratelimit-policy"]),
        (200, &r#""api";q=10;w=5"#.parse().unwrap())
    );
    assert_eq!(headers["x-ratelimit-limit"], "10");
    let remaining = handle.remaining();
    assert!((1..10).contains(&remaining), "{remaining}");
    // With something left, `t` is the window.
    assert_eq!(headers["ratelimit"], format!("\"api\";r={remaining};t=5"));
    assert_eq!(headers["x-ratelimit-remaining"], remaining.to_string());

    // Another process takes the rest. This one learns of it from the next reply.
    advance(secs(1)).await;
    store.state().elsewhere = 9;
    assert_eq!(handle.remaining(), handle.snapshot().free + handle.snapshot().pooled);
    let (status, headers) = get(&service).await;
    assert_eq!((status, handle.remaining()), (429, 0));
    // With nothing left, `t` is the time until the next permit, as in `Retry-After`.
    let wait = headers["retry-after"].to_str().unwrap();
    assert_eq!(headers["ratelimit"], format!("\"api\";r=0;t={wait}"));
    let wait: u64 = wait.parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
}

#[tokio::test(start_paused = true)]
async fn w9_reset_of_a_shared_limit_is_at_most_the_window_or_the_pause() {
    let store = SmallStore::new();
    let (service, handle) = limited(&store);
    get(&service).await;
    store.state().elsewhere = 10;
    sleep(secs(20)).await;
    let (status, headers) = get(&service).await;
    assert_eq!((status, &headers["ratelimit"]), (429, &r#""api";r=0;t=5"#.parse().unwrap()));
    handle.pause_for(secs(60));
    assert_eq!(get(&service).await.1["ratelimit"], r#""api";r=0;t=60"#);
    handle.close();
    let (status, headers) = get(&service).await;
    assert_eq!((status, &headers["ratelimit"]), (503, &r#""api";r=0"#.parse().unwrap()));
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn o7_json_of_a_shared_limit_has_its_state_and_its_counts() {
    use serde_json::json;
    use tower::Layer;
    use tower_floodgate::observe::{Limits, Snapshot};

    let store = SmallStore::new();
    let quota = SharedWindow::new(store.clone(), "api", 10, secs(5), Away::Open);
    let limit = WindowRateLimitLayer::shared(quota).name("fleet").max_queue(7);
    let limits = Limits::from_iter([limit.handle()]);
    let inner = service_fn(|(): ()| async { Ok::<_, Infallible>(()) });
    store.state().error = Some(("loading", "the data set is loaded"));
    limit.layer(inner).oneshot(()).await.unwrap();
    advance(Duration::from_millis(500)).await;
    let shown = serde_json::to_value(limits.snapshots()).unwrap();
    let snapshot = limit.handle().snapshot();
    assert_eq!(Snapshot::from(snapshot.clone()), limits.snapshots()[0]);
    let away_for = snapshot.away_for.expect("the store is away").as_secs_f64();
    assert!((0.4..=0.5).contains(&away_for), "{away_for}");
    let expected = json!([{
        "kind": "shared",
        "name": "fleet",
        "quota_name": "api",
        "limit": 10,
        "window_seconds": 5.0,
        "remaining": 10,
        "free": 10,
        "pooled": 0,
        "held": snapshot.held,
        "queued": 0,
        "queue_age_seconds": null,
        "paused_for_seconds": 0.0,
        "away_for_seconds": away_for,
        "round_trip_seconds": 0.001,
        "max_queue": 7,
        "max_wait_seconds": 30.0,
        "is_closed": false,
        "rejected": { "queue_full": 0, "wait_timeout": 0, "too_late": 0, "closed": 0 },
        "store": {
            "store_requests": snapshot.store.store_requests,
            "store_failures": snapshot.store.store_failures,
            "leased": 0,
            "used": 0,
            "lapsed": 0,
            "refunded": 0,
            "epoch_changes": 0,
            "clock_steps": 0,
            "other_terms": 0,
            "issued_late": 0,
            "issued_alone": 0,
            "issued_unlimited": 1,
            "unavailable": 0,
        },
        "counts": {
            "admitted": 1,
            "unused": 0,
            "waited": 1,
            "cancelled": 0,
            "pauses": 0,
            "limit_changes": 0,
        },
    }]);
    assert_eq!(shown, expected);
}
