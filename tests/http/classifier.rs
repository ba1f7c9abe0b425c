//! Retry classification of HTTP, and the attempts that requests and responses carry.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    sync::{Arc, Mutex},
};

use allocation_counter::measure;
use http::{HeaderName, Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    client::{
        Attempts, BoxedError, HttpClassifier, HttpHints, PlainError, default_retried_statuses,
        hints::Unit,
    },
    find_cause,
    retry::{Backoff, Classify, Jitter, Verdict, retry},
};

use crate::{full, secs};

fn request(method: &str) -> Request<()> {
    Request::builder().method(method).body(()).unwrap()
}

fn answer(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

fn verdict_of(classify: &HttpClassifier, request: &Request<()>, status: u16) -> Verdict {
    classify.classify(request, &Ok::<_, io::Error>(answer(status)))
}

/// A policy that waits 1 s between attempts.
fn plain(max_attempts: u32) -> ExponentialRetry {
    let backoff = Backoff::new(secs(1), secs(1)).jitter(Jitter::None);
    ExponentialRetry::new(max_attempts).backoff(backoff)
}

#[test]
fn r6_http_responses_are_retried_by_status() {
    let get = request("GET");
    let default = HttpClassifier::new();
    let chosen = HttpClassifier::new().statuses([StatusCode::CONFLICT, StatusCode::LOOP_DETECTED]);
    let edges = [400, 463, 464, 527, 528, 591, 592, 599];
    let at_edges = HttpClassifier::new()
        .statuses(edges.iter().map(|&status| StatusCode::from_u16(status).unwrap()));
    let retried = [408, 421, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529];
    assert!(default_retried_statuses().iter().map(StatusCode::as_u16).eq(retried));
    for status in 100..1000 {
        let verdict = |retry| if retry { Verdict::Retry } else { Verdict::Done };
        assert_eq!(
            verdict_of(&default, &get, status),
            verdict(retried.contains(&status)),
            "{status}"
        );
        assert_eq!(
            verdict_of(&chosen, &get, status),
            verdict([409, 508].contains(&status)),
            "{status}"
        );
        assert_eq!(
            verdict_of(&at_edges, &get, status),
            verdict(edges.contains(&status)),
            "{status}"
        );
        assert_eq!(verdict_of(&default.clone().statuses([]), &get, status), Verdict::Done);
    }
    assert!(format!("{chosen:?}").contains("statuses: {409, 508}"));
}

#[test]
fn r6_http_requests_are_retried_if_repeatable() {
    let failed = || Err::<Response<()>, _>(io::Error::from(ErrorKind::ConnectionReset));
    for (method, idempotent) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("CONNECT", false),
        ("MAKE-COFFEE", false),
    ] {
        let (plain, mut keyed) = (request(method), request(method));
        keyed.headers_mut().insert("idempotency-key", "\"8e03978e\"".parse().unwrap());
        for (classify, request, retried) in [
            (HttpClassifier::new(), &plain, idempotent),
            (HttpClassifier::new(), &keyed, true),
            (HttpClassifier::new().any_method(), &plain, true),
        ] {
            let verdict = if retried { Verdict::Retry } else { Verdict::Done };
            assert_eq!(verdict_of(&classify, request, 503), verdict, "{method}");
            assert_eq!(classify.classify(request, &failed()), verdict, "{method}");
        }
    }
}

