//! The layers on hyper's servers, and on hyper-util's client.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{future::join, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::yield_now,
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExemptLayer, ExponentialRetry, ExponentialRetryLayer,
    WindowRateLimitLayer,
    client::{Attempts, ByReplay, HttpClassifier, ReplayLayer},
    retry::{Backoff, StopReason},
    server::{RateLimitHeadersLayer, http_rejection},
};

use super::{HOUR, assert_accepted, assert_rejected, until};
use crate::peer::{Listening, soon};

/// The server of a connection.
#[derive(Clone, Copy, Debug)]
enum By {
    Http1,
    Http2,
    Auto,
}

/// The protocol of the client.
const ALL: [(By, bool); 4] =
    [(By::Http1, false), (By::Http2, true), (By::Auto, false), (By::Auto, true)];

/// A clone of `service` serves each connection.
async fn serve<S, B>(by: By, service: S) -> Listening
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    Listening::start(move |stream: TcpStream| {
        // As servers do. Otherwise each response waits for the client's acknowledgement.
        stream.set_nodelay(true).unwrap();
        let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        async move {
            use hyper::server::conn::{http1, http2};
            // Errors of a connection are the client's to report.
            match by {
                By::Http1 => drop(http1::Builder::new().serve_connection(io, service).await),
                By::Http2 => {
                    let builder = http2::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(io, service).await);
                }
                By::Auto => {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(io, service).await);
                }
            }
        }
    })
    .await
}

type Client<B> = legacy::Client<HttpConnector, B>;

fn client<B>(http2: bool) -> Client<B>
where
    B: Body<Data: Send> + Send,
{
    let mut client = legacy::Client::builder(TokioExecutor::new());
    client.http2_only(http2).retry_canceled_requests(false).build_http()
}

async fn get(client: &Client<Empty<Bytes>>, url: &str) -> Response<Incoming> {
    soon(client.request(Request::get(url).body(Empty::new()).unwrap())).await.unwrap()
}

/// Reads the response to its end.
async fn read(client: &Client<Empty<Bytes>>, url: &str) -> (StatusCode, HeaderMap, Bytes) {
    let (head, body) = get(client, url).await.into_parts();
    (head.status, head.headers, soon(body.collect()).await.unwrap().to_bytes())
}

#[tokio::test]
async fn c1_w9_hyper_server_has_one_limit_for_its_connections_and_reports_it() {
    for (by, http2) in ALL {
        let limit = WindowRateLimitLayer::new(2, HOUR).max_queue(0).reject_with(http_rejection);
        let service = ServiceBuilder::new()
            .layer(RateLimitHeadersLayer::new("hyper", limit.handle()))
            .layer(limit)
            .service(service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
            }));
        let server = serve(by, service).await;
        let url = server.url("/");
        // Each client has its own connection.
        let clients = [client(http2), client(http2)];
        for (client, left) in clients.iter().zip([1, 0]) {
            let (status, headers, body) = read(client, &url).await;
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"hello"[..]), "{by:?}");
            assert_accepted(&headers, "hyper", 2, left);
        }
        for client in &clients {
            let (status, headers, body) = read(client, &url).await;
            assert_eq!((status, &body[..]), (StatusCode::TOO_MANY_REQUESTS, &b""[..]), "{by:?}");
            assert_rejected(&headers, "hyper", 2);
        }
    }
}

/// A body whose frames are ready when polled.
fn frames(frames: Vec<&'static str>) -> UnsyncBoxBody<Bytes, Infallible> {
    let frames = stream::unfold(frames.into_iter(), |mut frames| async {
        yield_now().await;
        Some((Ok(Frame::data(Bytes::from(frames.next()?))), frames))
    });
    StreamBody::new(frames).boxed_unsync()
}

async fn streamed(
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let body = match request.uri().path() {
        "/endless" => {
            let frame = || Ok(Frame::data(Bytes::from_static(&[b'.'; 1 << 16])));
            StreamBody::new(stream::repeat_with(frame)).boxed_unsync()
        }
        "/quiet" => StreamBody::new(stream::pending()).boxed_unsync(),
        _ => frames(vec!["hel", "lo"]),
    };
    Ok(Response::new(body))
}

