//! tonic's client behind all the layers, against a server that fails before it responds.

use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{
    future::{Either, join},
    stream::{Once, once},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{net::TcpSocket, sync::oneshot, task::JoinSet, time::sleep};
use tonic::{
    Code,
    body::Body,
    client::GrpcService,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_client::HealthClient,
        health_server::{self, HealthServer},
    },
};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{BoxError, Service, ServiceBuilder, layer::layer_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{
        Attempts, ByReplay, GrpcClassifier, GrpcCode, GrpcHints, GrpcTrailersLayer, ReplayBody,
        ReplayLayer, grpc_trailers::PeekedBody,
    },
    retry::{Backoff, Decision, StopReason},
};

use crate::peer::{
    Log,
    misbehaving::grpc::{Act, Misbehaving},
    now, soon,
};

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
    impl GrpcService<Body, ResponseBody = PeekedBody<Body>, Error: Into<BoxError>, Future: Send> + Clone,
> {
    client_with(GrpcClassifier::new(), GrpcTrailersLayer::new(), url, on_decision)
}

fn client_with(
    classify: GrpcClassifier,
    trailers: GrpcTrailersLayer,
    url: &str,
    on_decision: impl Fn(&Decision) + Send + Sync + 'static,
) -> HealthClient<
    impl GrpcService<Body, ResponseBody = PeekedBody<Body>, Error: Into<BoxError>, Future: Send> + Clone,