/// By a setting, a method that is not idempotent is repeated if the server says that it did not
/// carry the request out, and after no other failure.
#[test]
fn r6_rejected_requests_of_any_method_are_retried_on_request() {
    const RETRY_AFTER: &[(&str, &str)] = &[("retry-after", "7")];
    const SPENT: &[(&str, &str)] = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")];
    let after = Verdict::RetryAfter(secs(7));
    let rejected = HttpClassifier::new().any_method_if_rejected();
    for (status, lines, verdict) in [
        (421, &[][..], Verdict::Retry),
        (425, &[], Verdict::Retry),
        (429, &[], Verdict::Retry),
        (429, RETRY_AFTER, after),
        (429, SPENT, after),
        (503, &[], Verdict::Done),
        (503, RETRY_AFTER, after),
        // The quota may be that of a gateway whose server has begun.
        (503, SPENT, Verdict::Done),
        (529, RETRY_AFTER, after),
        (403, &[], Verdict::Done),
        (403, RETRY_AFTER, after),
        (403, SPENT, after),
        (408, RETRY_AFTER, Verdict::Done),
        (500, RETRY_AFTER, Verdict::Done),
        (502, RETRY_AFTER, Verdict::Done),
        (504, RETRY_AFTER, Verdict::Done),
        (522, RETRY_AFTER, Verdict::Done),
        (409, &[("x-should-retry", "true")], Verdict::Done),
        (429, &[("x-should-retry", "false")], Verdict::Never),
        (201, RETRY_AFTER, Verdict::Done),
    ] {
        for method in ["POST", "PATCH"] {
            let verdict_of = |classify: &HttpClassifier| {
                let response = with_headers(answer(status), lines);
                classify.classify(&request(method), &Ok::<_, io::Error>(response))
            };
            assert_eq!(verdict_of(&rejected), verdict, "{method} {status} {lines:?}");
            assert_eq!(verdict_of(&HttpClassifier::new()), Verdict::Done, "{method} {status}");
        }
    }
    let broken = Err::<Response<()>, _>(io::Error::from(ErrorKind::ConnectionReset));
    assert_eq!(rejected.classify(&request("POST"), &broken), Verdict::Done);
}

/// A setting of the hints names other headers and statuses.
#[test]
fn r4_classifier_obeys_configured_hints() {
    let hints = HttpHints::new()
        .statuses([StatusCode::TOO_MANY_REQUESTS])
        .ambiguous_statuses([StatusCode::CONFLICT])
        .default_wait(secs(3))
        .wait_header(HeaderName::from_static("x-backoff"), Unit::Minutes)
        .should_retry_header(HeaderName::from_static("x-again"));
    let classify = HttpClassifier::new().hints(hints);
    for (status, lines, verdict) in [
        (429, &[][..], Verdict::RetryAfter(secs(3))),
        (429, &[("x-backoff", "2")], Verdict::RetryAfter(secs(120))),
        (503, &[], Verdict::Retry),
        (409, &[("x-backoff", "2")], Verdict::RetryAfter(secs(120))),
        (409, &[], Verdict::Done),
        (403, &[("retry-after", "2")], Verdict::Done),
        (404, &[("x-again", "true")], Verdict::Retry),
        (429, &[("x-again", "false")], Verdict::Never),
    ] {
        let response = with_headers(answer(status), lines);
        let result = Ok::<_, io::Error>(response);
        assert_eq!(classify.classify(&request("GET"), &result), verdict, "{status} {lines:?}");
    }
}

