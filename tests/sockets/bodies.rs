//! The bodies of attempts: read to their end inside the retry, retried if they break off, sent
//! again, and holding their permits.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::sleep,
};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{
        Attempts, CollectError, CollectLayer, HttpClassifier, HttpHints, HttpRetry, HttpRetryLayer,
        ReadFailuresLayer, RequestBuilderExt, SendThrough,
    },
    find_cause,
    retry::{Backoff, Decision, RetryBudget, StopReason},
};

use crate::peer::{
    Listening, Log,
    misbehaving::{http1, http2},
    soon,
};

const ATTEMPTS: u32 = 6;

/// The reaction to a request.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A chunked response that comes in three parts, with trailers.
    Parts(u16),
    /// A response with a body that does not end.
    Endless(u16),
    /// A response with a first part of a body, and a second one once the client sends a byte.
    Stalling(u16),
    /// A response with two bytes of a body of this kind, then closes the connection.
    Cut(u16, Framing),
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunked,
}

/// A server that counts its connections, and the requests by their bodies.
struct Server {
    listening: Listening,
    connections: Arc<AtomicUsize>,
    requests: Log<Act>,
}

impl Server {
    /// Performs `acts` in turn, then the last one.
    async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let mut acts: Vec<_> = acts.into_iter().collect();
        acts.reverse();
        let acts = Arc::new(Mutex::new(acts));
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Log::new();
        let (counted, log) = (Arc::clone(&connections), requests.clone());
        let listening = Listening::start(move |stream| {
            counted.fetch_add(1, Relaxed);
            let (acts, log) = (Arc::clone(&acts), log.clone());
            let next = move || {
                let mut acts = acts.lock().unwrap();
                let act = if acts.len() > 1 { acts.pop().unwrap() } else { acts[0] };
                log.note(act);
                act
            };
            // A client may disconnect at any time.
            async { drop(converse(stream, next).await) }
        })
        .await;
        Self { listening, connections, requests }
    }

    fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    fn requests(&self) -> usize {
        self.requests.read().len()
    }

    fn url(&self) -> String {
        self.listening.url("/")
    }
}

/// Serves requests without bodies.
async fn converse(mut stream: TcpStream, next: impl Fn() -> Act) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let act = next();
        let (Act::Parts(status)
        | Act::Endless(status)
        | Act::Stalling(status)
        | Act::Cut(status, _)) = act;
        let framing = match act {
            Act::Cut(_, Framing::Length) => "Content-Length: 5",
            _ => "Transfer-Encoding: chunked",
        };
        let head = format!("HTTP/1.1 {status} As told\r\nX-Kept: yes\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        match act {
            Act::Parts(_) => {
                for part in ["2\r\nhe\r\n", "3\r\nllo\r\n", "0\r\n\r\n"] {
                    sleep(Duration::from_millis(5)).await;
                    stream.write_all(part.as_bytes()).await?;
                }
            }
            Act::Endless(_) => loop {
                stream.write_all(b"5\r\nhello\r\n").await?;
            },
            Act::Stalling(_) => {
                stream.write_all(b"2\r\nhe\r\n").await?;
                std::future::pending::<()>().await;
            }
            Act::Cut(_, Framing::Length) => return stream.write_all(b"he").await,
            Act::Cut(_, Framing::Chunked) => return stream.write_all(b"2\r\nhe\r\n").await,
        }
    }
}

fn policy() -> ExponentialRetry<HttpClassifier> {
    boxed_policy()
}

fn boxed_policy<M>() -> ExponentialRetry<HttpClassifier<M>> {
    ExponentialRetry::new(ATTEMPTS)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
        .classify(HttpClassifier::new())
}

fn hyper<B>() -> legacy::Client<legacy::connect::HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http()
}

