//! Requests of a key that are in flight until a body ends.

use std::{
    convert::Infallible,
    future::{pending, ready},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
    response::IntoResponse,
    routing::get,
};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    keyed::{Everyone, Header, KeyedLimitLayer, Rule},
    server::http_rejection,
};

use crate::until_body_ends::{ENDS, Script, Step, responses};

const HOUR: Duration = Duration::from_secs(3600);

/// The limit of one request in flight.
fn one_in_flight() -> Rule<Everyone> {
    Rule::new("all", Everyone).max_in_flight(1)
}

type PolledFrame<B> =
    Poll<Option<Result<Frame<<B as http_body::Body>::Data>, <B as http_body::Body>::Error>>>;

fn poll<B: http_body::Body>(body: Pin<&mut B>) -> PolledFrame<B> {
    body.poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// A response with a body of one frame.
fn one_frame() -> Script {
    Script { steps: [Step::Data].into(), candid: true }
}

#[tokio::test]
async fn k16_request_of_a_key_is_in_flight_until_its_body_ends() {
    for (candid, steps, back_after) in ENDS {
        macro_rules! check {
            ($layer:expr) => {
                let layer = $layer.until_body_ends();
                let script = Script { steps: steps.iter().copied().collect(), candid };
                let service = layer.layer(responses(script));
                let mut body = pin!(service.oneshot(Request::new(())).await.unwrap().into_body());
                for polled in 0..=steps.len() + 1 {
                    let held = usize::from(polled < back_after);
                    let live = layer.handle("all").live_keys();
                    assert_eq!(live, held, "after {polled} of {steps:?}");
                    let _ = poll(body.as_mut());
                }
                assert_eq!(layer.handle("all").live_keys(), 0);
            };
        }
        check!(KeyedLimitLayer::new(one_in_flight()));
        check!(KeyedLimitLayer::new(one_in_flight()).wait(HOUR));
    }
}

/// Requests wait for the bodies before them, however those end.
#[tokio::test(start_paused = true)]
async fn k16_k17_request_of_a_key_waits_until_the_body_before_ends() {
    for (candid, steps, back_after) in ENDS {
        let layer = KeyedLimitLayer::new(one_in_flight()).wait(HOUR).until_body_ends();
        let script = Script { steps: steps.iter().copied().collect(), candid };
        let service = layer.layer(responses(script));
        let get = || task::spawn(service.clone().oneshot(Request::new(())));
        let first = assert_ready!(get().poll()).unwrap();
        let mut body = Box::pin(first.into_body());
        let mut next = get();
        for polled in 0..back_after {
            assert_pending!(next.poll(), "after {polled} of {steps:?}");
            assert_eq!(layer.handle("all").queued(), 1);
            let _ = poll(body.as_mut());
        }
        let next = assert_ready!(next.poll()).unwrap();
        drop((body, next)); // the second body is not read
        let mut last = get();
        drop(assert_ready!(last.poll()).unwrap().into_body());
        assert_eq!((layer.handle("all").queued(), layer.handle("all").live_keys()), (0, 0));
    }
}

/// The response of a request that waited in vain holds nothing.
#[tokio::test(start_paused = true)]
async fn c10_k17_response_to_a_request_that_waited_too_long_holds_no_key() {
    let layer = KeyedLimitLayer::new(one_in_flight())
        .reject_with(http_rejection)
        .wait(Duration::from_secs(5))
        .until_body_ends();
    let service = layer.layer(responses(one_frame()));
    let get = || service.clone().oneshot(Request::new(()));
    let first = get().await.unwrap();
    let late = get().await.unwrap();
    assert_eq!(late.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
    assert_eq!(layer.handle("all").live_keys(), 0, "though the second is there");
    drop(late.into_body());
    assert_eq!(get().await.unwrap().status(), StatusCode::OK);
}

/// A router with streams that never end, by client.
#[tokio::test(start_paused = true)]
async fn k16_streams_of_an_axum_router_are_bounded_by_key() {
    let stream = || async {
        let frames = futures::stream::repeat_with(|| {
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"more")))
        });
        Response::new(Body::new(StreamBody::new(frames)))
    };
    let limit = KeyedLimitLayer::new((
        Rule::new("client", Header::named("x-client")).max_in_flight(1).at_most(20, HOUR),
        Rule::global("all").at_most(100, HOUR).max_in_flight(2),
    ))
    .reject_with(http_rejection);
    let headers = limit.rate_limit_headers();
    let limit = limit.until_body_ends();
    let client = limit.handle("client");
    let app: Router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/stream", get(stream))
        .layer(ServiceBuilder::new().layer(headers).layer(limit));
    let ask = async |path: &str, client: &str| {
        let request = Request::get(path).header("x-client", client).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    };

    let mut streams = [ask("/stream", "a").await, ask("/stream", "b").await];
    assert_eq!(streams[0].headers()["ratelimit"].to_str().unwrap().split(';').nth(1), Some("r=19"));
    for stream in &mut streams {
        let frame = stream.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "more");
    }
    let rejected = ask("/", "a").await;
    assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS, "of one client");
    assert_eq!(rejected.headers().get("retry-after"), None);
    assert_eq!(ask("/", "c").await.status(), StatusCode::SERVICE_UNAVAILABLE, "of all");

    // The keys are live as long as their streams.
    advance(2 * HOUR).await;
    assert_eq!((client.live_keys(), client.remaining("a")), (2, 20));
    let [of_a, of_b] = streams;
    drop(of_b); // as when the client disconnects
    assert_eq!(client.live_keys(), 1);
    let response = ask("/", "c").await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(ask("/", "a").await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(of_a);
    assert_eq!(ask("/", "a").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn k16_errors_and_cancellations_with_bodies_release_the_keys() {
    let layer = KeyedLimitLayer::new(one_in_flight()).until_body_ends();
    let live = || layer.handle("all").live_keys();
    let fails = layer.layer(service_fn(|_: Request<()>| async {
        Err::<Response<Script>, _>(io::Error::other("disk"))
    }));
    let mut failed = task::spawn(fails.oneshot(Request::new(())));
    assert_eq!(assert_ready!(failed.poll()).unwrap_err().to_string(), "disk");
    assert_eq!(live(), 0, "though the future is kept");

    let hangs =
        layer.layer(service_fn(|_: Request<()>| pending::<Result<Response<Script>, Infallible>>()));
    let mut hanging = task::spawn(hangs.oneshot(Request::new(())));
    assert_pending!(hanging.poll());
    assert_eq!(live(), 1);
    drop(hanging);
    assert_eq!(live(), 0);
}

#[tokio::test]
async fn c10_response_to_a_rejected_request_holds_no_key() {
    let layer = KeyedLimitLayer::new(one_in_flight()).reject_with(http_rejection).until_body_ends();
    let service = layer.layer(responses(one_frame()));
    let get = || service.clone().oneshot(Request::new(()));
    let (first, second) = (get().await.unwrap(), get().await.unwrap());
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(layer.handle("all").live_keys(), 1);
    drop(first);
    assert_eq!(layer.handle("all").live_keys(), 0, "though the second is there");
    drop(second.into_body());
    assert_eq!(get().await.unwrap().status(), StatusCode::OK);
}

/// The head settles the cost, the end of the body releases the request.
#[tokio::test(start_paused = true)]
async fn k12_cost_is_settled_by_the_head_while_the_body_is_in_flight() {
    let rule = Rule::new("login", |it: &Request<bool>| Some(*it.body()))
        .at_most(2, HOUR)
        .max_in_flight(3)
        .failures_only(|response: &Response<Script>| response.status() == 401);
    let layer = KeyedLimitLayer::new(rule).reject_with(http_rejection).until_body_ends();
    let service = layer.layer(service_fn(|request: Request<bool>| {
        let status = if *request.body() { 200 } else { 401 };
        ready(Response::builder().status(status).body(one_frame()))
    }));
    let handle = layer.handle("login");
    let mut responses = Vec::new();
    for (success, left) in [(true, [2, 2, 2]), (false, [1, 0, 0])] {
        for left in left {
            responses.push(service.clone().oneshot(Request::new(success)).await.unwrap());
            assert_eq!(handle.remaining(success), left);
        }
    }
    let statuses = responses.iter().map(|it| it.status().as_u16()).collect::<Vec<_>>();
    assert_eq!(statuses, [200, 200, 200, 401, 401, 429]);
    let fourth = service.clone().oneshot(Request::new(true)).await.unwrap();
    assert_eq!(fourth.status(), StatusCode::TOO_MANY_REQUESTS, "three bodies are in flight");
    assert_eq!(fourth.headers().get("retry-after"), None);
    drop(responses);
    service.oneshot(Request::new(true)).await.unwrap();
    advance(2 * HOUR).await;
    assert_eq!(handle.live_keys(), 0);
}

/// An outer layer that responds by itself makes a body without a permit.
#[tokio::test]
async fn c3_body_of_a_key_fits_outer_layers() {
    let inner = KeyedLimitLayer::new(one_in_flight()).reject_with(http_rejection);
    let outer = KeyedLimitLayer::new(Rule::global("outer").at_most(1, HOUR));
    let service = ServiceBuilder::new()
        .map_response(IntoResponse::into_response)
        .layer(outer.reject_with(http_rejection))
        .layer(inner.until_body_ends())
        .service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(Body::from("all")))));
    let response = service.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "all");
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.into_body().is_end_stream());
}

#[test]
fn k7_body_holds_its_key_without_an_allocation() {
    let layer = KeyedLimitLayer::new(one_in_flight().at_most(1_000_000, HOUR));
    let mut service = layer
        .reject_with(|rejected| panic!("{rejected}"))
        .until_body_ends()
        .layer(responses(Script::default()));
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = || {
        assert!(service.poll_ready(&mut cx).is_ready());
        let response = pin!(service.call(Request::new(())));
        let response = assert_ready!(Future::poll(response, &mut cx)).unwrap();
        assert!(assert_ready!(poll(pin!(response.into_body()))).is_none());
    };
    call();
    assert_eq!(measure(|| (0..1000).for_each(|_| call())).count_total, 0);
}