> {
    let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect_lazy();
    let policy = ExponentialRetry::new(4)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
        .classify(classify)
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
        .layer(trailers)
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

/// A health service whose calls and streams fail with these statuses, then succeed.
#[derive(Clone)]
struct Failing(Arc<Mutex<Vec<tonic::Status>>>);

impl Failing {
    /// Serves it on tonic's server.
    async fn start(statuses: impl IntoIterator<Item = tonic::Status>) -> (String, JoinSet<()>) {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", incoming.local_addr().unwrap());
        let service = Self(Arc::new(Mutex::new(statuses.into_iter().collect())));
        let serving =
            Server::builder().add_service(HealthServer::new(service)).serve_with_incoming(incoming);
        let mut task = JoinSet::new();
        task.spawn(async { serving.await.unwrap() });
        (url, task)
    }

    fn next(&self) -> Result<HealthCheckResponse, tonic::Status> {
        let status = self.0.lock().unwrap().pop();
        let mut serving = HealthCheckResponse::default();
        serving.set_status(ServingStatus::Serving.into());
        status.map_or(Ok(serving), Err)
    }
}

#[tonic::async_trait]
impl health_server::Health for Failing {
    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, tonic::Status> {
        self.next().map(tonic::Response::new)
    }

    type WatchStream = Once<Ready<Result<HealthCheckResponse, tonic::Status>>>;

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, tonic::Status> {
        Ok(tonic::Response::new(once(ready(self.next()))))
    }
}

/// As the module of `GrpcTrailersLayer` says of tonic.
#[tokio::test]
async fn r6_tonic_server_fails_a_call_in_the_head_and_a_stream_in_trailers() {
    let unavailable = || tonic::Status::unavailable("not now");
    let (url, _task) = Failing::start([unavailable(), unavailable()]).await;
    let heads = Log::new();
    let logged = heads.clone();
    let channel = ServiceBuilder::new()
        .map_response(move |response: Response<Body>| {
            logged.note(response.headers().contains_key("grpc-status"));
            response
        })
        .service(Endpoint::from_shared(url).unwrap().connect_lazy());
    let mut client = HealthClient::new(channel);
    soon(client.check(check())).await.unwrap_err();
    let mut stream = soon(client.watch(check())).await.unwrap().into_inner();
    assert_eq!(soon(stream.message()).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(heads.read(), [true, false]);
}

/// Waits for trailers longer than any machine takes.
fn patient() -> GrpcTrailersLayer {
    GrpcTrailersLayer::new().max_wait(Duration::from_secs(3600))
}

#[tokio::test]
async fn r6_tonic_stream_that_fails_before_its_first_message_is_retried() {
    let unavailable = || tonic::Status::unavailable("not now");
    let (url, _task) = Failing::start([unavailable(), unavailable()]).await;
    let mut client = client_with(GrpcClassifier::new(), patient(), &url, |_| ());
    let response = soon(client.watch(check())).await.unwrap();
    assert_eq!(Attempts::from_extensions(response.extensions()).get(), 3);
    let mut stream = response.into_inner();
    let message = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(message.status(), ServingStatus::Serving.into());
    assert!(soon(stream.message()).await.unwrap().is_none());
}

/// Of two calls that are out of resources, the server tells only one when to come again.
#[tokio::test]
async fn r4_tonic_client_obeys_retry_info_and_returns_exhaustion_without() {
    let wait = Duration::from_millis(60);
    let details = ErrorDetails::with_retry_info(Some(wait));
    let code = Code::ResourceExhausted;
    let limited = tonic::Status::with_error_details(code, "slowly", details);
    let too_large = tonic::Status::new(code, "message too large");
    for streams in [false, true] {
        let (url, _task) = Failing::start([too_large.clone(), limited.clone()]).await;
        let decisions = Log::new();
        let logged = decisions.clone();
        let classify = GrpcClassifier::new().codes_with_pushback([GrpcCode::ResourceExhausted]);
        let note = move |decision: &Decision| logged.note(*decision);
        let mut client = client_with(classify, patient(), &url, note);
        let status = match streams {
            false => soon(client.check(check())).await.unwrap_err(),
            true => soon(client.watch(check())).await.unwrap_err(),
        };
        assert_eq!((status.code(), status.message()), (code, "message too large"));
        let [decision] = decisions.read()[..] else { panic!("{decisions:?}") };
        assert_eq!(decision.hint(), Some(wait));
        assert!(decision.retry_in().unwrap() >= wait);
    }
}

/// Head and trailers in the same packet, and each in its own.
#[tokio::test]
async fn r6_tonic_call_that_fails_in_trailers_is_retried() {
    for act in [Act::Fail(14), Act::FailLater(14)] {
        let server = Misbehaving::start([act, act]).await;
        let url = server.listening().url("/");
        let mut client = client_with(GrpcClassifier::new(), patient(), &url, |_| ());
        let call = soon(client.check(check()));
        let late = async {
            for received in 1..=2 {
                // The head is on its way before the trailers are.
                soon(async {
                    while server.received().len() < received {
                        sleep(Duration::from_millis(1)).await;
                    }
                })
                .await;
                sleep(Duration::from_millis(20)).await;
                server.go_on();
            }
        };
        let (response, ()) = join(call, late).await;
        assert_eq!(served(&response.unwrap()), 3, "{act:?}");
        assert_eq!(server.received().len(), 3);
    }
}

/// The head is returned without a first frame, and the status that follows is the stream's.
#[tokio::test]
async fn r6_open_tonic_stream_begins_without_a_message() {
    for (act, code) in [(Act::ServeLater, Code::Ok), (Act::FailLater(14), Code::Unavailable)] {
        for max_wait in [Duration::ZERO, Duration::from_millis(5)] {
            let server = Misbehaving::start([act]).await;
            let layer = GrpcTrailersLayer::new().max_wait(max_wait);
            let url = server.listening().url("/");
            let mut client = client_with(GrpcClassifier::new(), layer, &url, |_| ());
            let response = soon(client.watch(check())).await.unwrap();
            let mut stream = response.into_inner();
            server.go_on();
            let code_of = |status: tonic::Status| status.code();
            let message = soon(stream.message()).await;
            assert_eq!(message.map_or_else(code_of, |_| Code::Ok), code);
            assert_eq!(server.received().len(), 1, "a stream that has begun is not retried");
        }
    }
}