fn with_headers(mut response: Response<()>, lines: &[(&'static str, &str)]) -> Response<()> {
    for (name, value) in lines {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

#[test]
fn r4_hint_of_a_retried_response_is_a_floor() {
    let hinted = |status, name: &'static str, value: &'static str| {
        let mut response = answer(status);
        response.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
        HttpClassifier::new().classify(&request("GET"), &Ok::<_, io::Error>(response))
    };
    let after = |wait| Verdict::RetryAfter(secs(wait));
    assert_eq!(hinted(429, "retry-after", "7"), after(7));
    assert_eq!(hinted(500, "retry-after", "7"), after(7));
    assert_eq!(hinted(503, "retry-after", "0"), after(0));
    assert_eq!(hinted(503, "retry-after", "soon"), Verdict::Retry);
    assert_eq!(hinted(503, "ratelimit", "p;r=0;t=7"), after(7));
    assert_eq!(hinted(500, "ratelimit", "p;r=0;t=7"), after(7));
    assert_eq!(hinted(429, "x-ratelimit-reset", "7"), after(7));
    assert_eq!(hinted(500, "x-ratelimit-reset", "7"), Verdict::Retry);
    assert_eq!(hinted(200, "retry-after", "7"), Verdict::Done);
    assert_eq!(hinted(404, "ratelimit", "p;r=0;t=7"), Verdict::Done);
}

/// Responds with these statuses in turn, and logs the requests.
#[derive(Clone)]
struct Site {
    statuses: Arc<Mutex<Vec<u16>>>,
    requests: Arc<Mutex<Vec<Request<()>>>>,
}

impl Site {
    fn new(statuses: &[u16]) -> Self {
        let statuses = statuses.iter().rev().copied().collect();
        Self { statuses: Arc::new(Mutex::new(statuses)), requests: Arc::default() }
    }

    fn answer(&self, request: Request<()>) -> Response<()> {
        self.requests.lock().unwrap().push(request);
        answer(self.statuses.lock().unwrap().pop().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn r8_response_carries_its_number_of_attempts() {
    for (statuses, attempts, status) in [
        (&[200][..], 1, 200),
        (&[503, 200], 2, 200),
        (&[503, 429, 404], 3, 404),
        (&[503, 503, 503], 3, 503),
    ] {
        let site = Site::new(statuses);
        let service = ServiceBuilder::new()
            .layer(ExponentialRetryLayer::new(plain(3).classify(HttpClassifier::new())))
            .service(service_fn(move |request| {
                std::future::ready(Ok::<_, Infallible>(site.answer(request)))
            }));
        let response = service.oneshot(request("GET")).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(Attempts::from_response(&response).get(), attempts);
        // A single attempt is not stored, which allocates nothing.
        assert_eq!(response.extensions().is_empty(), attempts == 1);
    }
}

/// A single attempt is not stored, so its request is not copied.
#[tokio::test(start_paused = true)]
async fn r7_last_attempt_is_copied_to_store_its_number() {
    for (attempts, copies) in [(1, 0), (2, 2), (3, 3)] {
        let copied = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&copied);
        let clone = move |request: &Request<()>| {
            *counted.lock().unwrap() += 1;
            Some(request.clone())
        };
        let policy = plain(attempts).classify(HttpClassifier::new()).clone_with(clone);
        let service = ExponentialRetryLayer::new(policy)
            .layer(service_fn(|_: Request<()>| async { Ok::<_, BoxError>(answer(503)) }));
        let answer = service.oneshot(request("GET")).await.unwrap();
        assert_eq!(Attempts::from_response(&answer).get(), attempts);
        assert_eq!(*copied.lock().unwrap(), copies);
    }
}

#[tokio::test(start_paused = true)]
async fn r8_attempt_header_carries_the_earlier_attempts() {
    for (name, told) in
        [(None, [None, None, None]), (Some("x-attempts"), [None, Some("1"), Some("2")])]
    {
        let site = Site::new(&[503, 503, 200]);
        let requests = Arc::clone(&site.requests);
        let mut classify = HttpClassifier::new();
        if let Some(name) = name {
            classify = classify.attempt_header(HeaderName::from_static(name));
        }
        let service = ExponentialRetryLayer::new(plain(3).classify(classify)).layer(service_fn(
            move |request| std::future::ready(Ok::<_, Infallible>(site.answer(request))),
        ));
        service.oneshot(request("GET")).await.unwrap();
        let requests = requests.lock().unwrap();
        let seen = requests
            .iter()
            .map(|request| Some(request.headers().get("x-attempts")?.to_str().unwrap()));
        assert_eq!(seen.collect::<Vec<_>>(), told);
    }
}

/// A request without room for the header is retried without it.
#[tokio::test(start_paused = true)]
async fn r8_request_with_full_headers_is_retried_unchanged() {
    let site = Site::new(&[503, 200]);
    let requests = Arc::clone(&site.requests);
    let classify = HttpClassifier::new().attempt_header(HeaderName::from_static("x-attempts"));
    let service =
        ExponentialRetryLayer::new(plain(3).classify(classify)).layer(service_fn(move |request| {
            std::future::ready(Ok::<_, Infallible>(site.answer(request)))
        }));
    let mut request = request("GET");
    *request.headers_mut() = full();
    assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| *request.headers() == full()));
}

/// The classifier's parameter is inferred from the service's error type.
#[tokio::test(start_paused = true)]
async fn r6_classifier_infers_the_error_type() {
    fn reset() -> io::Error {
        ErrorKind::ConnectionReset.into()
    }
    fn layer<M>() -> ExponentialRetryLayer<HttpClassifier<M>> {
        ExponentialRetryLayer::new(plain(3).classify(HttpClassifier::new()))
    }

    let began = now();
    let mut service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(plain(3).classify(HttpClassifier::new())))
        .service(service_fn(|_: Request<()>| async { Err::<Response<()>, _>(reset()) }));
    let error: io::Error = service.ready().await.unwrap().call(request("GET")).await.unwrap_err();
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::ConnectionReset, secs(2)));

    let began = now();
    let service = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(5).max_queue(5))
        .layer(layer())
        .layer(WindowRateLimitLayer::new(5, secs(1)).max_wait(secs(9)))
        .service(service_fn(|_: Request<()>| async { Err::<Response<()>, _>(reset()) }));
    let error: BoxError = service.clone().oneshot(request("GET")).await.unwrap_err();
    assert!(find_cause::<io::Error>(&*error).is_some());
    assert_eq!(began.elapsed(), secs(2));

    let began = now();
    let boxed = service.boxed_clone();
    boxed.oneshot(request("POST")).await.unwrap_err();
    assert_eq!(began.elapsed(), secs(0));

    let service =
        layer().layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(answer(404)) }));
    let (answer, began) = (service.oneshot(request("GET")).await.unwrap(), now());
    assert_eq!((answer.status(), began.elapsed()), (StatusCode::NOT_FOUND, secs(0)));
}

