//! The layers on axum's server, without a `HandleErrorLayer`; the client is reqwest.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use futures::{StreamExt, poll, stream};
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};
use tower::ServiceBuilder;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExemptLayer, WindowRateLimitLayer,
    server::{RateLimitHeadersLayer, http_rejection, http_rejection_with_fallback},
};

use super::{HOUR, assert_accepted, assert_rejected, header, until};
use crate::peer::soon;

/// axum's own server, which stops accepting connections when this is dropped.
struct Served {
    address: SocketAddr,
    _task: JoinSet<()>,
}

async fn serve(app: Router) -> Served {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(listener, app).await.unwrap() });
    Served { address, _task: task }
}

/// A client of one server, over HTTP/1.1 or over HTTP/2 with prior knowledge.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    client: reqwest::Client,
}

impl Client {
    fn new(server: &Served, http2: bool) -> Self {
        let client = reqwest::Client::builder().no_proxy().retry(reqwest::retry::never());
        let client = if http2 { client.http2_prior_knowledge() } else { client.http1_only() };
        Self { address: server.address, client: client.build().unwrap() }
    }

    /// Returns the response with its body unread.
    async fn get(&self, path: &str) -> reqwest::Response {
        soon(self.client.get(format!("http://{}{path}", self.address)).send()).await.unwrap()
    }

    /// Returns the response, read to its end.
    async fn read(&self, path: &str) -> (StatusCode, http::HeaderMap, Bytes) {
        let response = self.get(path).await;
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, soon(response.bytes()).await.unwrap())
    }

    async fn status(&self, path: &str) -> StatusCode {
        self.read(path).await.0
    }

    /// Sends a request in the background.
    fn ask(&self, path: &'static str) -> JoinHandle<(StatusCode, http::HeaderMap, Bytes)> {
        let client = self.clone();
        tokio::spawn(async move { client.read(path).await })
    }
}

async fn hello() -> &'static str {
    "hello"
}

/// Responds to one request for each permit that the test adds.
async fn gated(State(gate): State<Arc<Semaphore>>) -> &'static str {
    gate.acquire().await.unwrap().forget();
    "done"
}

fn is_health(request: &Request) -> bool {
    request.uri().path() == "/health"
}

fn streamed(frames: impl futures::Stream<Item = Bytes> + Send + 'static) -> Response {
    let frames = frames.map(|data| Ok::<_, Infallible>(Frame::data(data)));
    Response::new(Body::new(StreamBody::new(frames)))
}

const CHUNK: &[u8] = &[b'.'; 1 << 18];
const CHUNKS: usize = 256;

/// 64 MiB: more than sockets and client buffer while nothing is read.
async fn download() -> Response {
    streamed(stream::repeat(Bytes::from_static(CHUNK)).take(CHUNKS))
}

/// A body without end.
async fn endless() -> Response {
    streamed(stream::repeat(Bytes::from_static(CHUNK)))
}

/// A body that stalls after its first frame, so that a server that only writes doesn't notice a
/// disconnected client.
async fn quiet() -> Response {
    streamed(stream::once(async { Bytes::from_static(b"event") }).chain(stream::pending()))
}

/// All ways to put the layers on, over all connections.
#[tokio::test]
async fn c1_w9_axum_server_has_one_limit_for_its_routes_and_reports_it() {
    let routes = || Router::new().route("/a", get(hello)).route("/b", get(hello));
    for http2 in [false, true] {
        let limit = || {
            let limit = WindowRateLimitLayer::new(2, HOUR).max_queue(0).reject_with(http_rejection);
            let headers = RateLimitHeadersLayer::new("app", limit.handle());
            ServiceBuilder::new().layer(headers).layer(limit)
        };
        let (on_each, on_one) = (limit(), limit());
        let method: MethodRouter = get(hello).layer(on_one);
        // With the status of an unknown path while the limit is spent: a layer on a router covers
        // its fallback.
        for (app, nowhere) in [
            (routes().layer(limit()), StatusCode::TOO_MANY_REQUESTS),
            (routes().route_layer(limit()), StatusCode::NOT_FOUND),
            (Router::new().route("/a", method.clone()).route("/b", method), StatusCode::NOT_FOUND),
            (
                Router::new()
                    .route("/a", get(hello).layer(on_each.clone()))
                    .route("/b", get(hello).route_layer(on_each)),
                StatusCode::NOT_FOUND,
            ),
        ] {
            let server = serve(app).await;
            let (one, other) = (Client::new(&server, http2), Client::new(&server, http2));
            for (client, path, left) in [(&one, "/a", 1), (&other, "/b", 0)] {
                let (status, headers, body) = client.read(path).await;
                assert_eq!((status, &body[..]), (StatusCode::OK, &b"hello"[..]));
                assert_accepted(&headers, "app", 2, left);
            }
            for (client, path) in [(&other, "/a"), (&one, "/b")] {
                let (status, headers, body) = client.read(path).await;
                assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                assert_rejected(&headers, "app", 2);
                assert_eq!(body, "");
            }
            assert_eq!(one.status("/nowhere").await, nowhere);
        }
    }
}