/// A client that neither retries nor follows redirects.
fn reqwest() -> reqwest::Client {
    reqwest::Client::builder()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

async fn collect<B: Body<Error: std::fmt::Debug>>(response: Response<B>) -> Bytes {
    soon(response.into_body().collect()).await.unwrap().to_bytes()
}

fn get(server: &Server) -> Request<Empty<Bytes>> {
    Request::get(server.url()).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn r11_failed_attempts_of_hyper_share_a_connection() {
    let server = Server::start([Act::Parts(503)]).await;
    let client = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy()))
        .layer(ReadFailuresLayer::new())
        .service(hyper());
    let response = soon(client.oneshot(get(&server))).await.unwrap();
    assert_eq!(Attempts::from_response(&response).get(), ATTEMPTS);
    assert_eq!(response.status(), 503);
    assert_eq!(collect(response).await, "hello");
    assert_eq!((server.requests(), server.connections()), (ATTEMPTS as usize, 1));

    // All in one layer.
    let server = Server::start([Act::Parts(503), Act::Parts(429), Act::Parts(200)]).await;
    let client = ServiceBuilder::new().layer(HttpRetryLayer::new(policy())).service(hyper());
    let response = soon(client.oneshot(get(&server))).await.unwrap();
    assert_eq!(collect(response).await, "hello");
    assert_eq!((server.requests(), server.connections()), (3, 1));
}

#[tokio::test]
async fn r11_failed_attempts_of_reqwest_share_a_connection() {
    let server = Server::start([Act::Parts(503)]).await;
    let rate = WindowRateLimitLayer::new(1_000, Duration::from_secs(1));
    let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
    let client = ServiceBuilder::new()
        .layer(HttpRetryLayer::new(policy()))
        .layer(rate)
        .layer(pause)
        .service(reqwest());
    let response = soon(reqwest().get(server.url()).send_through(&client)).await.unwrap();
    assert_eq!(Attempts::from_response(&response).get(), ATTEMPTS);
    assert_eq!(response.status(), 503);
    assert_eq!(soon(response.text()).await.unwrap(), "hello");
    assert_eq!((server.requests(), server.connections()), (ATTEMPTS as usize, 1));
}

/// The parts of a response that the conversion of reqwest's could lose.
#[tokio::test]
async fn c3_reqwest_response_keeps_its_parts_when_its_body_is_wrapped() {
    for status in [404, 200] {
        let server = Server::start([Act::Parts(status)]).await;
        let bare = soon(reqwest().get(server.url()).send()).await.unwrap();
        let client = ServiceBuilder::new()
            .layer(ConcurrencyBackpressureLayer::new(1).until_body_ends())
            .layer(CollectLayer::new())
            .layer(ReadFailuresLayer::new())
            .service(reqwest());
        let response = soon(reqwest().get(server.url()).send_through(&client)).await.unwrap();
        assert_eq!(response.url(), bare.url());
        assert_eq!(response.status(), status);
        assert_eq!(response.version(), bare.version());
        assert_eq!(response.headers(), bare.headers());
        assert_eq!(response.remote_addr(), bare.remote_addr());
        assert!(response.remote_addr().is_some());
        // The length was not known before.
        assert_eq!((bare.content_length(), response.content_length()), (None, Some(5)));
        assert_eq!(soon(response.text()).await.unwrap(), "hello");
    }
    let server = http1::Misbehaving::start([]).await;
    let client = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(1).until_body_ends())
        .service(reqwest());
    let url = server.listening().url("/");
    let response = soon(reqwest().get(&url).send_through(&client)).await.unwrap();
    assert_eq!(response.content_length(), Some(5));
    assert_eq!(response.url().as_str(), url);
}

