//! A span for each attempt of a request.

use std::{
    future::{pending, ready},
    io,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
};

use http::{Request, Response, StatusCode};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer,
    client::{self, AttemptSpanLayer, HttpClassifier},
    retry::{Classify, Verdict},
};
use tracing::{Instrument, info_span};

use crate::{
    retry_traces::{Kept, Traced},
    support::secs,
};

/// Responds with these statuses one after the other; 0 stands for a refused connection.
fn responses<Req>(
    statuses: &'static [u16],
) -> impl tower::Service<Req, Response = Response<()>, Error = BoxError, Future: Send> + Clone {
    let next = Arc::new(AtomicU16::new(0));
    service_fn(move |_: Req| {
        let status = statuses[usize::from(next.fetch_add(1, SeqCst))];
        tracing::info!(target: "tower_floodgate", "sent");
        ready(match StatusCode::from_u16(status) {
            Ok(status) => Ok(Response::builder().status(status).body(()).unwrap()),
            Err(_) => Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
        })
    })
}

fn get(uri: &str) -> Request<String> {
    Request::get(uri).body(String::new()).unwrap()
}

fn resends(spans: &[Traced]) -> Vec<Option<&str>> {
    spans.iter().map(|span| span.field("http.request.resend_count")).collect()
}

#[tokio::test(start_paused = true)]
async fn o6_each_attempt_has_a_span_with_its_number_and_outcome() {
    let (kept, _guard) = Kept::here();
    let policy = ExponentialRetry::new(5).classify(HttpClassifier::new());
    let service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy))
        .layer(AttemptSpanLayer::new())
        .service(responses(&[503, 0, 200]));
    let request = get("https://user:secret@api.example.com:8443/path?key=secret");
    service.oneshot(request).instrument(info_span!("import")).await.unwrap();

    let spans = kept.closed_spans();
    assert_eq!(spans.len(), 3);
    for span in &spans {
        assert_eq!((&*span.name, &*span.level), ("attempt", "INFO"));
        assert_eq!(span.parent.as_deref(), Some("import"));
        assert_eq!(span.field("otel.kind"), Some("client"));
        assert_eq!(span.field("otel.name"), Some("GET"));
        assert_eq!(span.field("http.request.method"), Some("GET"));
        assert_eq!(span.field("url.scheme"), Some("https"));
        assert_eq!(span.field("server.address"), Some("api.example.com"));
        assert_eq!(span.field("server.port"), Some("8443"));
        let secret = span.fields.values().find(|value| value.contains("secret"));
        assert_eq!(secret, None);
    }
    assert_eq!(resends(&spans), [None, Some("1"), Some("2")]);
    let outcomes: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.field("http.response.status_code"),
                span.field("error.type"),
                span.field("otel.status_code"),
            )
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            (Some("503"), Some("503"), Some("ERROR")),
            (None, Some("connect"), Some("ERROR")),
            (Some("200"), None, None),
        ]
    );
    // The layers inside are in the span.
    let parents: Vec<_> = kept.events().into_iter().filter_map(|event| event.parent).collect();
    assert_eq!(parents, ["attempt"; 3]);
}

#[tokio::test(start_paused = true)]
async fn o6_span_of_an_attempt_that_is_dropped_is_closed() {
    let (kept, _guard) = Kept::here();
    let service = ServiceBuilder::new().layer(AttemptSpanLayer::new()).service(service_fn(
        |_: Request<()>| std::future::pending::<Result<Response<()>, BoxError>>(),
    ));
    let request = Request::new(());
    let call = tokio::time::timeout(std::time::Duration::from_secs(1), service.oneshot(request));
    call.await.unwrap_err();
    let spans = kept.closed_spans();
    assert_eq!((spans.len(), spans[0].field("error.type")), (1, None));
    // A relative URI names no server.
    assert_eq!((spans[0].field("server.address"), spans[0].field("server.port")), (None, None));
}

