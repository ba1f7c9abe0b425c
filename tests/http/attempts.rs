//! The number of attempts, told by the error that is returned.

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use http::{Request, Response};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, Rejected, WindowRateLimitLayer,
    client::{Attempts, HttpClassifier, RetriedError},
    find_cause,
    retry::{AnyError, Classify, Verdict},
};

use crate::secs;

#[derive(Debug)]
struct Context(BoxError);

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no prices")
    }
}

impl Error for Context {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// Fails each request with this kind of error.
fn failing(
    kind: ErrorKind,
) -> impl Service<Request<()>, Response = Response<()>, Error = io::Error, Future: Send> + Clone + Send
{
    service_fn(move |_: Request<()>| std::future::ready(Err(io::Error::from(kind))))
}

fn retry<M>(max_attempts: u32) -> ExponentialRetryLayer<HttpClassifier<M>> {
    ExponentialRetryLayer::new(ExponentialRetry::new(max_attempts).classify(HttpClassifier::new()))
}

fn texts(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn r8_error_tells_its_attempts() {
    for attempts in 1..=4 {
        let client = ServiceBuilder::new()
            .layer(retry(attempts))
            .map_err(BoxError::from)
            .service(failing(ErrorKind::ConnectionRefused));
        let error = client.oneshot(Request::new(())).await.unwrap_err();
        assert_eq!(Attempts::from_error(&*error).get(), attempts);
        let cause = find_cause::<io::Error>(&*error).unwrap();
        assert_eq!(cause.kind(), ErrorKind::ConnectionRefused);

        // Each text stands once in a report of the whole chain.
        let refused = io::Error::from(ErrorKind::ConnectionRefused).to_string();
        match error.downcast::<RetriedError>() {
            Ok(retried) => {
                assert!(attempts > 1);
                assert_eq!(texts(&retried), [format!("failed after {attempts} attempts"), refused]);
                assert_eq!(retried.attempts().get(), attempts);
                assert!(retried.into_source().is::<io::Error>());
            }
            Err(error) => assert_eq!((attempts, error.to_string()), (1, refused)),
        }
    }
}

/// The number is that of the attempts made, whatever ended them.
#[tokio::test(start_paused = true)]
async fn r8_error_that_is_not_retried_tells_the_attempts_before_it() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let client = service_fn(move |_: Request<()>| {
        let first = counted.fetch_add(1, SeqCst) == 0;
        let kind = if first { ErrorKind::ConnectionReset } else { ErrorKind::PermissionDenied };
        std::future::ready(Err::<Response<()>, BoxError>(io::Error::from(kind).into()))
    });
    let error = retry(5).layer(client).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(Attempts::from_error(&*error).get(), 2);
    assert_eq!(attempts.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn r8_attempts_are_found_behind_other_errors() {
    let error = || {
        let mut error = BoxError::from("no answer");
        RetriedError::wrap(&mut error, 3);
        error
    };
    for error in [
        error(),
        Context(error()).into(),
        io::Error::other(error()).into(),
        io::Error::other(Context(io::Error::other(error()).into())).into(),
    ] {
        assert_eq!(Attempts::from_error(&*error).get(), 3);
    }
    let mut once = BoxError::from("no answer");
    RetriedError::wrap(&mut once, 1);
    assert!(!once.is::<RetriedError>());
    assert_eq!(Attempts::from_error(&*once).get(), 1);
}

/// Of two retries, one inside the other, the outer number is found.
#[tokio::test(start_paused = true)]
async fn r6_r8_retried_error_is_judged_by_its_cause() {
    for (kind, attempts) in
        [(ErrorKind::ConnectionRefused, [2, 3]), (ErrorKind::PermissionDenied, [1, 1])]
    {
        let client = ServiceBuilder::new()
            .layer(retry(attempts[1]))
            .layer(retry(attempts[0]))
            .map_err(BoxError::from)
            .service(failing(kind));
        let error = client.oneshot(Request::post("/").body(()).unwrap()).await.unwrap_err();
        assert_eq!(Attempts::from_error(&*error).get(), attempts[1]);
        assert_eq!(find_cause::<io::Error>(&*error).unwrap().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn r8_rejection_is_found_in_a_retried_error() {
    let window = WindowRateLimitLayer::new(1, secs(3600)).max_queue(0);
    let client = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(
            ExponentialRetry::new(3).classify(HttpClassifier::new()).max_hint(secs(7200)),
        ))
        .layer(window.clone())
        .service(failing(ErrorKind::ConnectionRefused));
    let others = window.layer(service_fn(|_: Request<()>| async { Ok::<_, io::Error>(()) }));
    let task = tokio::spawn(client.oneshot(Request::new(())));
    // The window is used up again before each retry.
    for _ in 0..5 {
        tokio::time::sleep(secs(3600)).await;
        let _ = others.clone().oneshot(Request::new(())).await;
    }
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(Attempts::from_error(&*error).get(), 3);
    assert!(Rejected::find(&*error).is_some_and(Rejected::is_queue_full));
}

/// An error type that can't be wrapped, and classifiers that note nothing.
#[tokio::test(start_paused = true)]
async fn r8_error_of_another_type_or_classifier_is_returned_unchanged() {
    let client = retry(3).layer(failing(ErrorKind::ConnectionRefused));
    let error: io::Error = client.oneshot(Request::new(())).await.unwrap_err();
    assert!(error.get_ref().is_none());
    assert_eq!(Attempts::from_error(&error).get(), 1);

    async fn returned<C>(classify: C) -> BoxError
    where
        C: Classify<Request<()>, Response<()>, BoxError> + Clone,
    {
        let client = ServiceBuilder::new()
            .layer(ExponentialRetryLayer::new(ExponentialRetry::new(3).classify(classify)))
            .map_err(BoxError::from)
            .service(failing(ErrorKind::ConnectionRefused));
        client.oneshot(Request::new(())).await.unwrap_err()
    }
    assert!(returned(AnyError).await.is::<io::Error>());
    let closure = |_: &Request<()>, _: &Result<Response<()>, BoxError>| Verdict::Retry;
    assert!(returned(closure).await.is::<io::Error>());
}

#[cfg(feature = "grpc")]
mod of_tonic {
    use bytes::Bytes;
    use http_body_util::Empty;
    use tonic::{Code, Status};
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tower_floodgate::client::GrpcClassifier;

    use super::*;

    /// The status of a call after up to three attempts.
    async fn status<S>(channel: S) -> Status
    where
        S: Service<Request<()>, Response = Response<Empty<Bytes>>, Error = BoxError>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let policy = ExponentialRetry::new(3).classify(GrpcClassifier::new());
        let service = ServiceBuilder::new()
            .map_request(|_: Request<tonic::body::Body>| Request::new(()))
            .layer(ExponentialRetryLayer::new(policy))
            .service(channel);
        let mut client = HealthClient::new(service);
        client.check(HealthCheckRequest::default()).await.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn r8_status_of_an_error_tells_its_attempts() {
        let failing = |error: fn() -> BoxError| {
            service_fn(move |_: Request<()>| std::future::ready(Err(error())))
        };
        let refused = || io::Error::from(ErrorKind::ConnectionRefused).into();
        let status_of_refused = status(failing(refused)).await;
        assert_eq!(Attempts::from_error(&status_of_refused).get(), 3);
        assert_eq!(status_of_refused.code(), Code::Unknown);

        // tonic reads the code down the chain of causes.
        let inner = || Context(Box::new(Status::data_loss("gone"))).into();
        let status_of_inner = status(failing(inner)).await;
        assert_eq!((status_of_inner.code(), status_of_inner.message()), (Code::DataLoss, "gone"));
        let wrapped = || {
            let mut error = BoxError::from(Status::data_loss("gone"));
            RetriedError::wrap(&mut error, 2);
            error
        };
        let status_of_wrapped = status(failing(wrapped)).await;
        assert_eq!(
            (status_of_wrapped.code(), status_of_wrapped.message()),
            (Code::DataLoss, "gone")
        );
        assert_eq!(Attempts::from_error(&status_of_wrapped).get(), 2);
        assert_eq!(Attempts::from_status(&status_of_wrapped).get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn r8_status_of_a_response_tells_its_attempts() {
        for (codes, attempts) in [([14, 14, 14], 3), ([14, 5, 0], 2), ([5, 0, 0], 1)] {
            let calls = Arc::new(AtomicU32::new(0));
            let channel = service_fn(move |_: Request<()>| {
                let code = codes[calls.fetch_add(1, SeqCst) as usize];
                let response = Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", code);
                std::future::ready(Ok::<_, BoxError>(response.body(Empty::new()).unwrap()))
            });
            let status = status(channel).await;
            assert_eq!(Attempts::from_status(&status).get(), attempts);
            assert_eq!(Attempts::from_error(&status).get(), 1);
        }
    }

    #[test]
    fn r8_unreadable_number_of_attempts_counts_as_one() {
        for (value, attempts) in [("2", 3), ("-1", 1), ("x", 1), ("4294967295", u32::MAX)] {
            let mut status = tonic::Status::unavailable("");
            status.metadata_mut().insert("grpc-previous-rpc-attempts", value.parse().unwrap());
            assert_eq!(Attempts::from_status(&status).get(), attempts, "{value}");
        }
    }
}