#[tokio::test]
async fn b1_reqwest_permit_is_held_until_the_body_ends() {
    let server = http1::Misbehaving::start([http1::Act::Answer, http1::Act::ResetInBody]).await;
    let layer = ConcurrencyBackpressureLayer::new(2).until_body_ends();
    let handle = layer.handle();
    let client = ServiceBuilder::new().layer(layer).service(reqwest());
    let url = server.listening().url("/");
    let whole = soon(reqwest().get(&url).send_through(&client)).await.unwrap();
    let broken = soon(reqwest().get(&url).send_through(&client)).await.unwrap();
    assert_eq!(handle.in_flight(), 2);
    assert_eq!(soon(whole.text()).await.unwrap(), "hello");
    assert_eq!(handle.in_flight(), 1);
    server.go_on();
    soon(broken.text()).await.unwrap_err();
    assert_eq!(handle.in_flight(), 0);
    let dropped = soon(reqwest().get(&url).send_through(&client)).await.unwrap();
    assert_eq!(handle.in_flight(), 1);
    drop(dropped);
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test]
async fn r11_endless_and_stalling_bodies_are_read_up_to_the_bounds() {
    let read = ReadFailuresLayer::new().max_bytes(10_000).max_wait(Duration::from_millis(20));
    for act in [Act::Endless(503), Act::Stalling(503)] {
        let server = Server::start([act]).await;
        let client = ServiceBuilder::new()
            .layer(HttpRetryLayer::new(policy()).read_failures(read))
            .service(hyper());
        let mut response = soon(client.oneshot(get(&server))).await.unwrap();
        assert_eq!(response.status(), 503);
        let part = soon(response.body_mut().frame()).await.unwrap().unwrap();
        assert!(b"hello".starts_with(&part.into_data().unwrap()[..2]), "{act:?}");
        assert_eq!(server.requests(), ATTEMPTS as usize);

        let server = Server::start([act]).await;
        let client = ServiceBuilder::new()
            .layer(HttpRetryLayer::new(policy()).read_failures(read))
            .service(reqwest());
        let mut response = soon(reqwest().get(server.url()).send_through(&client)).await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(soon(response.chunk()).await.unwrap().unwrap().starts_with(b"he"), "{act:?}");
        assert_eq!(server.requests(), ATTEMPTS as usize);
    }
}

/// A body that breaks off is retried if it is collected inside the retry, and only then.
#[tokio::test]
async fn r6_body_that_is_cut_is_retried_if_it_is_collected() {
    for framing in [Framing::Length, Framing::Chunked] {
        let acts = [Act::Cut(200, framing), Act::Cut(200, framing), Act::Parts(200)];
        for (method, idempotent) in [(Method::GET, true), (Method::POST, false)] {
            let server = Server::start(acts).await;
            let client = ServiceBuilder::new()
                .layer(HttpRetryLayer::new(boxed_policy()))
                .layer(CollectLayer::new())
                .service(hyper());
            let mut request = get(&server);
            *request.method_mut() = method.clone();
            let result = soon(client.oneshot(request)).await;
            if idempotent {
                let response = result.unwrap();
                assert_eq!(Attempts::from_response(&response).get(), 3);
                assert_eq!(collect(response).await, "hello");
                assert_eq!(server.requests(), 3);
            } else {
                let error = result.unwrap_err();
                assert!(find_cause::<CollectError>(&*error).is_some());
                assert!(find_cause::<hyper::Error>(&*error).is_some(), "{error:?}");
                assert_eq!(server.requests(), 1);
            }

            let server = Server::start(acts).await;
            let client = ServiceBuilder::new()
                .layer(HttpRetryLayer::new(boxed_policy()))
                .layer(CollectLayer::new())
                .service(reqwest());
            let request = reqwest().request(method, server.url());
            let result = soon(request.send_through(&client)).await;
            if idempotent {
                assert_eq!(soon(result.unwrap().text()).await.unwrap(), "hello");
                assert_eq!(server.requests(), 3);
            } else {
                let error = result.unwrap_err();
                assert!(find_cause::<reqwest::Error>(&*error).is_some(), "{error:?}");
                assert_eq!(server.requests(), 1);
            }
        }

        // Uncollected, it reaches the caller.
        let server = Server::start(acts).await;
        let client = ServiceBuilder::new().layer(HttpRetryLayer::new(policy())).service(reqwest());
        let response = soon(reqwest().get(server.url()).send_through(&client)).await.unwrap();
        soon(response.text()).await.unwrap_err();
        assert_eq!(server.requests(), 1);

        // A failed response is judged by its status, and its error arrives where it would have.
        let server = Server::start([Act::Cut(404, framing)]).await;
        let response = soon(reqwest().get(server.url()).send_through(&client)).await.unwrap();
        assert_eq!(response.status(), 404);
        soon(response.text()).await.unwrap_err();
        assert_eq!(server.requests(), 1);
    }
}

