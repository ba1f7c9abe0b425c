//! Ready-made responses of HTTP and gRPC to rejected requests.

use std::{convert::Infallible, fmt::Debug, time::Duration};

use http::{HeaderMap, Request, Response, StatusCode};
use proptest::{prop_assert_eq, test_runner::TestRunner};
use tokio::{runtime, time::advance};
use tonic::Code;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, DeadlineLayer, Rejected, WindowRateLimitLayer,
    keyed::{KeyedLimitLayer, Rule},
    reject::RejectWithBoxError,
    server::{
        grpc_rejection, http_rejection, http_rejection_with_body, http_rejection_with_fallback,
        into_response, problem_rejection, problem_rejection_with_policy, retry_after_header,
    },
};

const SECOND: Duration = Duration::from_secs(1);

fn full_queue() -> ConcurrencyBackpressureLayer<RejectWithBoxError> {
    ConcurrencyBackpressureLayer::new(1).max_queue(0)
}

fn rate(window: Duration) -> WindowRateLimitLayer<RejectWithBoxError> {
    WindowRateLimitLayer::new(1, window).max_queue(0)
}

/// The response of a layer to the second of two concurrent requests.
async fn second<L>(layer: &L) -> <L::Service as Service<Request<()>>>::Response
where
    L: Layer<Hello, Service: Service<Request<()>, Error: Debug> + Clone>,
{
    let hello: Hello = service_fn(|_| std::future::ready(Ok(Response::new("hello".to_owned()))));
    let mut service = layer.layer(hello);
    let mut first = service.clone();
    let _first = first.ready().await.unwrap().call(Request::new(()));
    service.ready().await.unwrap().call(Request::new(())).await.unwrap()
}

type Hello = tower::util::ServiceFn<
    fn(Request<()>) -> std::future::Ready<Result<Response<String>, Infallible>>,
>;

