//! reqwest behind all the layers, against a server that doesn't always respond.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use ::reqwest::{Body, Error, Request, Response, redirect, retry};
use futures::{future::join, stream};
use http::{HeaderName, HeaderValue, Method};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    sync::oneshot,
};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{Attempts, HttpClassifier, HttpHints},
    retry::{Backoff, Decision},
};

use crate::peer::{
    misbehaving::http1::{Act, Misbehaving},
    soon,
};

const BUSY: Act = Act::Unavailable(b"Server: busy");
const MAX_ATTEMPTS: u32 = 4;

/// All the layers, in the usual order. reqwest itself retries nothing and follows no redirects.
fn client(
    classify: HttpClassifier,
    on_decision: impl Fn(&Decision) + Send + Sync + 'static,
) -> impl Service<Request, Response = Response, Error = Error, Future: Send> + Clone {
    let policy = ExponentialRetry::new(MAX_ATTEMPTS)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
        .classify(classify)
        .clone_with(Request::try_clone)
        .on_decision(on_decision);
    let rate = WindowRateLimitLayer::new(1000, Duration::from_secs(1));
    let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
    let reqwest = ::reqwest::Client::builder()
        .retry(retry::never())
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(8))
        .layer(ExponentialRetryLayer::new(policy))
        .layer(rate)
        .layer(pause)
        .service(reqwest)
}

fn request(method: Method, server: &Misbehaving) -> Request {
    Request::new(method, server.listening().url("/").parse().unwrap())
}

fn keyed(mut request: Request) -> Request {
    request.headers_mut().insert("idempotency-key", HeaderValue::from_static("\"8e03978e\""));
    request
}

/// The attempt header of each request that the server received.
fn told(server: &Misbehaving) -> Vec<Option<HeaderValue>> {
    server.received().iter().map(|request| request.headers.get("attempt").cloned()).collect()
}

#[tokio::test]
async fn r8_reqwest_responses_and_requests_carry_attempts() {
    let server = Misbehaving::start([BUSY, BUSY, Act::Answer, Act::Answer]).await;
    let classify = HttpClassifier::new().attempt_header(HeaderName::from_static("attempt"));
    let client = client(classify, |_| ());
    for attempts in [3, 1] {
        let call = client.clone().oneshot(request(Method::GET, &server));
        let response = soon(call).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), Attempts::from_response(&response).get()),
            (200, attempts)
        );
        assert_eq!(soon(response.text()).await.unwrap(), "hello");
    }
    let number = |number| Some(HeaderValue::from(number));
    assert_eq!(told(&server), [None, number(1), number(2), None]);

    // A failed response carries its number of attempts too.
    let server = Misbehaving::start([BUSY; 9]).await;
    let response = soon(client.oneshot(request(Method::GET, &server))).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), Attempts::from_response(&response).get()),
        (503, MAX_ATTEMPTS)
    );
    assert_eq!(server.received().len(), MAX_ATTEMPTS as usize);
}

#[tokio::test]
async fn r6_reqwest_post_is_resent_only_if_repeatable() {
    for act in [BUSY, Act::Reset, Act::Close] {
        let server = Misbehaving::start([act]).await;
        let client = client(HttpClassifier::new(), |_| ());
        let mut post = request(Method::POST, &server);
        *post.body_mut() = Some("abc".into());

        let outcome = soon(client.clone().oneshot(post.try_clone().unwrap())).await;
        match outcome {
            Ok(response) => assert_eq!((response.status().as_u16(), act), (503, BUSY)),
            Err(_) => assert_ne!(act, BUSY),
        }
        assert_eq!(server.received().len(), 1, "{act:?}");

        let server = Misbehaving::start([act]).await;
        *post.url_mut() = server.listening().url("/").parse().unwrap();
        let response = soon(client.oneshot(keyed(post))).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), Attempts::from_response(&response).get()),
            (200, 2)
        );
        let received = server.received();
        assert_eq!(received.len(), 2, "{act:?}");
        assert!(received.iter().all(|request| request.body == 3));
    }
}

/// The server starts after the first attempt was refused.
#[tokio::test]
async fn r6_post_with_a_refused_connection_is_resent() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let post = Request::new(Method::POST, url.parse().unwrap());

    // Without the assumption, the error might belong to a redirect's request.
    let decisions = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&decisions);
    let wary = client(HttpClassifier::new(), move |_| {
        count.fetch_add(1, Relaxed);
    });
    let error = soon(wary.oneshot(post.try_clone().unwrap())).await.unwrap_err();
    assert!(error.is_connect());
    assert_eq!(decisions.load(Relaxed), 0);

    let (sender, receiver) = oneshot::channel();
    let opens = Mutex::new(Some((socket, sender)));
    let client = client(HttpClassifier::new().assume_no_redirects(), move |_| {
        if let Some((socket, sender)) = opens.lock().unwrap().take() {
            sender.send(socket.listen(16).unwrap()).unwrap();
        }
    });
    let opened = async { Misbehaving::on(receiver.await.unwrap(), []) };
    let (response, server) = soon(join(client.oneshot(post), opened)).await;
    let response = response.unwrap();
    assert_eq!((response.status().as_u16(), Attempts::from_response(&response).get()), (200, 2));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn r7_reqwest_stream_is_sent_once_and_its_response_passes() {
    for (act, status) in [(BUSY, 503), (Act::Answer, 200)] {
        let server = Misbehaving::start([act]).await;
        let mut put = request(Method::PUT, &server);
        let parts = ["abc", "de"].map(Ok::<_, std::io::Error>);
        *put.body_mut() = Some(Body::wrap_stream(stream::iter(parts)));
        let response = soon(client(HttpClassifier::new(), |_| ()).oneshot(put)).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), Attempts::from_response(&response).get()),
            (status, 1)
        );
        let lengths: Vec<_> = server.received().iter().map(|request| request.body).collect();
        assert_eq!(lengths, [5]);
    }
}

/// A redirect that the client's own policy refuses is final, whatever cause the policy names.
#[tokio::test]
async fn r6_redirect_refused_by_the_clients_policy_is_not_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let received = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Relaxed);
            let _ = stream.read(&mut [0; 1024]).await;
            let head = "HTTP/1.1 302 Found\r\nlocation: /next\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    let refuse = |attempt: redirect::Attempt<'_>| {
        attempt.error(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    };
    let reqwest = ::reqwest::Client::builder()
        .retry(retry::never())
        .redirect(redirect::Policy::custom(refuse))
        .build()
        .unwrap();
    let policy = ExponentialRetry::new(MAX_ATTEMPTS)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
        .classify(HttpClassifier::new())
        .clone_with(Request::try_clone);
    let client = ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(reqwest);
    let request = Request::new(Method::GET, url.parse().unwrap());
    let error = soon(client.oneshot(request)).await.unwrap_err();
    assert!(error.is_redirect(), "{error:?}");
    assert_eq!(received.load(Relaxed), 1);
}
