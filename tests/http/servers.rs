//! The layers on servers of tonic and hyper, over pipes in memory.

use std::{convert::Infallible, time::Duration};

use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::io::{DuplexStream, duplex};
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{ServiceBuilder, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, WindowRateLimitLayer,
    server::{RateLimitHeadersLayer, grpc_rejection, http_rejection},
};

const SECOND: Duration = Duration::from_secs(1);

async fn channel(end: DuplexStream) -> Channel {
    let mut end = Some(TokioIo::new(end));
    let connect = service_fn(move |_| {
        let end = end.take().ok_or_else(|| std::io::Error::other("connected before"));
        std::future::ready(end)
    });
    Endpoint::from_static("http://memory").connect_with_connector(connect).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn c10_tonic_client_reads_the_status_of_a_rejection() {
    let limit = WindowRateLimitLayer::new(1, SECOND * 10).max_queue(0).reject_with(grpc_rejection);
    let headers = RateLimitHeadersLayer::new("rpc", limit.handle());
    let (client, server) = duplex(1 << 16);
    let health = tonic_health::server::health_reporter().1;
    let router = Server::builder().layer(headers).layer(limit).add_service(health);
    let accepts = stream::once(async { Ok::<_, std::io::Error>(server) });
    let serving = tokio::spawn(router.serve_with_incoming(accepts));

    let mut client = HealthClient::new(channel(client).await);
    let request = HealthCheckRequest { service: String::new() };
    let passed = client.check(request.clone()).await.unwrap();
    assert_eq!(passed.metadata().get("ratelimit").unwrap(), "\"rpc\";r=0;t=10");

    let status = client.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let said = "too many requests in this window, and the queue is full; there is room in ";
    assert!(status.message().starts_with(said), "{status:?}");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    let pushback: u64 = pushback.to_str().unwrap().parse().unwrap();
    assert!((9_000..=10_000).contains(&pushback), "{pushback} ms");
    assert_eq!(status.metadata().get("ratelimit").unwrap(), "\"rpc\";r=0;t=10");
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn b1_tonic_stream_holds_its_permit_until_the_client_disconnects() {
    let limit = ConcurrencyBackpressureLayer::new(1)
        .max_queue(0)
        .reject_with(grpc_rejection)
        .until_body_ends();
    let handle = limit.handle();
    let (client, server) = duplex(1 << 16);
    let health = tonic_health::server::health_reporter().1;
    let router = Server::builder().layer(limit).add_service(health);
    let accepts = stream::once(async { Ok::<_, std::io::Error>(server) });
    let serving = tokio::spawn(router.serve_with_incoming(accepts));

    let mut client = HealthClient::new(channel(client).await);
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = client.watch(request.clone()).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    assert_eq!(handle.in_flight(), 1);
    assert_eq!(client.check(request.clone()).await.unwrap_err().code(), Code::Unavailable);
    drop(watched);
    handle.drained().await;
    client.check(request).await.unwrap();
    handle.drained().await;
    serving.abort();
}

/// A response that the client has read is no longer in flight.
#[tokio::test(start_paused = true)]
async fn b1_hyper_server_releases_permits_when_bodies_are_sent() {
    for http2 in [false, true] {
        let limit = ConcurrencyBackpressureLayer::new(1)
            .max_queue(0)
            .reject_with(http_rejection)
            .until_body_ends();
        let handle = limit.handle();
        let service = ServiceBuilder::new().layer(limit).service(service_fn(
            |request: Request<Incoming>| async move {
                let body = if request.uri().path() == "/empty" { "" } else { "hello" };
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body)))
            },
        ));
        let (client, server) = duplex(1 << 16);
        let service = TowerToHyperService::new(service);
        let server = tokio::spawn(async move {
            hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(server), service)
                .await
        });
        let ask =
            |path: &str| Request::get(path).header("host", "memory").body(Empty::<Bytes>::new());
        let client = TokioIo::new(client);
        let mut sender = Sender::connect(client, http2).await;
        for (path, body) in [("/empty", ""), ("/full", "hello"), ("/empty", ""), ("/full", "hello")]
        {
            let uri = format!("http://memory{path}");
            let response = sender.send(ask(&uri).unwrap()).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
            assert_eq!(handle.in_flight(), 0);
        }
        server.abort();
    }
}

/// A client of HTTP/1 or HTTP/2.
enum Sender {
    One(hyper::client::conn::http1::SendRequest<Empty<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

impl Sender {
    async fn connect(io: TokioIo<DuplexStream>, http2: bool) -> Self {
        use hyper::client::conn::{http1, http2};
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Self::Two(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::One(sender)
        }
    }

    async fn send(&mut self, request: Request<Empty<Bytes>>) -> Response<Incoming> {
        match self {
            Self::One(sender) => sender.send_request(request).await.unwrap(),
            Self::Two(sender) => sender.send_request(request).await.unwrap(),
        }
    }
}
