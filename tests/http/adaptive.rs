//! Limits that find themselves, beside bodies, and by the classifiers as judges.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer,
    backpressure::{Adaptive, Judge, Outcome},
    client::HttpClassifier,
};

type Body = Full<bytes::Bytes>;

fn outcome(judge: &impl Judge<Response<Body>, &'static str>, status: u16) -> Outcome {
    let status = StatusCode::from_u16(status).unwrap();
    judge.judge(&Ok(Response::builder().status(status).body(Body::default()).unwrap()))
}

#[test]
fn a4_http_classifier_judges_statuses() {
    let judge: HttpClassifier = HttpClassifier::new();
    for status in [200, 204, 304, 400, 404, 499] {
        assert_eq!(outcome(&judge, status), Outcome::Served, "{status}");
    }
    for status in [408, 500, 502, 504, 599] {
        assert_eq!(outcome(&judge, status), Outcome::Ignored, "{status}");
    }
    for status in [429, 503] {
        assert_eq!(outcome(&judge, status), Outcome::Overload, "{status}");
    }
    let failed: Result<Response<Body>, _> = Err("no connection");
    assert_eq!(judge.judge(&failed), Outcome::Ignored);
}

#[cfg(feature = "grpc")]
#[test]
fn a4_grpc_classifier_judges_codes() {
    use tower_floodgate::client::GrpcClassifier;

    let judge: GrpcClassifier = GrpcClassifier::new();
    let of = |code: Option<u32>| {
        let mut response = Response::new(Body::default());
        if let Some(code) = code {
            response.headers_mut().insert("grpc-status", code.into());
        }
        let result: Result<_, &str> = Ok(response);
        judge.judge(&result)
    };
    assert_eq!(of(None), Outcome::Served, "the status comes in trailers");
    for code in 0..=16 {
        let expected = match code {
            8 | 14 => Outcome::Overload,
            1 | 2 | 4 | 10 | 13 | 15 => Outcome::Ignored,
            _ => Outcome::Served,
        };
        assert_eq!(of(Some(code)), expected, "{code}");
    }
    assert_eq!(outcome(&judge, 503), Outcome::Overload);
    assert_eq!(outcome(&judge, 500), Outcome::Ignored);
    let failed: Result<Response<Body>, _> = Err("no connection");
    assert_eq!(judge.judge(&failed), Outcome::Ignored);
}

/// The permit is held until the body ends, and the time in service ends with the head: a slow
/// reader is no overload.
#[tokio::test(start_paused = true)]
async fn a2_b1_time_in_service_ends_with_the_head_of_the_response() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new());
    let handle = layer.handle();
    let mut service = layer.until_body_ends().layer(service_fn(|_: Request<Body>| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, Infallible>(Response::new(Body::from("slow to read")))
    }));
    let _held = handle.try_acquire_many(handle.limit() - 1).unwrap();
    for number in 1..=40 {
        let call = service.ready().await.unwrap().call(Request::new(Body::default()));
        let response = call.await.unwrap();
        // The half round is complete with the head of the last one.
        assert_eq!(handle.limit(), if number < 40 { 30 } else { 13 });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(handle.in_flight(), 30, "the body holds the permit");
        drop(response);
    }
    assert_eq!((handle.rounds(), handle.in_flight()), (0, 29));
}