#[tokio::test]
async fn b3_c10_axum_server_with_a_full_queue_responds_503_except_to_health_checks() {
    for http2 in [false, true] {
        let gate = Arc::new(Semaphore::new(0));
        let limit = ConcurrencyBackpressureLayer::new(1)
            .max_queue(1)
            .reject_with(http_rejection_with_fallback(HOUR));
        let handle = limit.handle();
        let app = Router::new()
            .route("/", get(hello))
            .route("/gated", get(gated))
            .route("/health", get(hello))
            .layer(ExemptLayer::new(is_health, limit))
            .with_state(Arc::clone(&gate));
        let server = serve(app).await;
        let client = Client::new(&server, http2);

        let both = [client.ask("/gated"), client.ask("/gated")];
        until(|| (handle.in_flight(), handle.queued()) == (1, 1)).await;
        let (status, headers, _) = client.read("/").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header(&headers, "retry-after"), Some("3600"));
        assert_eq!(client.status("/health").await, StatusCode::OK);

        gate.add_permits(2);
        for one in both {
            let (status, _, body) = soon(one).await.unwrap();
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"done"[..]));
        }
        soon(handle.drained()).await;
        assert_eq!(handle.rejected().queue_full, 1);
        assert_eq!(client.status("/").await, StatusCode::OK);
    }
}

/// A client that disconnects before the response releases its permit and leaves the queue.
#[tokio::test]
async fn c4_b4_axum_server_releases_permits_of_disconnected_clients() {
    for http2 in [false, true] {
        let gate = Arc::new(Semaphore::new(0));
        let limit = ConcurrencyBackpressureLayer::new(1).max_queue(1).reject_with(http_rejection);
        let handle = limit.handle();
        let app = Router::new()
            .route("/", get(hello))
            .route("/gated", get(gated))
            .layer(limit)
            .with_state(Arc::clone(&gate));
        let server = serve(app).await;
        let client = Client::new(&server, http2);

        let in_flight = client.ask("/gated");
        until(|| handle.in_flight() == 1).await;
        let queued = client.ask("/gated");
        until(|| handle.queued() == 1).await;
        queued.abort();
        until(|| handle.queued() == 0).await;
        assert_eq!(handle.in_flight(), 1);
        in_flight.abort();
        soon(handle.drained()).await;
        assert_eq!(client.status("/").await, StatusCode::OK);
    }
}

#[tokio::test]
async fn b6_closed_axum_server_responds_503_and_drains() {
    for http2 in [false, true] {
        let gate = Arc::new(Semaphore::new(0));
        let limit = ConcurrencyBackpressureLayer::new(10).max_queue(10).reject_with(http_rejection);
        let handle = limit.handle();
        let app = Router::new()
            .route("/", get(hello))
            .route("/gated", get(gated))
            .route("/health", get(hello))
            .layer(ExemptLayer::new(is_health, limit))
            .with_state(Arc::clone(&gate));
        let server = serve(app).await;
        let client = Client::new(&server, http2);
        assert_eq!(client.status("/").await, StatusCode::OK);
        let in_flight = client.ask("/gated");
        until(|| handle.in_flight() == 1).await;

        handle.close().unwrap();
        assert_eq!(client.status("/").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(client.status("/health").await, StatusCode::OK);
        let mut drained = handle.drained();
        assert!(poll!(&mut drained).is_pending());
        gate.add_permits(1);
        soon(drained).await;
        assert_eq!(soon(in_flight).await.unwrap().0, StatusCode::OK);
    }
}

#[tokio::test]
async fn b1_c4_streamed_axum_response_holds_its_permit_until_read_or_disconnected() {
    for http2 in [false, true] {
        let limit = ConcurrencyBackpressureLayer::new(1)
            .max_queue(0)
            .reject_with(http_rejection)
            .until_body_ends();
        let handle = limit.handle();
        let limit = ServiceBuilder::new().map_response(IntoResponse::into_response).layer(limit);
        let app = Router::new()
            .route("/", get(hello))
            .route("/download", get(download))
            .route("/endless", get(endless))
            .route("/quiet", get(quiet))
            .route("/health", get(hello))
            .layer(ExemptLayer::new(is_health, limit));
        let server = serve(app).await;
        let client = Client::new(&server, http2);
        let busy = async || {
            assert_eq!(client.status("/").await, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(client.status("/health").await, StatusCode::OK);
            assert_eq!(handle.in_flight(), 1);
        };
        let free = async || {
            soon(handle.drained()).await;
            assert_eq!(client.status("/").await, StatusCode::OK);
            soon(handle.drained()).await;
        };

        let mut response = client.get("/download").await;
        busy().await;
        let mut length = soon(response.chunk()).await.unwrap().unwrap().len();
        busy().await;
        while let Some(chunk) = soon(response.chunk()).await.unwrap() {
            length += chunk.len();
        }
        assert_eq!(length, CHUNKS * CHUNK.len());
        free().await;

        for path in ["/download", "/endless", "/quiet"] {
            // This closes the connection, or over HTTP/2 the stream.
            let mut response = client.get(path).await;
            assert!(soon(response.chunk()).await.unwrap().is_some());
            busy().await;
            drop(response);
            free().await;

            // This closes all its connections.
            let other = Client::new(&server, http2);
            let mut response = other.get(path).await;
            assert!(soon(response.chunk()).await.unwrap().is_some());
            busy().await;
            drop((response, other));
            free().await;
        }
    }
}