/// The rejection by such a limit.
async fn rejected_by(window: Duration) -> Rejected {
    let (said, hears) = std::sync::mpsc::channel();
    second(&rate(window).reject_with(move |rejected: Rejected| {
        said.send(rejected).unwrap();
        Response::default()
    }))
    .await;
    hears.recv().unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn c10_http_rejection_is_429_or_503_with_the_known_time() {
    let closed =
        ConcurrencyBackpressureLayer::new(1).reject_with_box_error().reject_with(http_rejection);
    closed.handle().close().unwrap();
    let closed_with_fallback = ConcurrencyBackpressureLayer::new(1)
        .reject_with_box_error()
        .reject_with(http_rejection_with_fallback(SECOND * 3));
    closed_with_fallback.handle().close().unwrap();

    let said = |response: Response<String>| {
        let retry_after = header(response.headers(), "retry-after").map(str::to_owned);
        (response.status(), retry_after, response.into_body())
    };
    let (busy, unavailable) = (StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE);
    let empty = String::new;
    let after = |secs: &str| Some(secs.to_owned());

    let response = said(second(&rate(SECOND * 7).reject_with(http_rejection)).await);
    assert_eq!(response, (busy, after("7"), empty()));
    let response =
        said(second(&rate(SECOND * 7).reject_with(http_rejection_with_fallback(SECOND))).await);
    assert_eq!(response, (busy, after("7"), empty()), "what is known counts");
    let response = said(second(&full_queue().reject_with(http_rejection)).await);
    assert_eq!(response, (unavailable, None, empty()));
    let fallback = Duration::from_millis(2001);
    let response =
        said(second(&full_queue().reject_with(http_rejection_with_fallback(fallback))).await);
    assert_eq!(response, (unavailable, after("3"), empty()));
    assert_eq!(said(second(&closed).await), (unavailable, None, empty()));
    let closed_window = rate(SECOND).reject_with(http_rejection);
    closed_window.handle().close().unwrap();
    assert_eq!(said(second(&closed_window).await), (unavailable, None, empty()));
    assert_eq!(said(second(&closed_with_fallback).await), (unavailable, after("3"), empty()));

    let own = |rejected: Rejected| http_rejection_with_body(&rejected, rejected.to_string());
    let response = said(second(&full_queue().reject_with(own)).await);
    let why = "too many requests in flight, and the queue is full".to_owned();
    assert_eq!(response, (unavailable, None, why));
}

#[tokio::test(start_paused = true)]
async fn w6_retry_after_is_rounded_up_and_never_zero() {
    let window = Duration::from_millis(2500);
    let service = rate(window)
        .reject_with(http_rejection::<String>)
        .layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::default()) }));
    service.clone().oneshot(Request::new(())).await.unwrap();
    for (elapsed, expected) in [(0, "3"), (499, "3"), (1, "2"), (1000, "1"), (999, "1")] {
        advance(Duration::from_millis(elapsed)).await;
        let response = service.clone().oneshot(Request::new(())).await.unwrap();
        assert_eq!(header(response.headers(), "retry-after"), Some(expected));
    }
    advance(Duration::from_millis(1)).await;
    assert_eq!(service.oneshot(Request::new(())).await.unwrap().status(), StatusCode::OK);
    let rejected = rejected_by(Duration::from_nanos(1)).await;
    assert_eq!(retry_after_header(&rejected).unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn c10_grpc_rejection_is_trailers_only_and_read_by_tonic() {
    let closed =
        ConcurrencyBackpressureLayer::new(1).reject_with_box_error().reject_with(grpc_rejection);
    closed.handle().close().unwrap();
    let closed_window = rate(SECOND).reject_with(grpc_rejection);
    closed_window.handle().close().unwrap();
    let responses = [
        (second(&closed_window).await, Code::Unavailable, None),
        (
            second(&rate(SECOND).reject_with(grpc_rejection)).await,
            Code::ResourceExhausted,
            Some("1000"),
        ),
        (second(&full_queue().reject_with(grpc_rejection)).await, Code::Unavailable, None),
        (second(&closed).await, Code::Unavailable, None),
    ];
    for (response, code, pushback) in responses {
        assert_eq!((response.status(), response.body().as_str()), (StatusCode::OK, ""));
        let headers = response.headers();
        assert_eq!(header(headers, "content-type"), Some("application/grpc"));
        assert_eq!(header(headers, "grpc-retry-pushback-ms"), pushback);
        assert_eq!(tonic::Status::from_header_map(headers).unwrap().code(), code);
    }
}

/// Microseconds are written with a sign that isn't ASCII; waits range from nanoseconds to years.
#[test]
fn c10_grpc_rejection_has_reason_and_pushback_for_any_time() {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let windows = 1_u64..=100 * 365 * 24 * 3600 * 1_000_000_000;
    // Equally many of each length.
    let windows = proptest::strategy::Strategy::prop_flat_map(0_u32..62, move |bits| {
        1_u64..=(1 << bits).min(*windows.end())
    });
    TestRunner::default()
        .run(&windows, |nanos| {
            let rejected = runtime.block_on(rejected_by(Duration::from_nanos(nanos)));
            let response = grpc_rejection::<()>(rejected.clone());
            let status = tonic::Status::from_header_map(response.headers()).unwrap();
            prop_assert_eq!(status.message(), rejected.to_string());
            let exact = nanos.div_ceil(1_000_000).min((1 << 31) - 1);
            let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
            prop_assert_eq!(pushback.to_str().unwrap(), exact.to_string());
            Ok(())
        })
        .unwrap();
}

/// The problem of a response, parsed.
fn problem(response: &Response<String>) -> serde_json::Value {
    assert_eq!(header(response.headers(), "content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(problem["status"], response.status().as_u16());
    problem
}

#[tokio::test(start_paused = true)]
async fn c10_problem_rejection_is_429_or_503_with_the_registered_type() {
    let kinds = "https://iana.org/assignments/http-problem-types#";
    let closed = rate(SECOND).reject_with(problem_rejection);
    closed.handle().close().unwrap();
    let capacity = "Request cannot be satisfied due to temporary server capacity constraints";
    for (response, kind, title, detail, retry_after) in [
        (
            second(&rate(SECOND * 7).reject_with(problem_rejection)).await,
            "quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
            "too many requests in this window, and the queue is full; there is room in 7s",
            Some("7"),
        ),
        (
            second(&full_queue().reject_with(problem_rejection)).await,
            "temporary-reduced-capacity",
            capacity,
            "too many requests in flight, and the queue is full",
            None,
        ),
        (second(&closed).await, "temporary-reduced-capacity", capacity, "limiter is closed", None),
    ] {
        let expected = serde_json::json!({
            "type": format!("{kinds}{kind}"),
            "title": title,
            "status": if retry_after.is_some() { 429 } else { 503 },
            "detail": detail,
        });
        assert_eq!(problem(&response), expected);
        assert_eq!(header(response.headers(), "retry-after"), retry_after);
    }
}

/// Any name is written as JSON writes it, though the header allows only some.
#[tokio::test(start_paused = true)]
async fn c10_problem_rejection_names_the_violated_policy() {
    for name in ["per-minute", r#"a "b" \ c"#, "\n\0\u{7f}é\u{2028}", ""] {
        let layer = rate(SECOND).reject_with(problem_rejection_with_policy(name));
        let response = second(&layer).await;
        assert_eq!(problem(&response)["violated-policies"], serde_json::json!([name]));
        let layer = full_queue().reject_with(problem_rejection_with_policy(name));
        assert_eq!(problem(&second(&layer).await).get("violated-policies"), None);
    }
}

/// A rule has any name, which is in the detail.
#[tokio::test(start_paused = true)]
async fn c10_problem_rejection_of_a_rule_is_json_with_its_name() {
    for name in ["client", r#"a "b" \ c"#, "\n\0\u{7f}é\u{2028}"] {
        let limit = KeyedLimitLayer::new(Rule::global(name).at_most(1, SECOND));
        let response = second(&limit.clone().reject_with(problem_rejection)).await;
        assert_eq!(
            problem(&response)["detail"].as_str().unwrap().split(';').next().unwrap(),
            format!("rule {name}: too many requests in this window"),
        );
        let response = second(&limit.reject_with(grpc_rejection)).await;
        let status = tonic::Status::from_header_map(response.headers()).unwrap();
        assert!(status.message().starts_with(&format!("rule {name}: ")), "{status:?}");
    }
}

/// The bodies of frameworks and clients.
#[tokio::test(start_paused = true)]
async fn c10_problem_rejection_fits_the_bodies_of_axum_hyper_and_reqwest() {
    use http_body_util::{BodyExt, Full};
    let rejected = rejected_by(SECOND).await;
    let text = problem_rejection::<String>(rejected.clone()).into_body();
    let axum = problem_rejection::<axum::body::Body>(rejected.clone()).into_body();
    assert_eq!(axum.collect().await.unwrap().to_bytes(), text);
    let hyper = problem_rejection::<Full<bytes::Bytes>>(rejected.clone()).into_body();
    assert_eq!(hyper.collect().await.unwrap().to_bytes(), text);
    let reqwest = problem_rejection::<reqwest::Body>(rejected).into_body();
    assert_eq!(reqwest.as_bytes(), Some(text.as_bytes()));
}

#[test]
fn c10_problem_rejection_is_json_for_any_time() {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    TestRunner::default()
        .run(&(1_u64..=1 << 62), |nanos| {
            let nanos = nanos >> (nanos % 62); // of each length
            let window = Duration::from_nanos(nanos.max(1)).min(SECOND * 3_000_000_000);
            let rejected = runtime.block_on(rejected_by(window));
            let problem = problem(&problem_rejection(rejected.clone()));
            prop_assert_eq!(problem["detail"].as_str().unwrap(), rejected.to_string());
            Ok(())
        })
        .unwrap();
}

/// tonic looks for a status in the chain of an error. A report that prints the chain ends there.
#[tokio::test(start_paused = true)]
async fn c10_rejection_has_a_grpc_status_for_its_source() {
    let service = rate(SECOND * 9).layer(service_fn(|(): ()| async { Ok::<_, Infallible>(()) }));
    service.clone().oneshot(()).await.unwrap();
    let error = service.oneshot(()).await.unwrap_err();
    let source = tower_floodgate::find_cause::<tonic::Status>(&*error).expect("a status");
    assert_eq!(source.code(), Code::ResourceExhausted);
    assert_eq!(source.message(), "too many requests in this window, and the queue is full");
    assert!(error.source().is_some_and(|source| source.source().is_none()));
    // The status of the rejection itself has the time.
    let status = tonic::Status::from(Rejected::find(&*error).unwrap().clone());
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "9000");
    // The rejection is still found behind tonic's status of the error.
    let status = tonic::Status::from_error(error);
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(Rejected::find(&status).unwrap().retry_after(), Some(SECOND * 9));
}

/// A tuple, a status, a redirect, a type of the user.
#[tokio::test(start_paused = true)]
async fn c10_axum_layer_rejects_with_any_type_of_a_handler() {
    use axum::{
        Json, Router,
        body::{Body, to_bytes},
        response::{IntoResponse, Redirect},
        routing::get,
    };

    #[derive(Clone)]
    struct Busy(String);
    impl IntoResponse for Busy {
        fn into_response(self) -> axum::response::Response {
            (StatusCode::IM_A_TEAPOT, self.0).into_response()
        }
    }

    async fn rejected_by(app: Router) -> (StatusCode, String) {
        let get = || app.clone().oneshot(Request::new(Body::empty()));
        assert_eq!(get().await.unwrap().status(), StatusCode::OK);
        let response = get().await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    let app = || Router::new().route("/", get(async || "hello"));
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    let layer = rate(SECOND).reject_with(into_response(|rejected: Rejected| {
        (StatusCode::TOO_MANY_REQUESTS, Json(serde_json::json!([rejected.retry_after_secs()])))
    }));
    assert_eq!(rejected_by(app().layer(layer)).await, (too_many, "[1]".to_owned()));
    let layer = rate(SECOND).reject_with(into_response(|_| StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(rejected_by(app().layer(layer)).await, (too_many, String::new()));
    let layer = rate(SECOND).reject_with(into_response(|_| Redirect::to("/busy")));
    assert_eq!(rejected_by(app().layer(layer)).await.0, StatusCode::SEE_OTHER);
    let busy = Busy("captured".to_owned());
    let layer = rate(SECOND).reject_with(into_response(move |_| busy.clone()));
    let expected = (StatusCode::IM_A_TEAPOT, "captured".to_owned());
    assert_eq!(rejected_by(app().layer(layer)).await, expected);
}

#[tokio::test(start_paused = true)]
async fn c10_late_request_is_rejected_as_a_timeout_of_http_and_grpc() {
    let late = || DeadlineLayer::new(Duration::ZERO);

    let response = second(&late().reject_with(http_rejection)).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(header(response.headers(), "retry-after"), None);

    let response = second(&late().reject_with(problem_rejection)).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    let problem: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["title"], StatusCode::GATEWAY_TIMEOUT.canonical_reason().unwrap());

    let response = second(&late().reject_with(grpc_rejection)).await;
    let status = tonic::Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(header(response.headers(), "grpc-retry-pushback-ms"), None);

    let hello = service_fn(|_: ()| std::future::ready(Ok::<_, Infallible>(())));
    let error = late().layer(hello).oneshot(()).await.unwrap_err();
    assert_eq!(tonic::Status::from_error(error).code(), Code::DeadlineExceeded);
}

/// An outer layer responds with the body that holds a permit.
#[tokio::test(start_paused = true)]
async fn c10_rejections_fit_outside_until_body_ends() {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};

    let silent = service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let limited = full_queue().reject_with(problem_rejection).until_body_ends().layer(silent);
    let deadline = DeadlineLayer::new(SECOND);
    let empty = deadline.clone().reject_with(http_rejection).layer(limited.clone());
    let problem = deadline.reject_with(problem_rejection).layer(limited);
    for (text, response) in [
        ("", empty.oneshot(Request::new(())).await.unwrap()),
        ("Gateway Timeout", problem.oneshot(Request::new(())).await.unwrap()),
    ] {
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8(body.into()).unwrap().contains(text));
    }
}
