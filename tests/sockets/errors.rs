//! The errors of clients, for each way in which a server misbehaves: the types down the chain of
//! causes, and their predicates.
//!
//! Classification depends on these errors, so a new version of a client with other errors must fail
//! a test.

use std::{error::Error, io, time::Duration};

use bytes::Bytes;
use futures::future::join;
use h2::Reason;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::{TcpSocket, TcpStream};
use tower_floodgate::{
    client::{AsError, HttpClassifier},
    retry::Classify,
};

use crate::peer::{
    misbehaving::{
        goaway::{Going, GoingAway},
        http1, http2,
    },
    soon,
};

/// The types down the chain, outermost first, with their predicates.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(describe).collect::<Vec<_>>().join(" > ")
}

fn describe(error: &(dyn Error + 'static)) -> String {
    let said = |name: &str, facts: &[(&str, bool)]| {
        let true_ones: Vec<_> = facts.iter().filter(|(_, so)| *so).map(|(fact, _)| *fact).collect();
        format!("{name}({})", true_ones.join(" "))
    };
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        let facts = [
            ("connect", error.is_connect()),
            ("timeout", error.is_timeout()),
            ("request", error.is_request()),
            ("body", error.is_body()),
            ("decode", error.is_decode()),
        ];
        said("reqwest", &facts)
    } else if let Some(error) = error.downcast_ref::<legacy::Error>() {
        said("legacy", &[("connect", error.is_connect())])
    } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
        let facts = [
            ("parse", error.is_parse()),
            ("user", error.is_user()),
            ("canceled", error.is_canceled()),
            ("closed", error.is_closed()),
            ("incomplete", error.is_incomplete_message()),
            ("timeout", error.is_timeout()),
        ];
        said("hyper", &facts)
    } else if let Some(error) = error.downcast_ref::<h2::Error>() {
        let reason = error.reason().map_or(String::new(), |reason| format!("{reason:?}"));
        let facts = [
            ("go_away", error.is_go_away()),
            ("reset", error.is_reset()),
            ("io", error.is_io()),
            ("library", error.is_library()),
            ("remote", error.is_remote()),
            (reason.as_str(), true),
        ];
        said("h2", &facts)
    } else if let Some(error) = error.downcast_ref::<io::Error>() {
        format!("io({:?})", error.kind())
    } else {
        format!("({error})")
    }
}

type Hyper = legacy::Client<legacy::connect::HttpConnector, Full<Bytes>>;

#[derive(Clone, Copy, Debug)]
enum Which {
    Hyper,
    Reqwest,
}

/// Neither client retries anything by itself.
struct Clients {
    hyper: Hyper,
    reqwest: reqwest::Client,
}

impl Clients {
    fn new(http2: bool) -> Self {
        let mut hyper = legacy::Client::builder(TokioExecutor::new());
        hyper.http2_only(http2).retry_canceled_requests(false);
        let reqwest = reqwest::Client::builder().retry(reqwest::retry::never());
        let reqwest = if http2 { reqwest.http2_prior_knowledge() } else { reqwest };
        Self { hyper: hyper.build_http(), reqwest: reqwest.build().unwrap() }
    }

    /// The result of a POST: the body of the response, or the chain of the error. `go_on` is called
    /// once the head has arrived.
    async fn by_hyper(&self, url: &str, go_on: impl Fn()) -> Result<Bytes, String> {
        let request = Request::post(url).body(Full::from("abc")).unwrap();
        let response = soon(self.hyper.request(request)).await.map_err(|error| chain(&error))?;
        go_on();
        let body = soon(response.into_body().collect()).await;
        body.map(|body| body.to_bytes()).map_err(|error| chain(&error))
    }

    /// Does the same with reqwest.
    async fn by_reqwest(&self, url: &str, go_on: impl Fn()) -> Result<Bytes, String> {
        let request = self.reqwest.post(url).body("abc");
        let response = soon(request.send()).await.map_err(|error| chain(&error))?;
        go_on();
        soon(response.bytes()).await.map_err(|error| chain(&error))
    }

