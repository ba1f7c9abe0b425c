//! A request that acquires a second permit of one limit, on axum's routers and in bodies.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    routing::{MethodRouter, get},
};
use futures::future::join_all;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer, server::http_rejection};

use crate::{
    reports::{ONCE, hangs, reports_of},
    secs,
};

/// The number of running handlers, and its maximum.
#[derive(Clone, Default)]
struct Running(Arc<[AtomicUsize; 2]>);

impl Running {
    async fn run(self) {
        let [now, most] = &*self.0;
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        sleep(secs(1)).await;
        now.fetch_sub(1, SeqCst);
    }

    fn handler(&self) -> MethodRouter {
        let running = self.clone();
        get(move || running.clone().run())
    }

    fn most(&self) -> usize {
        self.0[1].load(SeqCst)
    }
}

/// The statuses of six concurrent requests.
async fn six(app: Router) -> Vec<StatusCode> {
    let ask = |_| app.clone().oneshot(Request::get("/").body(Body::empty()).unwrap());
    let responses = join_all((0..6).map(ask)).await;
    responses.into_iter().map(|response| response.unwrap().status()).collect()
}

#[test]
fn c1_layer_on_a_router_and_its_route_hangs_and_is_reported_once() {
    let reports = reports_of(
        "nested::c1_layer_on_a_router_and_its_route_hangs_and_is_reported_once",
        async {
            let layer = ConcurrencyBackpressureLayer::new(2);
            let route = Running::default().handler().layer(layer.clone());
            assert!(hangs(six(Router::new().route("/", route).layer(layer))).await);
        },
    );
    assert_eq!(reports.len(), ONCE, "{reports:#?}");
}

#[test]
fn c1_separate_limits_of_a_router_and_its_route_respond_to_all() {
    let reports =
        reports_of("nested::c1_separate_limits_of_a_router_and_its_route_respond_to_all", async {
            let running = Running::default();
            let layer = || ConcurrencyBackpressureLayer::new(2);
            let app = Router::new().route("/", running.handler().layer(layer())).layer(layer());
            assert_eq!(six(app).await, [StatusCode::OK; 6]);
            assert_eq!(running.most(), 2);

            let running = Running::default();
            let layer = layer().per_service();
            let route = running.handler().layer(layer.clone());
            let app = Router::new().route("/", route).layer(layer).with_state(());
            assert_eq!(six(app).await, [StatusCode::OK; 6]);
            assert_eq!(running.most(), 2);
        });
    assert_eq!(reports, [""; 0]);
}

/// axum puts a layer on each handler once the handler has its state.
#[tokio::test(start_paused = true)]
async fn c1_per_service_limit_on_a_router_with_state_is_per_method_and_route() {
    let layer = WindowRateLimitLayer::new(1, secs(10)).max_queue(0).reject_with(http_rejection);
    let app = Router::new()
        .route("/a", get(async || ()).post(async || ()))
        .route("/b", get(async || ()))
        .layer(layer.per_service());
    let all = async |app: &Router, expected| {
        for (method, path) in [("GET", "/a"), ("POST", "/a"), ("GET", "/b")] {
            let request = Request::builder().method(method).uri(path);
            let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.unwrap().status(), expected);
        }
    };
    // Without state, a router creates the services, and their limits, for each request.
    all(&app, StatusCode::OK).await;
    all(&app, StatusCode::OK).await;
    let app = app.with_state(());
    all(&app, StatusCode::OK).await;
    all(&app, StatusCode::TOO_MANY_REQUESTS).await;
}

/// A body that polls a service ready for its first frame.
struct Asking<S>(S);

impl<S: Service<u32> + Unpin> http_body::Body for Asking<S> {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Infallible>>> {
        let _readiness = self.0.poll_ready(cx);
        Poll::Ready(None)
    }
}

#[test]
fn c1_body_that_acquires_a_second_permit_is_reported() {
    let reports = reports_of("nested::c1_body_that_acquires_a_second_permit_is_reported", async {
        let layer = ConcurrencyBackpressureLayer::new(2);
        let client = layer.layer(service_fn(async |n: u32| Ok::<_, Infallible>(n)));
        let answer = service_fn(|()| {
            let body = Asking(client.clone());
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let response = layer.until_body_ends().layer(answer).oneshot(()).await.unwrap();
        response.into_body().collect().await.unwrap();
    });
    assert_eq!(reports.len(), ONCE, "{reports:#?}");
}