#[tokio::test]
async fn b1_c4_hyper_server_holds_the_permit_of_a_body_until_the_client_disconnects() {
    for (by, http2) in ALL {
        let limit = ConcurrencyBackpressureLayer::new(1)
            .max_queue(0)
            .reject_with(http_rejection)
            .until_body_ends();
        let handle = limit.handle();
        // One response type for `ExemptLayer`.
        let limit = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(BodyExt::boxed_unsync))
            .layer(limit);
        let is_health = |request: &Request<Incoming>| request.uri().path() == "/health";
        let service = ServiceBuilder::new()
            .layer(ExemptLayer::new(is_health, limit))
            .service(service_fn(streamed));
        let server = serve(by, service).await;
        let [url, health] = ["/", "/health"].map(|path| server.url(path));
        let client = client(http2);

        for path in ["/endless", "/quiet"] {
            let response = get(&client, &server.url(path)).await;
            let (status, ..) = read(&client, &url).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{by:?}, {path}");
            let (status, _, body) = read(&client, &health).await;
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"hello"[..]), "{by:?}, {path}");
            assert_eq!(handle.in_flight(), 1, "{by:?}, {path}");
            drop(response);
            soon(handle.drained()).await;

            let (status, _, body) = read(&client, &url).await;
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"hello"[..]), "{by:?}");
            soon(handle.drained()).await;
        }

        handle.close().unwrap();
        assert_eq!(read(&client, &url).await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(read(&client, &health).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn b2_waiter_at_a_hyper_server_is_granted_the_permit_of_an_ended_body() {
    for (by, http2) in ALL {
        let limit = ConcurrencyBackpressureLayer::new(1)
            .max_queue(1)
            .reject_with(http_rejection)
            .until_body_ends();
        let handle = limit.handle();
        let service = ServiceBuilder::new().layer(limit).service(service_fn(streamed));
        let server = serve(by, service).await;
        let url = server.url("/");
        let client = client(http2);

        let first = get(&client, &server.url("/endless")).await;
        let second = async {
            until(|| handle.queued() == 1).await;
            // The queue is full too.
            assert_eq!(read(&client, &url).await.0, StatusCode::SERVICE_UNAVAILABLE, "{by:?}");
            drop(first);
        };
        let (waited, ()) = join(read(&client, &url), second).await;
        assert_eq!((waited.0, &waited.2[..]), (StatusCode::OK, &b"hello"[..]), "{by:?}");
        soon(handle.drained()).await;
    }
}

fn policy(max_attempts: u32) -> ExponentialRetry {
    let base = Duration::from_millis(5);
    ExponentialRetry::new(max_attempts).backoff(Backoff::new(base, base))
}

/// The usual stack on hyper-util's client, and a server that responds 503 twice: at the head of the
/// request, then after reading its body.
#[tokio::test]
async fn r7_w1_streamed_post_of_hyper_client_arrives_whole_after_a_503() {
    const PARTS: [&str; 4] = ["stre", "amed ", "to ", "you"];

    for (by, http2) in ALL {
        let read = Arc::new(Mutex::new(Vec::new()));
        let logged = Arc::clone(&read);
        let calls = Arc::new(AtomicU32::new(0));
        let server = serve(
            by,
            service_fn(move |request: Request<Incoming>| {
                let (call, logged) = (calls.fetch_add(1, SeqCst) + 1, Arc::clone(&logged));
                async move {
                    let mut response = Response::new(Empty::<Bytes>::new());
                    *response.status_mut() = match call {
                        1 | 2 => StatusCode::SERVICE_UNAVAILABLE,
                        _ => StatusCode::OK,
                    };
                    if call > 1 {
                        let body = request.into_body().collect().await;
                        logged.lock().unwrap().push(body.unwrap().to_bytes());
                    }
                    Ok::<_, Infallible>(response)
                }
            }),
        )
        .await;

        let gate = ConcurrencyBackpressureLayer::new(5);
        let rate = WindowRateLimitLayer::new(10, HOUR);
        let (in_flight, window) = (gate.handle(), rate.handle());
        let policy = policy(3).clone_with(ByReplay).classify(HttpClassifier::new());
        let client = ServiceBuilder::new()
            .layer(gate)
            .layer(ReplayLayer::new())
            .layer(ExponentialRetryLayer::new(policy))
            .layer(rate)
            .service(client(http2));

        // A POST is repeated because of this header.
        let request = Request::post(server.url("/")).header("idempotency-key", "\"1\"");
        let request = request.body(frames(PARTS.to_vec())).unwrap();
        let response = soon(client.oneshot(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{by:?}");
        assert_eq!(Attempts::from_response(&response).get(), 3);
        assert_eq!(read.lock().unwrap().as_slice(), [PARTS.concat(), PARTS.concat()], "{by:?}");
        assert_eq!(window.remaining(), 7, "three were issued");
        assert_eq!(in_flight.in_flight(), 0);
    }
}

/// Nothing was sent, so a POST is repeated like any other request.
#[tokio::test]
async fn r6_refused_connection_is_retried_for_any_method() {
    // Stays bound, so that no other socket gets the port.
    let kept = TcpSocket::new_v4().unwrap();
    kept.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", kept.local_addr().unwrap());

    for (method, http2) in [("GET", false), ("POST", false), ("PATCH", true)] {
        let decisions = Arc::new(Mutex::new(Vec::new()));
        let logged = Arc::clone(&decisions);
        let policy = policy(3)
            .clone_with(ByReplay)
            .classify(HttpClassifier::new())
            .on_decision(move |decision| logged.lock().unwrap().push(decision.retry_in().err()));
        let client = ServiceBuilder::new()
            .layer(ConcurrencyBackpressureLayer::new(5))
            .layer(ReplayLayer::new())
            .layer(ExponentialRetryLayer::new(policy))
            .layer(WindowRateLimitLayer::new(10, HOUR))
            .service(client(http2));

        let request = Request::builder().method(method).uri(&url);
        let request = request.body(frames(vec!["never", "read"])).unwrap();
        // The limits reject nothing, so the error type is the client's own.
        let error: legacy::Error = soon(client.oneshot(request)).await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let decisions = decisions.lock().unwrap();
        assert_eq!(*decisions, [None, None, Some(StopReason::MaxAttempts)], "{method}");
    }
}