#[tokio::test(start_paused = true)]
async fn o6_span_ends_with_its_response_also_if_the_future_is_kept() {
    let (kept, _guard) = Kept::here();
    let service = ServiceBuilder::new().layer(AttemptSpanLayer::new()).service(responses(&[200]));
    let mut call = Box::pin(service.oneshot(get("http://example.com/")));
    (&mut call).await.unwrap();
    let spans = kept.closed_spans();
    assert_eq!((spans.len(), spans[0].field("server.port")), (1, Some("80")));
}

/// A classifier of one's own notes the number itself.
#[derive(Clone)]
struct Noting;

impl<E> Classify<Request<String>, Response<()>, E> for Noting {
    fn classify(&self, _: &Request<String>, result: &Result<Response<()>, E>) -> Verdict {
        match result {
            Ok(response) if response.status() == StatusCode::OK => Verdict::Done,
            _ => Verdict::Retry,
        }
    }

    fn prepare(&self, request: &mut Request<String>, attempts: u32) {
        client::note_resend(request, attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn o6_number_is_known_to_classifiers_that_note_it() {
    let (kept, _guard) = Kept::here();
    let service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(ExponentialRetry::new(3).classify(Noting)))
        .layer(AttemptSpanLayer::new())
        .service(responses(&[404, 404, 200]));
    service.oneshot(get("/")).await.unwrap();
    assert_eq!(resends(&kept.closed_spans()), [None, Some("1"), Some("2")]);
}

#[cfg(feature = "reqwest")]
#[tokio::test(start_paused = true)]
async fn o6_attempts_of_reqwest_have_their_numbers_in_a_http_retry() {
    let (kept, _guard) = Kept::here();
    let policy = ExponentialRetry::new(3).classify(HttpClassifier::new());
    let inner = responses(&[503, 503, 200, 200]);
    let service = ServiceBuilder::new()
        .layer(client::HttpRetryLayer::new(policy))
        .layer(AttemptSpanLayer::new())
        .map_response(|response: Response<()>| {
            reqwest::Response::from(response.map(|()| String::new()))
        })
        .service(inner);
    let request =
        || reqwest::Request::new(reqwest::Method::PUT, "https://example.com/a".parse().unwrap());
    service.clone().oneshot(request()).await.unwrap();
    service.oneshot(request()).await.unwrap();
    let spans = kept.closed_spans();
    assert_eq!(resends(&spans), [None, Some("1"), Some("2"), None]);
    assert_eq!(spans[0].field("http.request.method"), Some("PUT"));
    assert_eq!(spans[0].field("server.address"), Some("example.com"));
    assert_eq!(spans[0].field("server.port"), Some("443"));
}

#[tokio::test(start_paused = true)]
async fn o6_wait_that_is_cancelled_inside_an_attempt_is_traced_in_its_span() {
    let (kept, _guard) = Kept::here();
    let limit = ConcurrencyBackpressureLayer::new(1).name("inner");
    let inner = limit.layer(service_fn(|_: Request<()>| pending::<io::Result<Response<()>>>()));
    let mut busy = Box::pin(inner.clone().oneshot(Request::new(())));
    assert!(futures::poll!(&mut busy).is_pending());
    let attempt =
        AttemptSpanLayer::new().layer(service_fn(move |request| inner.clone().oneshot(request)));
    let timeout = tokio::time::timeout(secs(1), attempt.oneshot(Request::new(()))).await;
    timeout.unwrap_err();
    for name in ["queued", "cancelled"] {
        let event = kept.events().into_iter().find(|event| event.name == name).unwrap();
        assert_eq!(event.parent.as_deref(), Some("attempt"), "{name}");
    }
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn o6_attempts_of_grpc_have_their_numbers() {
    let (kept, _guard) = Kept::here();
    let policy = ExponentialRetry::new(3).classify(client::GrpcClassifier::new());
    let service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy))
        .layer(AttemptSpanLayer::new())
        .service(responses(&[503, 200]));
    service.oneshot(get("/")).await.unwrap();
    assert_eq!(resends(&kept.closed_spans()), [None, Some("1")]);
}
