//! Deadlines of a concurrency limit in messages of HTTP and gRPC.

use std::{convert::Infallible, time::Duration};

use http::{HeaderName, Request, Response, StatusCode, header::RETRY_AFTER};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer,
    backpressure::Terms,
    deadline::{GrpcTimeout, HeaderTimeout, ReadDeadline},
    server::{grpc_rejection, http_rejection},
};

const SECOND: Duration = Duration::from_secs(1);

/// A service that takes a second, and one request at a time. Requests have a `grpc-timeout`.
fn layer() -> ConcurrencyBackpressureLayer {
    ConcurrencyBackpressureLayer::new(1)
}

fn terms<B>(request: &Request<B>) -> Terms {
    Terms::new().deadline(GrpcTimeout.read_deadline(request))
}

fn request(timeout: &str) -> Request<()> {
    Request::builder().header("grpc-timeout", timeout).body(()).unwrap()
}

async fn respond(_: Request<()>) -> Result<Response<String>, Infallible> {
    sleep(SECOND).await;
    Ok(Response::new("done".to_owned()))
}

/// Lets 30 requests arrive, of which 20 begin: 9 are queued.
async fn measure<S>(service: &S)
where
    S: Service<Request<()>, Response: Send + 'static, Error: Send + 'static> + Clone,
    S::Future: Send + 'static,
{
    for _ in 0..30 {
        tokio::spawn(service.clone().call(request("1H")));
    }
    sleep(20 * SECOND + SECOND / 2).await;
}

#[tokio::test(start_paused = true)]
async fn a11_late_request_of_http_is_a_503_with_the_time_after_which_it_would_fit() {
    let layer = layer().by_request(terms).reject_with(http_rejection);
    let service = layer.layer(service_fn(respond));
    measure(&service).await;
    assert_eq!(layer.handle().queued(), 9);
    let response = service.clone().oneshot(request("5S")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "6");
    // Less than the service takes: there is no such time.
    let response = service.clone().oneshot(request("900m")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.headers().contains_key(RETRY_AFTER));
    // An unreadable value is no deadline.
    let response = service.oneshot(request("soon")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a11_late_call_of_grpc_is_unavailable_with_the_time_after_which_it_would_fit() {
    let layer = layer().by_request(terms).reject_with(grpc_rejection);
    let service = layer.layer(service_fn(respond));
    measure(&service).await;
    let response = service.oneshot(request("5S")).await.unwrap();
    let status = tonic::Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "6000");

    let layer = layer_with_source();
    let error = layer.layer(service_fn(respond)).oneshot(request("0S")).await.unwrap_err();
    assert_eq!(tonic::Status::from_error(error).code(), tonic::Code::Unavailable);
}

fn layer_with_source() -> tower_floodgate::backpressure::ByRequestLayer<fn(&Request<()>) -> Terms> {
    layer().by_request(terms as fn(&Request<()>) -> Terms)
}

#[tokio::test(start_paused = true)]
async fn a11_b1_body_keeps_its_permit_and_takes_no_time_in_service() {
    let layer = layer().by_request(terms).reject_with(http_rejection);
    let handle = layer.handle();
    let service = layer.until_body_ends().layer(service_fn(respond));
    for _ in 0..20 {
        let response = service.clone().oneshot(request("1H")).await.unwrap();
        assert_eq!(handle.in_flight(), 1, "the body holds it");
        sleep(100 * SECOND).await;
        drop(response);
        assert_eq!(handle.in_flight(), 0);
    }
    // A second is in reserve, and not 101.
    let response = service.clone().oneshot(request("1H")).await.unwrap();
    let waiter = tokio::spawn(service.clone().oneshot(request("2S")));
    sleep(SECOND).await;
    drop(response);
    assert_eq!(waiter.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[test]
fn r10_a11_header_with_a_timeout_is_a_whole_number() {
    const NAME: HeaderName = HeaderName::from_static("x-timeout");
    let read = |values: &[&str]| {
        let mut request = Request::new(());
        for value in values {
            request.headers_mut().append(NAME, value.parse().unwrap());
        }
        let millis = HeaderTimeout::in_millis(NAME).read_deadline(&request);
        let seconds = HeaderTimeout::in_seconds(NAME).read_deadline(&request);
        assert_eq!(millis.map(|millis| millis * 1_000), seconds);
        millis
    };
    assert_eq!(read(&["250"]), Some(Duration::from_millis(250)));
    assert_eq!(read(&["0"]), Some(Duration::ZERO));
    assert_eq!(read(&["4294967295"]), Some(Duration::from_millis(u32::MAX.into())));
    for unreadable in ["", " ", "+1", "-1", "1.5", "0x10", "4294967296", "1s"] {
        assert_eq!(read(&[unreadable]), None, "{unreadable:?}");
    }
    assert_eq!(read(&["1", "1"]), None, "which one counts is not known");
    assert_eq!(read(&[]), None);
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn a11_c10_router_of_axum_takes_a_limit_by_request() {
    use axum::{Router, body::Body, routing::get};

    let limit = layer().by_request(terms::<Body>).reject_with(http_rejection);
    let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(limit);
    let get = |timeout: &str| {
        let request = Request::builder().header("grpc-timeout", timeout).body(Body::empty());
        app.clone().oneshot(request.unwrap())
    };
    assert_eq!(get("1S").await.unwrap().status(), StatusCode::OK);
    assert_eq!(get("0S").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}
