//! The layers on axum's routers, without a `HandleErrorLayer` and without a box.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExemptLayer, WindowRateLimitLayer,
    server::{RateLimitHeadersLayer, http_rejection, http_rejection_with_fallback},
};

const SECOND: Duration = Duration::from_secs(1);

async fn ask(app: &Router, path: &str) -> Response {
    app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

async fn hello() -> &'static str {
    "hello"
}

/// A body without end.
async fn stream() -> Response {
    let frames = futures::stream::repeat_with(|| {
        Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b"more")))
    });
    Response::new(Body::new(StreamBody::new(frames)))
}

async fn hang() -> Response {
    std::future::pending().await
}

/// All ways to put a layer on share one limit among the routes.
#[tokio::test(start_paused = true)]
async fn c1_layer_on_an_axum_router_limits_its_routes_together() {
    let limit =
        || WindowRateLimitLayer::new(2, SECOND * 10).max_queue(0).reject_with(http_rejection);
    let routes = || Router::new().route("/a", get(hello)).route("/b", get(hello));
    let method: MethodRouter = get(hello).layer(limit());
    let shared = limit();
    let apps = [
        routes().layer(limit()),
        routes().route_layer(limit()),
        routes().layer(ServiceBuilder::new().layer(limit())),
        Router::new().merge(routes()).layer(limit()),
        Router::new().route("/a", method.clone()).route("/b", method),
        Router::new()
            .route("/a", get(hello).layer(shared.clone()))
            .route("/b", get(hello).route_layer(shared)),
    ];
    for app in apps {
        assert_eq!(ask(&app, "/a").await.status(), StatusCode::OK);
        assert_eq!(ask(&app, "/b").await.status(), StatusCode::OK);
        for path in ["/a", "/b"] {
            let response = ask(&app, path).await;
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()["retry-after"], "10");
        }
    }
}

#[tokio::test]
async fn b6_closed_axum_router_responds_503_and_drains() {
    let limit = ConcurrencyBackpressureLayer::new(10)
        .reject_with_box_error()
        .reject_with(http_rejection_with_fallback(SECOND));
    let handle = limit.handle();
    let app = Router::new().route("/", get(hello)).route("/hang", get(hang)).layer(limit);
    assert_eq!(ask(&app, "/").await.status(), StatusCode::OK);
    let mut hanging = task::spawn(ask(&app, "/hang"));
    assert_pending!(hanging.poll());

    handle.close().unwrap();
    let response = ask(&app, "/").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let mut drained = task::spawn(handle.drained());
    assert_pending!(drained.poll());
    drop(hanging);
    assert_ready!(drained.poll());
}

#[tokio::test(start_paused = true)]
async fn w9_axum_router_reports_the_limit_on_every_response() {
    let limit = WindowRateLimitLayer::new(1, SECOND * 10).max_queue(0).reject_with(http_rejection);
    let headers = RateLimitHeadersLayer::new("app", limit.handle());
    let app = Router::new().route("/", get(hello)).layer(limit).layer(headers);
    for (path, status) in
        [("/nowhere", StatusCode::NOT_FOUND), ("/", StatusCode::TOO_MANY_REQUESTS)]
    {
        let response = ask(&app, path).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["ratelimit-policy"], "\"app\";q=1;w=10");
        assert_eq!(response.headers()["ratelimit"], "\"app\";r=0;t=10");
    }
}

#[tokio::test]
async fn b1_streamed_axum_response_holds_its_permit_and_health_checks_bypass_it() {
    let limit = ConcurrencyBackpressureLayer::new(1)
        .max_queue(0)
        .reject_with(http_rejection)
        .until_body_ends();
    let handle = limit.handle();
    let layer = ExemptLayer::new(
        |request: &Request| request.uri().path() == "/health",
        ServiceBuilder::new().map_response(IntoResponse::into_response).layer(limit),
    );
    let app: Router = Router::new()
        .route("/", get(hello))
        .route("/stream", get(stream))
        .route("/health", get(hello))
        .layer(layer);

    let mut response = ask(&app, "/stream").await;
    assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "more");
    assert_eq!(handle.in_flight(), 1);
    assert_eq!(ask(&app, "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let health = ask(&app, "/health").await;
    assert_eq!(health.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(handle.in_flight(), 1);
    drop(response); // as when the client disconnects
    assert_eq!(handle.in_flight(), 0);

    let response = ask(&app, "/").await;
    assert_eq!(handle.in_flight(), 1);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(handle.in_flight(), 0);

    // Without an exemption, axum takes the response's other body type.
    let limit = ConcurrencyBackpressureLayer::new(1).until_body_ends();
    let handle = limit.handle();
    let app: Router = Router::new().route("/", get(hello)).layer(limit);
    let response = ask(&app, "/").await;
    assert_eq!(handle.in_flight(), 1);
    drop(response);
    assert_eq!(handle.in_flight(), 0);
}

/// A shutdown with ten requests queued at one a minute ends at once, and a stream ends itself.
#[tokio::test(start_paused = true)]
async fn w9_b6_closed_axum_router_responds_503_to_requests_that_wait_and_ends_streams() {
    let rate = WindowRateLimitLayer::new(2, SECOND * 60).max_queue(10).reject_with(http_rejection);
    let in_flight =
        ConcurrencyBackpressureLayer::new(100).reject_with_box_error().reject_with(http_rejection);
    let (permits, quota) = (in_flight.handle(), rate.handle());
    let events = permits.clone();
    let events = move || {
        let events = events.clone();
        async move {
            let frames = futures::stream::pending::<Result<_, Infallible>>();
            let frames = frames.map_ok(|()| http_body::Frame::data(Bytes::new()));
            Response::new(Body::new(StreamBody::new(frames.take_until(events.closed()))))
        }
    };
    let app = Router::new()
        .route("/", get(hello))
        .route("/events", get(events))
        .layer(ServiceBuilder::new().layer(in_flight.until_body_ends()).layer(rate));

    assert_eq!(ask(&app, "/").await.status(), StatusCode::OK);
    let stream = tokio::spawn(ask(&app, "/events").await.into_body().collect());
    let waiting: Vec<_> = (0..10).map(|_| task::spawn(ask(&app, "/"))).collect();
    let waiting: Vec<_> = waiting
        .into_iter()
        .map(|mut request| {
            assert_pending!(request.poll());
            request
        })
        .collect();
    assert_eq!((quota.queued(), permits.in_flight()), (10, 11));

    permits.close().unwrap();
    quota.close().unwrap();
    quota.drained().await;
    for mut request in waiting {
        assert!(request.is_woken());
        let response = assert_ready!(request.poll());
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get("retry-after"), None);
    }
    permits.drained().await; // the stream has ended, too
    stream.await.unwrap().unwrap();
}

/// A closed limit has no next permit, so the headers tell no time.
#[tokio::test(start_paused = true)]
async fn w9_headers_of_a_closed_limit_have_no_time() {
    let limit = WindowRateLimitLayer::new(1, SECOND * 10).max_queue(0).reject_with(http_rejection);
    let headers = RateLimitHeadersLayer::new("app", limit.handle()).with_x_ratelimit();
    limit.handle().close().unwrap();
    let app = Router::new().route("/", get(hello)).layer(limit).layer(headers);
    let response = ask(&app, "/").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["ratelimit"], "\"app\";r=0");
    assert_eq!(response.headers()["x-ratelimit-remaining"], "0");
    assert_eq!(response.headers().get("x-ratelimit-reset"), None);
}
