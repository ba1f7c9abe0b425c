//! A server that responds with 421 on one connection, and serves others.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::service::service_fn as serve;
use hyper_util::{
    client::legacy::{Client, connect::capture_connection},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, client::HttpClassifier, retry::Backoff,
};

use crate::peer::{Listening, soon};

/// Each attempt goes to the pool of hyper-util's client, which takes a connection of HTTP/2 again
/// as long as that is open and not poisoned.
#[tokio::test]
async fn r6_misdirected_request_is_retried_on_a_connection_that_is_not_poisoned() {
    for (http2, poisons, status, connections) in [
        (false, true, StatusCode::OK, 2),
        (true, true, StatusCode::OK, 2),
        (true, false, StatusCode::MISDIRECTED_REQUEST, 1),
    ] {
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&opened);
        let listening = Listening::start(move |stream| {
            let number = counted.fetch_add(1, Relaxed);
            async move {
                let respond = serve(move |_| async move {
                    let mut response = Response::new(Empty::<Bytes>::new());
                    if number == 0 {
                        *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
                    }
                    Ok::<_, Infallible>(response)
                });
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), respond).await;
            }
        })
        .await;

        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(5));
        let policy = ExponentialRetry::new(3).backoff(backoff).classify(HttpClassifier::new());
        let service = ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(
            service_fn(move |mut request: Request<Empty<Bytes>>| {
                let connection = capture_connection(&mut request);
                let response = client.request(request);
                async move {
                    let response = response.await?;
                    if poisons && response.status() == StatusCode::MISDIRECTED_REQUEST {
                        connection.connection_metadata().as_ref().unwrap().poison();
                    }
                    Ok::<_, hyper_util::client::legacy::Error>(response)
                }
            }),
        );
        let request = Request::get(listening.url("/")).body(Empty::new()).unwrap();
        let response = soon(service.oneshot(request)).await.unwrap();
        assert_eq!(response.status(), status, "http2: {http2}, poisons: {poisons}");
        assert_eq!(opened.load(Relaxed), connections, "http2: {http2}, poisons: {poisons}");
    }
}