    async fn by(&self, client: Which, url: &str) -> Result<Bytes, String> {
        match client {
            Which::Hyper => self.by_hyper(url, || ()).await,
            Which::Reqwest => self.by_reqwest(url, || ()).await,
        }
    }
}

/// The point at which the connection breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Request,
    Body,
}

/// Asserts that both clients failed with `expected`, which reqwest wraps in an error of its own.
fn said(what: &str, expected: &str, at: Where, outcomes: [Result<Bytes, String>; 2]) {
    println!("{what}: {expected}");
    let around = if at == Where::Request { "request" } else { "decode" };
    let [hyper, reqwest] = outcomes.map(|outcome| outcome.unwrap_err());
    assert_eq!(hyper, expected, "hyper-util's client, {what}");
    assert_eq!(reqwest, format!("reqwest({around}) > {expected}"), "reqwest, {what}");
}

#[tokio::test]
async fn r6_clients_report_a_broken_connection() {
    use http1::Act;

    // All of these requests were received to their end. These errors tell neither that nor the
    // opposite.
    for (act, expected, at) in [
        (Act::Close, "legacy() > hyper(incomplete)", Where::Request),
        (Act::Reset, "legacy() > hyper() > io(ConnectionReset)", Where::Request),
        (Act::GarbageStatus, "legacy() > hyper(parse)", Where::Request),
        (Act::ResetInBody, "hyper() > io(ConnectionReset)", Where::Body),
    ] {
        let (clients, server) = (Clients::new(false), http1::Misbehaving::start([act, act]).await);
        let url = server.listening().url("/");
        let hyper = clients.by_hyper(&url, || server.go_on()).await;
        let reqwest = clients.by_reqwest(&url, || server.go_on()).await;
        said(&format!("HTTP/1.1, {act:?}"), expected, at, [hyper, reqwest]);
        assert_eq!(server.received().len(), 2);
    }
}

