//! tonic's client behind all the layers, against a server that fails before it responds.

use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::{Either, join};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{net::TcpSocket, sync::oneshot, task::JoinSet};
use tonic::{
    Code,
    body::Body,
    client::GrpcService,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient},
};
use tower::{Service, ServiceBuilder, layer::layer_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{Attempts, ByReplay, GrpcClassifier, GrpcHints, ReplayBody, ReplayLayer},
    retry::{Backoff, Decision, StopReason},
};

use crate::peer::{Log, now, soon};

/// The requested service name. If the body didn't arrive, the response would be `NOT_FOUND`.
const NAME: &str = "floodgate";

/// A received call.
#[derive(Clone, Debug)]
struct Arrival {
    at: Instant,
    headers: HeaderMap,
}

/// A call that fails: its code, and the server's pushback.
#[derive(Clone, Copy, Debug)]
struct Fails(Code, Option<&'static str>);

/// Fails the configured calls in front of a service, then passes calls on.
#[derive(Clone)]
struct Turnstile<S> {
    inner: S,
    fails: Arc<Mutex<Vec<Fails>>>,
    arrivals: Log<Arrival>,
}

impl<S> Service<Request<Body>> for Turnstile<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.arrivals.note(Arrival { at: now(), headers: request.headers().clone() });
        let Some(Fails(code, pushback)) = self.fails.lock().unwrap().pop() else {
            return Either::Left(self.inner.call(request));
        };
        let mut response = tonic::Status::new(code, "not now").into_http();
        if let Some(pushback) = pushback {
            let value = HeaderValue::from_static(pushback);
            response.headers_mut().insert("grpc-retry-pushback-ms", value);
        }
        Either::Right(ready(Ok(response)))
    }
}

/// tonic's health service behind a `Turnstile`. Dropping the handle stops it.
struct Health {
    url: String,
    arrivals: Log<Arrival>,
    _task: JoinSet<()>,
}

impl Health {
    async fn start(fails: &[Fails]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self::on(socket.listen(16).unwrap().into(), fails).await
    }

    async fn on(incoming: TcpIncoming, fails: &[Fails]) -> Self {
        let url = format!("http://{}", incoming.local_addr().unwrap());
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status(NAME, ServingStatus::Serving).await;
        let fails = Arc::new(Mutex::new(fails.iter().rev().copied().collect()));
        let arrivals = Log::new();
        let log = arrivals.clone();
        let turnstile = layer_fn(move |inner| Turnstile {
            inner,
            fails: Arc::clone(&fails),
            arrivals: log.clone(),
        });
        let serving =
            Server::builder().layer(turnstile).add_service(health).serve_with_incoming(incoming);
        let mut task = JoinSet::new();
        task.spawn(async { serving.await.unwrap() });
        Self { url, arrivals, _task: task }
    }
}

/// All the layers around tonic's channel.
fn client(
    url: &str,
    on_decision: impl Fn(&Decision) + Send + Sync + 'static,
) -> HealthClient<
    impl GrpcService<Body, ResponseBody = Body, Error: Into<tower::BoxError>, Future: Send> + Clone,
> {
    let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect_lazy();
    let policy = ExponentialRetry::new(4)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
        .classify(GrpcClassifier::new())
        .clone_with(ByReplay)
        .on_decision(on_decision);
    let rate = WindowRateLimitLayer::new(1000, Duration::from_secs(1));
    let pause = PauseOnHintLayer::new(rate.handle(), GrpcHints);
    let service = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(8))
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy))
        .layer(rate)
        .layer(pause)
        .map_request(|request: Request<ReplayBody<_>>| request.map(Body::new))
        .service(channel);
    HealthClient::new(service)
}

fn check() -> HealthCheckRequest {
    HealthCheckRequest { service: NAME.to_owned() }
}

/// Asserts that the call succeeds, and returns its number of attempts.
fn served(response: &tonic::Response<HealthCheckResponse>) -> u32 {
    assert_eq!(response.get_ref().status(), ServingStatus::Serving.into());
    response.extensions().get::<Attempts>().map_or(1, |attempts| attempts.get())
}

#[tokio::test]
async fn r4_tonic_client_waits_for_the_pushback() {
    let pushback = Some("60");
    let health = Health::start(&[Fails(Code::Unavailable, pushback); 2]).await;
    let decisions = Log::new();
    let logged = decisions.clone();
    let mut client = client(&health.url, move |decision| logged.note(decision.retry_in()));
    let response = soon(client.check(check())).await.unwrap();
    assert_eq!(served(&response), 3);

    let wait = Duration::from_millis(60);
    assert_eq!(decisions.read(), [Ok(wait); 2], "and not a moment more");
    let arrivals = health.arrivals.read();
    assert!(arrivals.windows(2).all(|pair| pair[1].at >= pair[0].at + wait));
    // The server sees that these are retries.
    let told = |arrival: &Arrival| arrival.headers.get("grpc-previous-rpc-attempts").cloned();
    let told: Vec<_> = arrivals.iter().map(told).collect();
    assert_eq!(told, [None, Some(HeaderValue::from(1)), Some(HeaderValue::from(2))]);
}

#[tokio::test]
async fn r4_tonic_client_obeys_a_negative_pushback() {
    let health = Health::start(&[
        Fails(Code::Unavailable, None),
        Fails(Code::Unavailable, Some("-1")),
        Fails(Code::Unavailable, None),
    ])
    .await;
    let decisions = Log::new();
    let logged = decisions.clone();
    let mut client = client(&health.url, move |decision| logged.note(decision.retry_in().err()));
    let status = soon(client.check(check())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "not now"));
    assert_eq!(decisions.read(), [None, Some(StopReason::RetryForbidden)]);
    assert_eq!(health.arrivals.read().len(), 2);
}

/// The failed call is not retried, so only the limit can hold back the next call.
#[tokio::test]
async fn r9_pushback_pauses_all_calls_of_a_tonic_client() {
    let health = Health::start(&[Fails(Code::ResourceExhausted, Some("100"))]).await;
    let mut client = client(&health.url, |_| ());
    let status = soon(client.check(check())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let mut other = client.clone();
    let both = soon(join(client.check(check()), other.check(check()))).await;
    assert_eq!((served(&both.0.unwrap()), served(&both.1.unwrap())), (1, 1));
    let arrivals = health.arrivals.read();
    assert_eq!(arrivals.len(), 3);
    let until = arrivals[0].at + Duration::from_millis(100);
    assert!(arrivals[1..].iter().all(|arrival| arrival.at >= until));
}

/// The server starts after the first attempt was refused.
#[tokio::test]
async fn r6_tonic_call_with_a_refused_connection_is_resent() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let (sender, receiver) = oneshot::channel();
    let opens = Mutex::new(Some((socket, sender)));
    let mut client = client(&url, move |_| {
        if let Some((socket, sender)) = opens.lock().unwrap().take() {
            sender.send(socket.listen(16).unwrap()).unwrap();
        }
    });
    let opened = async { Health::on(receiver.await.unwrap().into(), &[]).await };
    let (response, health) = soon(join(client.check(check()), opened)).await;
    assert_eq!(served(&response.unwrap()), 2);
    assert_eq!(health.arrivals.read().len(), 1);
}