#[test]
fn c6_classifying_a_final_response_allocates_nothing() {
    let all = HttpClassifier::new()
        .statuses([StatusCode::CONFLICT])
        .attempt_header(HeaderName::from_static("x-attempts"));
    let hints = HttpHints::new().wait_header(HeaderName::from_static("x-backoff"), Unit::Seconds);
    let hinted = HttpClassifier::new().hints(hints);
    for (classify, status) in
        [(HttpClassifier::new(), 200), (all, 200), (hinted, 200), (HttpClassifier::new(), 404)]
    {
        let (request, mut result) = (request("GET"), Ok::<_, io::Error>(answer(status)));
        let counted = measure(|| {
            let classify: HttpClassifier = classify.clone();
            assert_eq!(classify.classify(&request, &result), Verdict::Done);
            Classify::<Request<()>, _, _>::settled(&classify, &request, 1, &mut result);
        });
        assert_eq!(counted.count_total, 0);
    }
    // The classifier is copied for each request.
    assert!(size_of::<HttpClassifier>() <= 48);
}

#[test]
fn c7_status_of_no_failure_is_an_invalid_setting() {
    for status in [100, 200, 304, 399, 600, 999] {
        let wrong = [StatusCode::CONFLICT, StatusCode::from_u16(status).unwrap()];
        let error = HttpClassifier::<PlainError>::new().try_statuses(wrong).unwrap_err();
        assert_eq!(error.setting(), "statuses");
        let said = format!("statuses is {status}: it must be between 400 and 599");
        assert_eq!(error.to_string(), said);
        let panic =
            std::panic::catch_unwind(|| HttpClassifier::<BoxedError>::new().statuses(wrong));
        assert_eq!(*panic.unwrap_err().downcast::<String>().unwrap(), said);
    }
}

