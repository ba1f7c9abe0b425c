//! The layers on tonic's server, with the generated client of its health service.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{future::join, poll};
use tokio::task::JoinSet;
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::HealthReporter,
};
use tower::ServiceBuilder;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExemptLayer, ExponentialRetry, ExponentialRetryLayer, Rejected,
    WindowRateLimitLayer,
    client::{Attempts, ByReplay, GrpcClassifier, ReplayBody, ReplayLayer},
    retry::Backoff,
    server::{RateLimitHeadersLayer, grpc_rejection},
};

use super::{HOUR, assert_accepted, until};
use crate::peer::soon;

/// tonic's own server, which stops when this is dropped.
struct Served {
    address: SocketAddr,
    reporter: HealthReporter,
    _task: JoinSet<()>,
}

impl Served {
    /// Opens a separate connection.
    async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        soon(endpoint.connect()).await.unwrap()
    }
}

/// A server with these layers. A function would repeat all of tonic's bounds.
macro_rules! serve {
    ($layers:expr) => {{
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        let router = Server::builder().layer($layers).add_service(health);
        let mut task = JoinSet::new();
        task.spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        Served { address, reporter, _task: task }
    }};
}

async fn client(server: &Served) -> HealthClient<Channel> {
    HealthClient::new(server.connect().await)
}

fn all() -> HealthCheckRequest {
    HealthCheckRequest { service: String::new() }
}

async fn refused(client: &mut HealthClient<Channel>) -> Status {
    soon(client.check(all())).await.unwrap_err()
}

fn pushback(status: &Status) -> Option<u32> {
    let pushback = status.metadata().get("grpc-retry-pushback-ms")?;
    Some(pushback.to_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn c10_tonic_server_responds_resource_exhausted_with_pushback() {
    let limit = WindowRateLimitLayer::new(2, HOUR).max_queue(0).reject_with(grpc_rejection);
    let headers = RateLimitHeadersLayer::new("rpc", limit.handle());
    let server = serve!(ServiceBuilder::new().layer(headers).layer(limit));
    let mut clients = [client(&server).await, client(&server).await];

    for (client, left) in clients.iter_mut().zip([1, 0]) {
        let passed = soon(client.check(all())).await.unwrap();
        assert_accepted(passed.metadata().as_ref(), "rpc", 2, left);
    }
    for client in &mut clients {
        let status = refused(client).await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("there is room in "), "{status:?}");
        let pushback = pushback(&status).unwrap();
        assert!((1..=3_600_000).contains(&pushback), "{pushback} ms");
        assert_accepted(status.metadata().as_ref(), "rpc", 2, 0);
        // A stream is rejected like a call.
        let status = soon(client.watch(all())).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
}

#[tokio::test]
async fn b1_c4_tonic_stream_holds_its_permit_until_dropped_or_disconnected() {
    let limit = ConcurrencyBackpressureLayer::new(1)
        .max_queue(0)
        .reject_with(grpc_rejection)
        .until_body_ends();
    let handle = limit.handle();
    let server = serve!(limit);
    let mut asking = client(&server).await;

    for goes in [false, true] {
        let mut watching = client(&server).await;
        let mut statuses = soon(watching.watch(all())).await.unwrap().into_inner();
        assert!(soon(statuses.message()).await.unwrap().is_some());
        let status = refused(&mut asking).await;
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(pushback(&status), None, "the time is unknown");
        // The stream continues meanwhile.
        for status in [ServingStatus::NotServing, ServingStatus::Serving] {
            server.reporter.set_service_status("", status).await;
            let message = soon(statuses.message()).await.unwrap().unwrap();
            assert_eq!(message.status, status as i32);
        }
        assert_eq!(handle.in_flight(), 1);

        if goes {
            drop((statuses, watching)); // closes the connection
        } else {
            drop(statuses);
        }
        soon(handle.drained()).await;
        soon(asking.check(all())).await.unwrap();
        soon(handle.drained()).await;
    }
}

#[tokio::test]
async fn b6_closed_tonic_server_responds_unavailable_and_drains() {
    let limit = ConcurrencyBackpressureLayer::new(10)
        .max_queue(10)
        .reject_with(grpc_rejection)
        .until_body_ends();
    let handle = limit.handle();
    let server = serve!(limit);
    let mut client = client(&server).await;
    let statuses = soon(client.watch(all())).await.unwrap().into_inner();
    until(|| handle.in_flight() == 1).await;

    handle.close().unwrap();
    let status = refused(&mut client).await;
    assert_eq!((status.code(), pushback(&status)), (Code::Unavailable, None));
    let mut drained = handle.drained();
    assert!(poll!(&mut drained).is_pending());
    drop(statuses);
    soon(drained).await;
}

/// A tonic client behind the layers retries until the stream that holds the permit has ended.
#[tokio::test]
async fn r8_tonic_response_carries_its_number_of_attempts() {
    let limit = ConcurrencyBackpressureLayer::new(1)
        .max_queue(0)
        .reject_with(grpc_rejection)
        .until_body_ends();
    let server = serve!(limit);
    let mut watching = client(&server).await;
    let statuses = soon(watching.watch(all())).await.unwrap().into_inner();

    let failed = Arc::new(AtomicU32::new(0));
    let logged = Arc::clone(&failed);
    let pause = Duration::from_millis(5);
    let policy = ExponentialRetry::new(10_000)
        .backoff(Backoff::new(pause, pause))
        .clone_with(ByReplay)
        .classify(GrpcClassifier::new())
        .on_decision(move |_| {
            logged.fetch_add(1, SeqCst);
        });
    let channel = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy))
        .map_request(|request: http::Request<ReplayBody<_>>| request.map(Body::new))
        .service(server.connect().await);
    let mut client = HealthClient::new(channel);
    let gone = async {
        until(|| failed.load(SeqCst) > 1).await;
        drop(statuses);
    };
    let (response, ()) = join(soon(client.check(all())), gone).await;
    let attempts = Attempts::from_extensions(response.unwrap().extensions()).get();
    assert_eq!(attempts, failed.load(SeqCst) + 1);
}

