//! The router of the page of limits: its document, its JSON and its streams.

use std::{pin::pin, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::BodyExt;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, WindowRateLimitLayer,
    keyed::{Header, KeyedLimitLayer, Plan, Rule},
    observe::{Limits, page::LimitsPage},
};

const SECOND: Duration = Duration::from_secs(1);

async fn ask(router: &Router, path: &str) -> Response {
    router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

fn router(limits: &Limits) -> Router {
    LimitsPage::new(limits.clone()).into_router()
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

/// A stream of events, read frame by frame.
struct Events(Body);

impl Events {
    async fn of(router: &Router) -> Self {
        let response = ask(router, "/events").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers().get_all(header::CACHE_CONTROL).iter().count(), 1);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self(response.into_body())
    }

    /// Returns the lines of the next event, or `None` at the end.
    async fn lines(&mut self) -> Option<Vec<String>> {
        let frame = self.0.frame().await?.unwrap().into_data().unwrap();
        let event = String::from_utf8(frame.into()).unwrap();
        let event = event.strip_suffix("\n\n").expect("one event is a frame");
        Some(event.lines().map(str::to_owned).collect())
    }

    /// Returns the JSON of the next event.
    async fn next(&mut self) -> Value {
        let lines = self.lines().await.expect("the stream goes on");
        let mut data = lines.iter().filter_map(|line| line.strip_prefix("data: "));
        let json = serde_json::from_str(data.next().expect("the event has data")).unwrap();
        assert_eq!(data.next(), None);
        json
    }
}

#[tokio::test]
async fn o7_page_is_one_document_that_loads_nothing_else() {
    let response = ask(&router(&Limits::new()), "/").await;
    let headers = response.headers().clone();
    assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let page = text(response).await;
    assert!(page.starts_with("<!DOCTYPE html>"));
    for reference in ["src=", "@import", "url(", "https:"] {
        assert!(!page.contains(reference), "{reference}");
    }

    // The policy names the script and the style by their hashes, and so forbids any other.
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for tag in ["script", "style"] {
        let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap();
        let (content, rest) = rest.split_once(&format!("</{tag}>")).unwrap();
        assert!(!rest.contains(&format!("<{tag}")), "{tag} stands twice");
        let hash = BASE64_STANDARD.encode(digest(&SHA256, content.as_bytes()));
        let allowed = format!("; {tag}-src 'sha256-{hash}'; ");
        assert!(policy.contains(&allowed), "the policy is {policy}, and the page needs {allowed}");
    }
}

#[tokio::test(start_paused = true)]
async fn o7_snapshot_and_events_tell_the_numbers_of_the_handles() {
    let in_flight = ConcurrencyBackpressureLayer::new(3).max_queue(0).reject_with_box_error();
    let rate = WindowRateLimitLayer::new(10, SECOND * 30).max_queue(0).reject_with_box_error();
    let limits = Limits::new();
    limits.add(in_flight.handle());
    limits.add(rate.handle());
    let hang = service_fn(|()| std::future::pending::<Result<(), std::convert::Infallible>>());
    let mut requests = JoinSet::new();
    for _ in 0..5 {
        requests.spawn(in_flight.layer(hang).oneshot(()));
    }
    for _ in 0..12 {
        requests.spawn(rate.layer(hang).oneshot(()));
    }
    // Of those that are rejected.
    for _ in 0..4 {
        requests.join_next().await.unwrap().unwrap().unwrap_err();
    }

    let response = ask(&router(&limits), "/snapshot").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let once: Value = serde_json::from_str(&text(response).await).unwrap();
    let first = Events::of(&router(&limits)).await.next().await;
    for json in [once, first] {
        assert_eq!(json.as_array().unwrap().len(), 2);
        let (concurrency, window) = (&json[0], &json[1]);
        assert_eq!(concurrency["kind"], "concurrency");
        assert_eq!(concurrency["limit"], 3);
        assert_eq!(concurrency["in_flight"], 3);
        assert_eq!(concurrency["rejected"]["queue_full"], 2);
        assert_eq!(window["kind"], "window");
        assert_eq!(window["window_seconds"], 30.0);
        assert_eq!((&window["remaining"], &window["issued"]), (&json!(0), &json!(10)));
        assert_eq!(window["rejected"]["queue_full"], 2);
    }
}

#[tokio::test(start_paused = true)]
async fn o7_snapshot_of_a_rule_has_its_limits_its_counts_and_its_keys() {
    let script = "<script>alert(1)</script>";
    let plans = [
        Plan::new().at_most(2, SECOND * 3_600).max_in_flight(9),
        Plan::new().at_most(5, SECOND * 3_600).max_in_flight(9),
    ];
    let rule = Rule::new("per client", Header::named("x-client"))
        .plans(plans, |_: &Request| 0)
        .max_keys(100)
        .count_admitted()
        .track_top(5);
    let layer = KeyedLimitLayer::new(rule);
    let limits = Limits::from_iter([layer.handle("per client")]);
    let echo = layer.layer(service_fn(async |_: Request| Ok::<_, std::convert::Infallible>(())));
    for _ in 0..6 {
        let request = Request::get("/").header("x-client", script).body(Body::empty()).unwrap();
        let _ = echo.clone().oneshot(request).await;
    }
    let text = text(ask(&router(&limits), "/snapshot").await).await;
    let json: Value = serde_json::from_str(&text).unwrap();
    let id = &json[0]["top"][0]["id"];
    let plan = |quota| json!({ "quotas": [quota], "max_in_flight": 9 });
    let expected = json!([{
        "kind": "rule",
        "name": "per client",
        "plans": [plan("2/1h"), plan("5/1h")],
        "is_dry_run": false,
        "live_keys": 1,
        "max_keys": 100,
        "overflowed": 0,
        "queued": 0,
        "queue_age_seconds": null,
        "admitted": 2,
        "rejected": {
            "limit_reached": 4,
            "too_large": 0,
            "no_key": 0,
            "table_full": 0,
            "paused": 0,
            "queue_full": 0,
            "wait_timeout": 0,
        },
        "top": [{
            "label": script,
            "id": id,
            "rejected_at_least": 4,
            "rejected_at_most": 4,
            "used": 2,
            "limit": 2,
            "window_seconds": 3600.0,
            "is_shared": false,
        }],
    }]);
    assert_eq!(json, expected);
}

#[tokio::test]
async fn o7_page_is_served_at_any_path_and_beside_a_state() {
    let limits = Limits::new();
    let nested = || LimitsPage::new(limits.clone()).into_router();
    let apps: [(Router, &str); 3] = [
        (Router::new().nest("/limits", nested()), "/limits"),
        (Router::new().nest("/a", Router::new().nest("/b", nested())), "/a/b"),
        (
            Router::<u32>::new()
                .nest("/c", LimitsPage::new(limits.clone()).into_router())
                .with_state(7),
            "/c",
        ),
    ];
    for (app, path) in &apps {
        assert!(text(ask(app, path).await).await.starts_with("<!DOCTYPE html>"));
        assert_eq!(text(ask(app, &format!("{path}/snapshot")).await).await, "[]");
        let response = ask(app, &format!("{path}/events")).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    }
    let merged: Router = Router::new().merge(nested());
    assert_eq!(text(ask(&merged, "/snapshot").await).await, "[]");
    let post = Request::post("/").body(Body::empty()).unwrap();
    assert_eq!(merged.oneshot(post).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn o7_stream_has_an_event_at_once_and_one_in_each_interval() {
    let layer = ConcurrencyBackpressureLayer::new(3);
    let limits = Limits::new();
    let page = LimitsPage::new(limits.clone()).interval(SECOND * 2);
    let mut events = Events::of(&page.into_router()).await;
    let start = now();
    let lines = events.lines().await.unwrap();
    assert_eq!(lines, ["retry: 1000", "data: []"]);
    assert_eq!(start.elapsed(), Duration::ZERO);

    // A limit that is added later appears.
    limits.add(layer.handle());
    assert_eq!(events.next().await[0]["limit"], 3);
    assert_eq!(start.elapsed(), SECOND * 2);
    layer.handle().set_limit(4).unwrap();
    assert_eq!(events.next().await[0]["limit"], 4);
    assert_eq!(start.elapsed(), SECOND * 4);

    // A slow viewer gets one event, of the moment at which it asks.
    tokio::time::advance(SECOND * 60).await;
    layer.handle().set_limit(5).unwrap();
    assert_eq!(events.next().await[0]["limit"], 5);
    assert_eq!(start.elapsed(), SECOND * 64);
    events.next().await;
    assert_eq!(start.elapsed(), SECOND * 66);
}

#[tokio::test(start_paused = true)]
async fn o7_stream_with_a_long_interval_is_kept_alive() {
    let page = LimitsPage::new(Limits::new()).interval(SECOND * 40);
    let mut events = Events::of(&page.into_router()).await;
    let start = now();
    assert_eq!(events.next().await, json!([]));
    for seconds in [15, 30] {
        assert_eq!(events.lines().await.unwrap(), [": keep-alive"]);
        assert_eq!(start.elapsed(), SECOND * seconds);
    }
    assert_eq!(events.next().await, json!([]));
    assert_eq!(start.elapsed(), SECOND * 40);
}

#[tokio::test(start_paused = true)]
async fn o7_streams_end_by_the_signal() {
    let (stop, stopped) = watch::channel(false);
    let page = LimitsPage::new(Limits::new()).end_streams_when(move || {
        let mut stopped = stopped.clone();
        async move {
            stopped.wait_for(|is_stopped| *is_stopped).await.unwrap();
        }
    });
    let router = page.into_router();
    let mut streams = [Events::of(&router).await, Events::of(&router).await];
    for events in &mut streams {
        assert_eq!(events.next().await, json!([]));
    }
    let stopper = tokio::spawn(async move {
        tokio::time::sleep(SECOND / 2).await;
        stop.send(true).unwrap();
    });
    let start = now();
    for events in &mut streams {
        assert_eq!(events.lines().await, None);
    }
    assert_eq!(start.elapsed(), SECOND / 2);
    stopper.await.unwrap();
}

/// Over a connection, in which the server learns that the client is gone.
#[tokio::test(start_paused = true)]
async fn o7_client_that_goes_away_ends_its_stream() {
    let alive = Arc::new(());
    let held = Arc::downgrade(&alive);
    let page = LimitsPage::new(Limits::new()).end_streams_when(move || {
        let held = alive.clone();
        async move {
            std::future::pending::<()>().await;
            drop(held);
        }
    });
    let service = TowerToHyperService::new(page.into_router());
    let (near, far) = tokio::io::duplex(1024);
    let serving = tokio::spawn(async move {
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service)
            .await
    });
    let (mut client, connection) =
        hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(near)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("/events").header("host", "a").body(Body::empty()).unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    for _ in 0..3 {
        assert!(body.frame().await.unwrap().unwrap().is_data());
    }
    let streams = || held.strong_count() - 1; // the router has one
    assert_eq!(streams(), 1);

    connection.abort();
    drop((client, body));
    // The write of the next event fails, and with it the connection.
    let ended = pin!(tokio::time::timeout(SECOND * 2, serving)).await;
    let _ = ended.expect("the connection has ended").unwrap();
    assert_eq!(held.strong_count(), 0, "the router and the stream are gone");
}

#[test]
fn o7_c7_interval_of_zero_is_reported() {
    let page = || LimitsPage::new(Limits::new());
    let error = page().try_interval(Duration::ZERO).unwrap_err();
    let text = "interval is 0ns: it must be longer than zero and at most 100 years";
    assert_eq!(error.to_string(), text);
    assert!(page().try_interval(Duration::MAX).is_err());
    assert!(page().try_interval(Duration::from_nanos(1)).is_ok());
    let panic = std::panic::catch_unwind(|| page().interval(Duration::ZERO)).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), text);
}
