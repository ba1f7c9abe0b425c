//! Deadlines of gRPC calls: tonic's client and server behind a `DeadlineLayer`.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::{Request, Response};
use tokio::{net::TcpSocket, task::JoinSet};
use tonic::{
    Code, Status,
    body::Body,
    client::GrpcService,
    server::NamedService,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Service, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, DeadlineLayer, ExponentialRetry, ExponentialRetryLayer,
    WindowRateLimitLayer,
    client::{ByReplay, GrpcClassifier, ReplayBody, ReplayLayer, send_grpc_timeout},
    deadline::{GrpcTimeout, ReadDeadline},
    retry::Backoff,
    server::grpc_rejection,
};

use crate::peer::{Log, now, soon};

/// A received call.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Instant,
    timeout: Option<Duration>,
}

/// Stands for the health service: fails each call as `UNAVAILABLE` after a time, or never.
#[derive(Clone)]
struct Unavailable {
    after: Option<Duration>,
    arrivals: Log<Arrival>,
}

impl NamedService for Unavailable {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl Service<Request<Body>> for Unavailable {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let timeout = GrpcTimeout.read_deadline(&request);
        self.arrivals.note(Arrival { at: now(), timeout });
        let after = self.after;
        Box::pin(async move {
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => pending().await,
            }
            Ok(Status::unavailable("not now").into_http())
        })
    }
}

/// A running server. Dropping it stops it.
struct Running {
    url: String,
    arrivals: Log<Arrival>,
    _task: JoinSet<()>,
}

fn listen() -> TcpIncoming {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(64).unwrap().into()
}

async fn start(after: Option<Duration>) -> Running {
    let incoming = listen();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let arrivals = Log::new();
    let service = Unavailable { after, arrivals: arrivals.clone() };
    let serving = Server::builder().add_service(service).serve_with_incoming(incoming);
    let mut task = JoinSet::new();
    task.spawn(async { serving.await.unwrap() });
    Running { url, arrivals, _task: task }
}

/// All the layers around tonic's channel, with up to 20 attempts.
fn client(
    url: &str,
) -> HealthClient<
    impl GrpcService<Body, ResponseBody = Body, Error: Into<tower::BoxError>, Future: Send>
    + Clone
    + use<>,
> {
    let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect_lazy();
    let policy = ExponentialRetry::new(20)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
        .classify(GrpcClassifier::new())
        .clone_with(ByReplay);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::from_request(GrpcTimeout).reject_with(grpc_rejection))
        .layer(ConcurrencyBackpressureLayer::new(8))
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy))
        .layer(WindowRateLimitLayer::new(1_000, Duration::from_secs(1)))
        .map_request(send_grpc_timeout)
        .map_request(|request: Request<ReplayBody<_>>| request.map(Body::new))
        .service(channel);
    HealthClient::new(service)
}

fn check(timeout: Duration) -> tonic::Request<HealthCheckRequest> {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.set_timeout(timeout);
    request
}

#[tokio::test]
async fn r10_grpc_timeout_bounds_all_attempts_and_each_is_told_the_time_left() {
    let (timeout, takes) = (Duration::from_millis(500), Duration::from_millis(180));
    let server = start(Some(takes)).await;
    let status = soon(client(&server.url).check(check(timeout))).await.unwrap_err();
    assert!(matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded), "{status:?}");

    let arrivals = server.arrivals.read();
    let told: Vec<_> = arrivals.iter().map(|arrival| arrival.timeout.unwrap()).collect();
    assert!(told[0] <= timeout);
    // An attempt is sent after the one before was answered, which took the server that long.
    assert!(told.windows(2).all(|pair| pair[1] + takes <= pair[0]), "{told:?}");
    assert!(arrivals.windows(2).all(|pair| pair[1].at >= pair[0].at + takes));
    assert!((1..=3).contains(&told.len()), "{told:?}");
}

#[tokio::test]
async fn r10_call_that_is_not_answered_ends_as_deadline_exceeded() {
    let server = start(None).await;
    let client = client(&server.url);
    let call = |timeout| {
        let mut client = client.clone();
        async move { client.check(check(timeout)).await }
    };
    // As many calls as permits, and those that are late in the queue meanwhile.
    let mut sent = JoinSet::new();
    (0..8).for_each(|_| drop(sent.spawn(call(Duration::from_secs(2)))));
    while server.arrivals.read().len() < 8 {
        tokio::task::yield_now().await;
    }
    let late = (0..16).map(|_| call(Duration::from_millis(200)));
    let mut results = soon(join_all(late)).await;
    assert_eq!(server.arrivals.read().len(), 8);
    results.extend(soon(sent.join_all()).await);
    for result in results {
        let status = result.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(status.message(), "the deadline of the request has passed");
    }
}

#[tokio::test]
async fn r10_grpc_timeout_covers_the_queue_of_a_tonic_server() {
    let limit = ConcurrencyBackpressureLayer::new(1);
    let handle = limit.handle();
    let arrivals = Log::new();
    let limits = ServiceBuilder::new()
        .layer(DeadlineLayer::from_request(GrpcTimeout).reject_with(grpc_rejection))
        .layer(limit)
        .into_inner();
    let incoming = listen();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let service = Unavailable { after: None, arrivals: arrivals.clone() };
    let serving =
        Server::builder().layer(limits).add_service(service).serve_with_incoming(incoming);
    let mut task = JoinSet::new();
    task.spawn(async { serving.await.unwrap() });

    let channel = Endpoint::from_shared(url).unwrap().connect_lazy();
    let calls = (0..4).map(|_| {
        let mut client = HealthClient::new(channel.clone());
        async move { client.check(check(Duration::from_millis(100))).await }
    });
    for result in soon(join_all(calls)).await {
        // The channel keeps the timeout, too, and says CANCELLED.
        let code = result.unwrap_err().code();
        assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    }
    assert!(arrivals.read().len() <= 4);
    // All permits are free again: the queue is not blocked by late requests.
    soon(handle.drained()).await;
    task.abort_all();
}