/// One classifier takes the requests, responses and errors of both libraries.
#[cfg(feature = "reqwest")]
#[tokio::test(start_paused = true)]
async fn r6_reqwest_messages_are_classified_as_those_of_http() {
    use reqwest::{Client, Url};

    let url = || Url::parse("http://unknown.test/").unwrap();
    let request = |method| reqwest::Request::new(method, url());
    let classify = HttpClassifier::new();
    let mut limited = answer(429).map(|()| "");
    limited.headers_mut().insert("retry-after", "7".parse().unwrap());
    let mut result = Ok::<_, reqwest::Error>(reqwest::Response::from(limited));
    assert_eq!(
        classify.classify(&request(reqwest::Method::GET), &result),
        Verdict::RetryAfter(secs(7))
    );
    assert_eq!(classify.classify(&request(reqwest::Method::POST), &result), Verdict::Done);
    classify.settled(&request(reqwest::Method::GET), 3, &mut result);
    assert_eq!(Attempts::from_response(&result.unwrap()).get(), 3);

    // The usual stack compiles, and a failed request is retried.
    let resolver = Arc::new(Unknown(Arc::default()));
    let client = Client::builder().no_proxy().dns_resolver(Arc::clone(&resolver)).build().unwrap();
    let policy = plain(3).classify(HttpClassifier::new()).clone_with(reqwest::Request::try_clone);
    let service = ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(client);
    let began = now();
    assert!(service.oneshot(request(reqwest::Method::GET)).await.unwrap_err().is_connect());
    assert_eq!(began.elapsed(), secs(2));
    assert_eq!(*resolver.0.lock().unwrap(), 3);
}

/// Resolves no name, and counts its calls.
#[cfg(feature = "reqwest")]
struct Unknown(Arc<Mutex<u32>>);

#[cfg(feature = "reqwest")]
impl reqwest::dns::Resolve for Unknown {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        *self.0.lock().unwrap() += 1;
        Box::pin(async { Err("no such name".into()) })
    }
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

/// Of a function, the method is given once: all verdicts are those on a request of it.
#[test]
fn r6_r13_verdicts_on_a_function_are_those_on_its_requests() {
    let kinds = || {
        [
            HttpClassifier::new(),
            HttpClassifier::new().any_method(),
            HttpClassifier::new().any_method_if_rejected(),
        ]
    };
    let hinted =
        |status| Response::builder().status(status).header("retry-after", "7").body(()).unwrap();
    let error = |kind: ErrorKind| Err::<Response<()>, _>(io::Error::from(kind));
    for method in [Method::GET, Method::POST, Method::PUT] {
        for by_request in kinds() {
            let by_method = by_request.clone().for_method(method.clone());
            let request = request(method.as_str());
            let responses = (200..600).flat_map(|status| [Ok(answer(status)), Ok(hinted(status))]);
            let errors = [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset].map(error);
            for result in responses.chain(errors) {
                let expected = by_request.classify(&request, &result);
                assert_eq!(by_method.classify(&(), &result), expected, "{method} {result:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r4_r8_r13_retried_function_obeys_the_server_and_notes_its_attempts() {
    let policy = plain(3).classify(HttpClassifier::new().for_method(Method::GET));
    let began = now();
    let mut calls = 0;
    let response = retry(policy.clone(), || {
        calls += 1;
        let status = if calls < 3 { 503 } else { 200 };
        let response = Response::builder().status(status).header("retry-after", "5").body(());
        async { Ok::<_, io::Error>(response.unwrap()) }
    });
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(Attempts::from_response(&response).get(), 3);
    assert_eq!(began.elapsed(), secs(10));

    // The last attempt notes the number, too.
    let response = retry(policy, || async { Ok::<_, io::Error>(answer(503)) }).await.unwrap();
    assert_eq!(Attempts::from_response(&response).get(), 3);

    let post = plain(3).classify(HttpClassifier::new().for_method(Method::POST));
    let (response, statistics) =
        retry(post, || async { Ok::<_, BoxError>(answer(503)) }).with_statistics().await;
    assert_eq!((response.unwrap().status(), statistics.attempts()), (503.try_into().unwrap(), 1));
}