/// The health service of a server with limits on its other services.
#[tokio::test]
async fn b1_health_check_bypasses_the_limit_of_a_tonic_server() {
    let limit = ConcurrencyBackpressureLayer::new(1).max_queue(0).reject_with(grpc_rejection);
    let handle = limit.handle();
    let is_check =
        |request: &http::Request<_>| request.uri().path() == "/grpc.health.v1.Health/Check";
    let server = serve!(ExemptLayer::new(is_check, limit));
    let mut client = client(&server).await;
    handle.close().unwrap();
    let status = soon(client.watch(all())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    soon(client.check(all())).await.unwrap();
}

/// A rejection by a limit in front of the channel is a status too, with a policy or without.
#[tokio::test]
async fn c10_tonic_client_reads_the_status_of_its_own_limit() {
    let server = serve!(ServiceBuilder::new());
    let limit = || WindowRateLimitLayer::new(1, HOUR).max_queue(0);

    let layer = limit().reject_with(grpc_rejection);
    let channel = ServiceBuilder::new().layer(layer).service(server.connect().await);
    let mut client = HealthClient::new(channel);
    soon(client.check(all())).await.unwrap();
    let status = soon(client.check(all())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(pushback(&status).is_some());

    let channel = ServiceBuilder::new().layer(limit()).service(server.connect().await);
    let mut client = HealthClient::new(channel);
    soon(client.check(all())).await.unwrap();
    let status = soon(client.check(all())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(pushback(&status), None);
    assert!(Rejected::find(&status).is_some_and(Rejected::is_rate_limited));
}

/// Without a reject policy, the rejection is an error, of which tonic makes a response.
#[tokio::test]
async fn c10_tonic_server_without_a_reject_policy_responds_with_a_status() {
    let limit = WindowRateLimitLayer::new(1, HOUR).max_queue(0);
    let server = serve!(limit);
    let mut asking = client(&server).await;
    soon(asking.check(all())).await.unwrap();
    for _ in 0..2 {
        let status = refused(&mut asking).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(status.message(), "too many requests in this window, and the queue is full");
        let status = soon(asking.watch(all())).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }

    let limit = ConcurrencyBackpressureLayer::new(1).max_queue(0).until_body_ends();
    let handle = limit.handle();
    let server = serve!(limit);
    let mut asking = client(&server).await;
    let watched = soon(asking.watch(all())).await.unwrap();
    let status = refused(&mut asking).await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(status.message(), "too many requests in flight, and the queue is full");
    drop(watched);
    soon(handle.drained()).await;
    soon(asking.check(all())).await.unwrap(); // on the same connection
    handle.close().unwrap();
    let status = refused(&mut asking).await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "limiter is closed"));
}

/// A shutdown: calls that wait are rejected at once, and a stream that watches the close ends.
#[tokio::test]
async fn w9_closed_tonic_server_responds_unavailable_to_the_calls_that_wait() {
    let limit = WindowRateLimitLayer::new(1, HOUR).max_queue(10).reject_with(grpc_rejection);
    let handle = limit.handle();
    let server = serve!(limit);
    let mut asking = client(&server).await;
    soon(asking.check(all())).await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let mut client = asking.clone();
        waiting.spawn(async move { client.check(all()).await });
    }
    until(|| handle.queued() == 10).await;
    handle.close().unwrap();
    while let Some(outcome) = soon(waiting.join_next()).await {
        let status = outcome.unwrap().unwrap_err();
        assert_eq!((status.code(), pushback(&status)), (Code::Unavailable, None));
    }
    soon(handle.drained()).await;
}