/// Sends a request to a server of HTTP/2, whose first body breaks off when `break_off` is called.
async fn collect_http2(
    method: Method,
    url: String,
    break_off: impl Fn() + Clone,
) -> Result<reqwest::Response, BoxError> {
    let bare = reqwest::Client::builder()
        .http2_prior_knowledge()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let policy = ExponentialRetry::new(2)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
        .classify(HttpClassifier::new().assume_no_redirects());
    let client = ServiceBuilder::new()
        .layer(HttpRetryLayer::new(policy))
        .layer(CollectLayer::new())
        .map_response(move |response: reqwest::Response| {
            // The head is here.
            break_off();
            response
        })
        .service(bare.clone());
    soon(bare.request(method, url).send_through(&client)).await
}

#[tokio::test]
async fn r6_body_that_is_reset_is_retried_if_it_is_collected() {
    use h2::Reason;

    for reason in [Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM] {
        for (method, received) in [(Method::GET, 2), (Method::POST, 1)] {
            let server = http2::Misbehaving::start([http2::Act::ResetInBody(reason)]).await;
            let url = server.listening().url("/");
            let result = collect_http2(method.clone(), url, || server.go_on()).await;
            assert_eq!(server.received().len(), received, "{reason:?} {method} {result:?}");
            match result {
                Ok(response) => assert_eq!(soon(response.text()).await.unwrap(), "hello"),
                Err(error) => assert!(find_cause::<CollectError>(&*error).is_some()),
            }
        }
    }
}

#[tokio::test]
async fn r6_body_whose_http2_connection_is_cut_is_retried_if_it_is_collected() {
    for (method, requests) in [(Method::GET, 2), (Method::POST, 1)] {
        let received = Arc::new(AtomicUsize::new(0));
        let cut = Arc::new(Notify::new());
        let (counted, cuts) = (Arc::clone(&received), Arc::clone(&cut));
        let listening = Listening::start(move |stream| {
            let (counted, cut) = (Arc::clone(&counted), Arc::clone(&cuts));
            async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                let first = counted.fetch_add(1, Relaxed) == 0;
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                let part = if first { "he" } else { "hello" };
                body.send_data(Bytes::from(part), !first).unwrap();
                tokio::select! {
                    () = cut.notified(), if first => {}
                    _ = connection.accept() => {}
                }
            }
        })
        .await;
        let result = collect_http2(method, listening.url("/"), || cut.notify_one()).await;
        assert_eq!(received.load(Relaxed), requests, "{result:?}");
        match result {
            Ok(response) => assert_eq!(soon(response.text()).await.unwrap(), "hello"),
            Err(error) => assert!(find_cause::<CollectError>(&*error).is_some()),
        }
    }
}

fn parts() -> reqwest::Body {
    let parts = stream::unfold(0, |n| async move {
        sleep(Duration::from_millis(2)).await;
        (n < 3).then(|| (Ok::<_, io::Error>(Bytes::from_static(b"part")), n + 1))
    });
    reqwest::Body::wrap_stream(parts)
}

const BUSY: http1::Act = http1::Act::Unavailable(b"Server: busy");

#[tokio::test]
async fn r7_reqwest_stream_is_sent_again() {
    let server = http1::Misbehaving::start([
        BUSY,
        http1::Act::UnavailableBeforeBody,
        BUSY,
        http1::Act::Answer,
    ])
    .await;
    let client = ServiceBuilder::new().layer(HttpRetryLayer::new(policy())).service(reqwest());
    let request = reqwest()
        .put(server.listening().url("/there?a=b#c"))
        .header("x-kept", "yes")
        .timeout(Duration::from_secs(600))
        .body(parts());
    let response = soon(request.send_through(&client)).await.unwrap();
    assert_eq!((response.status(), Attempts::from_response(&response).get()), (StatusCode::OK, 4));
    let received = server.received();
    assert_eq!(received.len(), 3, "one was not read to its end");
    for request in received {
        assert_eq!((request.body, request.path.as_str()), (12, "/there?a=b"));
        assert_eq!(request.headers["x-kept"], "yes");
        assert_eq!(request.headers["transfer-encoding"], "chunked");
    }
}