#[tokio::test]
async fn r6_response_before_the_body_is_read_is_no_error() {
    let act = http1::Act::UnavailableBeforeBody;
    let (clients, server) = (Clients::new(false), http1::Misbehaving::start([act, act]).await);
    let url = server.listening().url("/");
    assert_eq!(clients.by_hyper(&url, || ()).await.unwrap(), "");
    assert_eq!(clients.by_reqwest(&url, || ()).await.unwrap(), "");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn r6_clients_report_a_request_never_sent() {
    // A port that stays bound without a listener.
    let kept = TcpSocket::new_v4().unwrap();
    kept.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", kept.local_addr().unwrap());
    let clients = Clients::new(false);
    let expected = "legacy(connect) > (tcp connect error) > io(ConnectionRefused)";
    assert_eq!(clients.by_hyper(&url, || ()).await.unwrap_err(), expected);
    let by_reqwest = clients.by_reqwest(&url, || ()).await.unwrap_err();
    assert_eq!(by_reqwest, format!("reqwest(connect request) > {expected}"));

    // The connection is closed before the request is passed to it, as happens to idle ones.
    let server = http1::Misbehaving::start([]).await;
    let stream = TcpStream::connect(server.listening().address()).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    drop(connection);
    let error =
        soon(sender.send_request(Request::new(Full::<Bytes>::from("abc")))).await.unwrap_err();
    assert_eq!(chain(&error), "hyper(canceled) > (connection was not ready)");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn o5_errors_of_clients_have_classes() {
    fn class_of<E: AsError<M>, M>(error: E) -> String {
        let result = Err::<http::Response<()>, E>(error);
        let classify = HttpClassifier::<M>::new();
        Classify::<Request<()>, _, _>::error_type(&classify, &result).to_string()
    }
    async fn classes(clients: &Clients, url: &str) -> [String; 2] {
        let request = Request::post(url).body(Full::from("abc")).unwrap();
        let hyper = soon(clients.hyper.request(request)).await.unwrap_err();
        let reqwest = soon(clients.reqwest.post(url).body("abc").send()).await.unwrap_err();
        [class_of(hyper), class_of(reqwest)]
    }

    for (act, class) in [
        (http1::Act::Close, "reset"),
        (http1::Act::Reset, "reset"),
        (http1::Act::GarbageStatus, "_OTHER"),
    ] {
        let (clients, server) = (Clients::new(false), http1::Misbehaving::start([act, act]).await);
        assert_eq!(classes(&clients, &server.listening().url("/")).await, [class; 2], "{act:?}");
    }
    let acts = [http2::Act::Reset(Reason::REFUSED_STREAM); 2];
    let (clients, server) = (Clients::new(true), http2::Misbehaving::start(acts).await);
    assert_eq!(classes(&clients, &server.listening().url("/")).await, ["reset"; 2]);

    let kept = TcpSocket::new_v4().unwrap();
    kept.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", kept.local_addr().unwrap());
    assert_eq!(classes(&Clients::new(false), &url).await, ["connect"; 2]);

    let impatient = reqwest::Client::builder().timeout(Duration::from_millis(50)).build().unwrap();
    let server = http1::Misbehaving::start([http1::Act::Silence]).await;
    let error = soon(impatient.get(server.listening().url("/")).send()).await.unwrap_err();
    assert_eq!(class_of(error), "timeout");

    let server = http1::Misbehaving::start([]).await;
    let stream = TcpStream::connect(server.listening().address()).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    drop(connection);
    let unsent = soon(sender.send_request(Request::new(Full::<Bytes>::new(Bytes::new())))).await;
    assert_eq!(class_of(unsent.unwrap_err()), "canceled");
}

#[tokio::test]
async fn r6_reqwest_reports_its_timeout() {
    use http1::Act;

    let impatient = reqwest::Client::builder().timeout(Duration::from_millis(50)).build().unwrap();
    let request = "reqwest(timeout request) > (operation timed out)";
    let body = "reqwest(timeout decode) > reqwest(timeout body) > (operation timed out)";
    for (act, expected) in [
        (Act::Silence, [request; 2]),
        (Act::HalfHead, [request; 2]),
        (Act::ResetInBody, [request, body]),
    ] {
        let clients = Clients { reqwest: impatient.clone(), ..Clients::new(false) };
        let server = http1::Misbehaving::start([act]).await;
        let error = clients.by_reqwest(&server.listening().url("/"), || ()).await.unwrap_err();
        // On a slow machine, the time may be up before the body begins.
        assert!(expected.contains(&error.as_str()), "{act:?}: {error}");
    }
}

#[tokio::test]
async fn r6_clients_report_a_reset_stream() {
    use http2::Act;

    // Only REFUSED_STREAM means that the request was not processed (RFC 9113, 8.7).
    let before = [
        Reason::REFUSED_STREAM,
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
        Reason::ENHANCE_YOUR_CALM,
        Reason::NO_ERROR,
    ];
    let before = before.map(|reason| (Act::Reset(reason), reason, Where::Request));
    let in_body = [Reason::CANCEL, Reason::INTERNAL_ERROR];
    let in_body = in_body.map(|reason| (Act::ResetInBody(reason), reason, Where::Body));
    for (act, reason, at) in before.into_iter().chain(in_body) {
        let (clients, server) = (Clients::new(true), http2::Misbehaving::start([act, act]).await);
        let url = server.listening().url("/");
        let hyper = clients.by_hyper(&url, || server.go_on()).await;
        let reqwest = clients.by_reqwest(&url, || server.go_on()).await;
        let legacy = if at == Where::Request { "legacy() > " } else { "" };
        let expected = format!("{legacy}hyper() > h2(reset remote {reason:?})");
        said(&format!("HTTP/2, {act:?}"), &expected, at, [hyper, reqwest]);
    }
}

#[tokio::test]
async fn r6_clients_report_a_goaway() {
    // For any reason: streams above the last one are certainly unprocessed (RFC 9113, 6.8), and
    // fail with a GOAWAY (as others do occasionally: `shutting_down.rs`). Streams below may have
    // been processed, and fail with a broken connection.
    for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM, Reason::INTERNAL_ERROR] {
        let unprocessed = format!("legacy() > hyper() > h2(go_away remote {reason:?})");
        let perhaps = "legacy() > hyper() > io(BrokenPipe)";
        for responds in [true, false] {
            let clients = Clients::new(true);
            let mut outcomes = Vec::new();
            for client in [Which::Hyper, Which::Reqwest] {
                let going = Going { requests: 2, last: 1, reason, responds };
                let server = GoingAway::start(going).await;
                let url = server.listening().url("/");
                let send = || clients.by(client, &url);
                let (one, other) = join(send(), send()).await;
                let mut both = [one, other];
                // Either request may have the first stream.
                both.sort_by_key(|outcome| outcome.as_ref().is_err_and(|e| e.contains("go_away")));
                assert_eq!(server.processed(), if responds { vec![1] } else { vec![] });
                outcomes.push(both);
            }
            let what = format!("HTTP/2, {reason:?}, last stream answered: {responds}");
            let second = [0, 1].map(|client| outcomes[client][1].clone());
            said(&format!("{what}, above it"), &unprocessed, Where::Request, second);
            let first = [0, 1].map(|client| outcomes[client][0].clone());
            if responds {
                assert!(first.iter().all(Result::is_ok));
            } else {
                said(&format!("{what}, up to it"), perhaps, Where::Request, first);
            }
        }
    }
}

#[tokio::test]
async fn r6_reqwest_retries_streams_above_the_goaway_by_default() {
    let act = http2::Act::Reset(Reason::REFUSED_STREAM);
    let default = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let by_itself = Clients { reqwest: default, ..Clients::new(true) };

    // Two retries at once, and the third stream succeeds. Layers outside count one request.
    let server = http2::Misbehaving::start([act, act]).await;
    let url = server.listening().url("/");
    assert_eq!(by_itself.by_reqwest(&url, || ()).await.unwrap(), "hello");
    let server = http2::Misbehaving::start([act, act, act]).await;
    let url = server.listening().url("/");
    assert!(by_itself.by_reqwest(&url, || ()).await.is_err());
    assert_eq!(
        by_itself.by_reqwest(&url, || ()).await.unwrap(),
        "hello",
        "three streams were reset"
    );

    // With `never`, it returns the first error: a second request is needed for the second stream.
    let never = Clients::new(true);
    let server = http2::Misbehaving::start([act]).await;
    let url = server.listening().url("/");
    assert!(never.by_reqwest(&url, || ()).await.is_err());
    assert_eq!(never.by_reqwest(&url, || ()).await.unwrap(), "hello");

    // On another connection after a GOAWAY.
    let going = Going { requests: 1, last: 0, reason: Reason::NO_ERROR, responds: true };
    let server = GoingAway::start(going).await;
    assert_eq!(by_itself.by_reqwest(&server.listening().url("/"), || ()).await.unwrap(), "");
}

#[tokio::test]
async fn r6_hyper_client_returns_errors_of_streams_above_the_goaway() {
    // Its `retry_canceled_requests` is for requests that it could not pass to a connection.
    let mut hyper = legacy::Client::builder(TokioExecutor::new());
    let clients = Clients { hyper: hyper.http2_only(true).build_http(), ..Clients::new(true) };
    let server = http2::Misbehaving::start([http2::Act::Reset(Reason::REFUSED_STREAM)]).await;
    assert!(clients.by_hyper(&server.listening().url("/"), || ()).await.is_err());
    let going = Going { requests: 1, last: 0, reason: Reason::NO_ERROR, responds: true };
    let server = GoingAway::start(going).await;
    assert!(clients.by_hyper(&server.listening().url("/"), || ()).await.is_err());
}