/// A body of another kind than a stream of unknown length.
#[tokio::test]
async fn r7_reqwest_bodies_keep_their_length_when_sent_again() {
    let sized = || {
        let body = http_body_util::Full::new(Bytes::from_static(b"sized"));
        reqwest::Body::wrap(body)
    };
    let empty = || reqwest::Body::wrap(Empty::<Bytes>::new());
    for (body, length) in
        [(Some(sized()), 5), (Some("text".into()), 4), (Some(empty()), 0), (None, 0)]
    {
        let server = http1::Misbehaving::start([BUSY, http1::Act::Answer]).await;
        let client = ServiceBuilder::new().layer(HttpRetryLayer::new(policy())).service(reqwest());
        let mut request = reqwest().put(server.listening().url("/"));
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = soon(request.send_through(&client)).await.unwrap();
        assert_eq!(response.status(), 200);
        let received = server.received();
        assert_eq!(received.len(), 2);
        for request in received {
            assert_eq!(request.body, length);
            assert!(!request.headers.contains_key("transfer-encoding"));
        }
    }
}

#[tokio::test]
async fn r8_hook_is_told_of_a_reqwest_stream_that_can_not_be_sent_again() {
    let long = |frames: usize| {
        let frames = (0..frames)
            .map(|_| Ok::<_, io::Error>(http_body::Frame::data(Bytes::from(vec![0; 1000]))));
        StreamBody::new(stream::iter(frames.collect::<Vec<_>>()))
    };
    let known = http_body_util::Full::new(Bytes::from(vec![0; 70_000]));
    for body in [reqwest::Body::wrap(long(70)), reqwest::Body::wrap(known)] {
        let server = http1::Misbehaving::start([BUSY]).await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        // The reason does not depend on the budget.
        let budget = RetryBudget::builder(0.1).floor_per_second(0).build();
        let policy = policy()
            .budget(budget)
            .on_decision(move |decision: &Decision| log.lock().unwrap().push(*decision));
        let client = ServiceBuilder::new().layer(HttpRetryLayer::new(policy)).service(reqwest());
        let request = reqwest().put(server.listening().url("/")).body(body);
        let response = soon(request.send_through(&client)).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(server.received().len(), 1);
        let told: Vec<_> = told.lock().unwrap().iter().map(|told| told.retry_in()).collect();
        assert_eq!(told, [Err(StopReason::NotReplayable)]);
    }
}

/// The error of the builder has the type of the service's errors.
#[tokio::test]
async fn c3_send_through_returns_the_error_of_the_builder() {
    fn is_builder_error(error: &reqwest::Error) -> bool {
        error.is_builder()
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let plain = ServiceBuilder::new()
        .map_request(move |request: reqwest::Request| {
            counted.fetch_add(1, Relaxed);
            request
        })
        .service(reqwest());
    let wrong = || reqwest().get("no address").header("a", "b");
    assert!(is_builder_error(&wrong().send_through(&plain).await.unwrap_err()));
    let boxed = ServiceBuilder::new().map_err(BoxError::from).service(plain);
    let error = wrong().send_through(&boxed).await.unwrap_err();
    assert!(find_cause::<reqwest::Error>(&*error).is_some_and(is_builder_error));
    assert_eq!(calls.load(Relaxed), 0);
}

/// The future can be spawned.
#[test]
fn c6_future_of_send_through_has_a_name_and_is_send() {
    fn is_send<T: Send + 'static>(_: &T) {}
    let client = ServiceBuilder::new().layer(HttpRetryLayer::new(policy())).service(reqwest());
    let sending: SendThrough<HttpRetry<reqwest::Client, _>> =
        reqwest().get("http://127.0.0.1:1").send_through(&client);
    is_send(&sending);
}
