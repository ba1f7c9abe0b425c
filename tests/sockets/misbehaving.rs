//! reqwest and hyper-util's client behind all the layers, against servers that misbehave. The
//! servers never receive more than the maximum of attempts, and never twice a request that may have
//! been processed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{join, join_all};
use h2::Reason;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy, rt::TokioExecutor};
use tower::{
    BoxError, ServiceBuilder, ServiceExt, timeout::TimeoutLayer, util::BoxCloneSyncService,
};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{Attempts, ByReplay, HttpClassifier, HttpHints, ReplayLayer},
    find_cause,
    retry::Backoff,
};

use crate::peer::{
    misbehaving::{
        Received,
        goaway::{Going, GoingAway},
        http1::{self, GARBAGE_HINTS},
        http2,
    },
    soon,
};

const MAX_ATTEMPTS: usize = 3;

/// Longer than any test.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Both clients, each behind all the layers. Neither retries anything or follows redirects by
/// itself.
#[derive(Clone)]
enum Client {
    Hyper(BoxCloneSyncService<Request<Full<Bytes>>, Response<Incoming>, BoxError>),
    Reqwest(BoxCloneSyncService<reqwest::Request, reqwest::Response, BoxError>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Hyper,
    Reqwest,
}

const BOTH: [Which; 2] = [Which::Hyper, Which::Reqwest];

#[derive(Clone, Copy, Debug)]
struct Setup {
    which: Which,
    http2: bool,
    max_attempts: usize,
    /// An attempt that takes longer fails.
    patience: Duration,
}

impl Setup {
    fn http1(which: Which) -> Self {
        Self { which, http2: false, max_attempts: MAX_ATTEMPTS, patience: PATIENCE }
    }

    fn http2(which: Which) -> Self {
        Self { http2: true, ..Self::http1(which) }
    }

    /// The result, with the number of attempts.
    fn client(self) -> (Client, Arc<AtomicUsize>) {
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(5));
        let policy = ExponentialRetry::new(self.max_attempts.try_into().unwrap()).backoff(backoff);
        let in_flight = ConcurrencyBackpressureLayer::new(8);
        let rate = WindowRateLimitLayer::new(10_000, Duration::from_secs(1));
        let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new())
            .max_pause(Duration::from_millis(50));
        let timeout = TimeoutLayer::new(self.patience);
        let attempts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&attempts);
        let client = match self.which {
            Which::Hyper => {
                let mut hyper = legacy::Client::builder(TokioExecutor::new());
                hyper.http2_only(self.http2).retry_canceled_requests(false);
                let policy = policy.classify(HttpClassifier::new()).clone_with(ByReplay);
                Client::Hyper(BoxCloneSyncService::new(
                    ServiceBuilder::new()
                        .layer(ReplayLayer::new().max_bytes(1 << 20))
                        .layer(in_flight)
                        .layer(ExponentialRetryLayer::new(policy))
                        .layer(rate)
                        .layer(pause)
                        .layer(timeout)
                        .map_request(move |request| {
                            count.fetch_add(1, Relaxed);
                            request
                        })
                        .service(hyper.build_http()),
                ))
            }
            Which::Reqwest => {
                let reqwest = reqwest::Client::builder()
                    .retry(reqwest::retry::never())
                    .redirect(reqwest::redirect::Policy::none());
                let reqwest = if self.http2 { reqwest.http2_prior_knowledge() } else { reqwest };
                let policy = policy
                    .classify(HttpClassifier::new().assume_no_redirects())
                    .clone_with(reqwest::Request::try_clone);
                Client::Reqwest(BoxCloneSyncService::new(
                    ServiceBuilder::new()
                        .layer(in_flight)
                        .layer(ExponentialRetryLayer::new(policy))
                        .layer(rate)
                        .layer(pause)
                        .layer(timeout)
                        .map_request(move |request| {
                            count.fetch_add(1, Relaxed);
                            request
                        })
                        .service(reqwest.build().unwrap()),
                ))
            }
        };
        (client, attempts)
    }
}

/// The kinds of requests: repeatable for a reason, or not repeatable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Post,
    /// With an `Idempotency-Key`.
    KeyedPost,
}

const KINDS: [Kind; 3] = [Kind::Get, Kind::Post, Kind::KeyedPost];

impl Kind {
    fn may_repeat(self) -> bool {
        self != Self::Post
    }
}

struct Answer {
    status: u16,
    attempts: u32,
    /// The part of the body that could be read.
    body: Result<Bytes, BoxError>,
}

impl Client {
    async fn send(&self, kind: Kind, url: &str) -> Result<Answer, BoxError> {
        let body = if kind == Kind::Get { "" } else { "abc" };
        self.send_body(kind, url, body.into(), || ()).await
    }

    /// Calls `go_on` as soon as the head of the response has arrived.
    async fn send_body(
        &self,
        kind: Kind,
        url: &str,
        body: Bytes,
        go_on: impl Fn(),
    ) -> Result<Answer, BoxError> {
        let method = if kind == Kind::Get { Method::GET } else { Method::POST };
        let mut request = Request::builder().method(method).uri(url);
        if kind == Kind::KeyedPost {
            request = request.header("idempotency-key", "\"8e03978e\"");
        }
        match self {
            Self::Hyper(client) => {
                let request = request.body(Full::from(body))?;
                let response = soon(client.clone().oneshot(request)).await?;
                go_on();
                Ok(Answer {
                    status: response.status().as_u16(),
                    attempts: Attempts::from_response(&response).get(),
                    body: match soon(response.into_body().collect()).await {
                        Ok(body) => Ok(body.to_bytes()),
                        Err(error) => Err(error.into()),
                    },
                })
            }
            Self::Reqwest(client) => {
                let request = request.body(body)?.try_into()?;
                let response = soon(client.clone().oneshot(request)).await?;
                go_on();
                Ok(Answer {
                    status: response.status().as_u16(),
                    attempts: Attempts::from_response(&response).get(),
                    body: soon(response.bytes()).await.map_err(Into::into),
                })
            }
        }
    }
}

/// A server's behaviour, and whether it leads to a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retried {
    Never,
    IfItMayBe,
    Always,
}

impl Retried {
    fn is(self, kind: Kind) -> bool {
        match self {
            Self::Never => false,
            Self::IfItMayBe => kind.may_repeat(),
            Self::Always => true,
        }
    }
}

#[tokio::test]
async fn r6_broken_request_is_resent_only_if_repeatable() {
    use http1::Act;

    for (act, retried) in [
        (Act::Close, Retried::IfItMayBe),
        (Act::Reset, Retried::IfItMayBe),
        (Act::Unavailable(b"Server: busy"), Retried::IfItMayBe),
        (Act::GarbageStatus, Retried::Never),
    ] {
        for (which, kind) in pairs() {
            let (client, _) = Setup::http1(which).client();
            let what = format!("{act:?} {which:?} {kind:?}");
            let expected = if retried.is(kind) { MAX_ATTEMPTS } else { 1 };

            // The server never recovers.
            let server = http1::Misbehaving::start([act; 2 * MAX_ATTEMPTS]).await;
            let outcome = client.send(kind, &server.listening().url("/")).await;
            assert_eq!(server.received().len(), expected, "{what}");
            let status = outcome.ok().map(|answer| answer.status);
            let busy = matches!(act, Act::Unavailable(_)).then_some(503);
            assert_eq!(status, busy, "{what}");

            // The server recovers.
            if retried.is(kind) {
                let server = http1::Misbehaving::start([act]).await;
                let answer = client.send(kind, &server.listening().url("/")).await.unwrap();
                assert_eq!((answer.status, answer.attempts), (200, 2), "{what}");
                assert_eq!(answer.body.unwrap(), "hello");
                let body = if kind == Kind::Get { 0 } else { 3 };
                assert!(server.received().iter().all(|request| request.body == body), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn r6_reset_stream_is_resent_if_refused_or_repeatable() {
    use http2::Act;

    for (reason, retried) in [
        (Reason::REFUSED_STREAM, Retried::Always),
        (Reason::INTERNAL_ERROR, Retried::IfItMayBe),
        (Reason::ENHANCE_YOUR_CALM, Retried::IfItMayBe),
        (Reason::CANCEL, Retried::Never),
        (Reason::PROTOCOL_ERROR, Retried::Never),
    ] {
        for (which, kind) in pairs() {
            let (client, attempts) = Setup::http2(which).client();
            let what = format!("{reason:?} {which:?} {kind:?}");
            let expected = if retried.is(kind) { MAX_ATTEMPTS } else { 1 };

            let server = http2::Misbehaving::start([Act::Reset(reason); 2 * MAX_ATTEMPTS]).await;
            assert!(client.send(kind, &server.listening().url("/")).await.is_err(), "{what}");
            assert_eq!(attempts.load(Relaxed), expected, "{what}");
            assert!(server.received().is_empty());

            if retried.is(kind) {
                let server = http2::Misbehaving::start([Act::Reset(reason)]).await;
                let answer = client.send(kind, &server.listening().url("/")).await.unwrap();
                assert_eq!((answer.status, answer.attempts), (200, 2), "{what}");
                assert_eq!(server.received().len(), 1, "{what}");
            }
        }
    }
}

/// The server tells which requests it never processed, but clients give other requests the same
/// error.
#[tokio::test]
async fn r6_request_above_the_goaway_is_resent_if_repeatable() {
    for (which, kind) in pairs() {
        // On a slow machine, the next attempt may still use the old connection, and is omitted too.
        let setup = Setup { max_attempts: 20, ..Setup::http2(which) };
        for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
            // A single request, which is omitted.
            let going = Going { requests: 1, last: 0, reason, responds: true };
            let server = GoingAway::start(going).await;
            let url = server.listening().url("/");
            let (client, attempts) = setup.client();
            let outcome = client.send(kind, &url).await;
            if kind.may_repeat() {
                let answer = outcome.unwrap();
                assert!(answer.status == 200 && answer.attempts >= 2, "{which:?} {kind:?}");
                assert_eq!(server.processed(), [1], "on the next connection");
            } else {
                assert!(outcome.is_err() && server.processed().is_empty(), "{which:?} {kind:?}");
                assert_eq!(attempts.load(Relaxed), 1, "{which:?} {kind:?}");
            }

            // Two requests, the second of which is omitted.
            let going = Going { requests: 2, last: 1, ..going };
            let server = GoingAway::start(going).await;
            let url = server.listening().url("/");
            let (client, _) = setup.client();
            let both = join(client.send(kind, &url), client.send(kind, &url)).await;
            let responds: Vec<_> = [both.0, both.1].into_iter().flatten().collect();
            assert!(responds.iter().all(|answer| answer.status == 200), "{which:?} {kind:?}");
            let expected: &[u32] = if kind.may_repeat() { &[1, 1] } else { &[1] };
            assert_eq!(responds.len(), expected.len(), "{which:?} {kind:?}");
            assert_eq!(server.processed(), expected, "one on each connection");
        }
    }
}

/// A request below the last stream may have been processed.
#[tokio::test]
async fn r6_request_below_the_goaway_is_not_resent() {
    for which in BOTH {
        let going = Going { requests: 2, last: 1, reason: Reason::NO_ERROR, responds: false };
        let server = GoingAway::start(going).await;
        let url = server.listening().url("/");
        let (client, attempts) = Setup { max_attempts: 20, ..Setup::http2(which) }.client();
        let (one, other) = join(client.send(Kind::Post, &url), client.send(Kind::Post, &url)).await;
        assert!(one.is_err() && other.is_err(), "{which:?}");
        assert_eq!(attempts.load(Relaxed), 2, "{which:?}");
        assert!(server.processed().is_empty(), "{which:?}");
    }
}

#[tokio::test]
async fn r6_request_without_response_is_resent_only_if_repeatable() {
    use http1::Act;

    let scenes = [Act::Silence, Act::HalfHead].into_iter().flat_map(|act| {
        pairs().map(move |(which, kind)| async move {
            let server = http1::Misbehaving::start([act]).await;
            let url = server.listening().url("/");
            // On a slow machine, a response may take as long, and is retried too.
            let patience = Duration::from_millis(200);
            let setup = Setup { patience, max_attempts: 200, ..Setup::http1(which) };
            let (client, attempts) = setup.client();
            let outcome = client.send(kind, &url).await;
            let received = server.received().len();
            assert!(received <= attempts.load(Relaxed), "{act:?} {which:?} {kind:?}");
            if kind.may_repeat() {
                let answer = outcome.unwrap();
                assert_eq!(answer.status, 200);
                assert!(answer.attempts >= 2, "{act:?} {which:?} {kind:?}");
            } else {
                let error = outcome.err().unwrap();
                assert!(find_cause::<tower::timeout::error::Elapsed>(&*error).is_some());
                assert_eq!(attempts.load(Relaxed), 1, "{act:?} {which:?} {kind:?}");
            }
        })
    });
    join_all(scenes).await;
}

/// No panic, no endless wait, and no extra attempt.
#[tokio::test]
async fn r4_unreadable_headers_are_no_hint() {
    for which in BOTH {
        for hint in GARBAGE_HINTS {
            let act = http1::Act::Unavailable(hint);
            let server = http1::Misbehaving::start([act; MAX_ATTEMPTS]).await;
            let (client, _) = Setup::http1(which).client();
            let url = server.listening().url("/");
            let answer = client.send(Kind::Get, &url).await.unwrap();
            // Seconds beyond the range of the type are a hint, but too long to wait for.
            let too_long = hint.ends_with(b"99999999999999999999");
            let expected = if too_long { 1 } else { MAX_ATTEMPTS };
            let what = String::from_utf8_lossy(hint);
            assert_eq!((answer.status, answer.attempts as usize), (503, expected), "{what}");
            assert_eq!(server.received().len(), expected, "{what}");
            // The hint may have paused all requests, up to the bound.
            if !too_long {
                assert_eq!(client.send(Kind::Get, &url).await.unwrap().status, 200, "{what}");
            }
        }
    }
}

/// Its responses do not announce it, so the client may send the next request into a closed
/// connection.
#[tokio::test]
async fn r6_server_that_closes_after_each_response_receives_nothing_twice() {
    const REQUESTS: usize = 20;

    for (which, kind) in pairs() {
        let server = http1::Misbehaving::start([http1::Act::AnswerAndClose; REQUESTS]).await;
        let (client, _) = Setup { max_attempts: 20, ..Setup::http1(which) }.client();
        for number in 0..REQUESTS {
            let path = format!("/{number}");
            let outcome = client.send(kind, &server.listening().url(&path)).await;
            let received = server.received();
            let times = received.iter().filter(|request| request.path == path).count();
            // A POST may fail if it is unknown whether it was received.
            assert!(outcome.is_ok() || kind == Kind::Post, "{which:?} {kind:?}");
            assert_eq!(times, usize::from(outcome.is_ok()), "{which:?} {kind:?}");
        }
    }
}

/// The response arrives while the body is being sent; the next attempt sends it from the beginning.
#[tokio::test]
async fn r7_unread_body_arrives_whole_at_the_next_attempt() {
    const LENGTH: usize = 1_000_000;

    for (which, kind) in pairs() {
        let acts = [http1::Act::UnavailableBeforeBody; 2];
        let server = http1::Misbehaving::start(acts).await;
        let (client, _) = Setup::http1(which).client();
        let body = if kind == Kind::Get { Bytes::new() } else { Bytes::from(vec![7; LENGTH]) };
        let (length, url) = (body.len(), server.listening().url("/"));
        let answer = client.send_body(kind, &url, body, || ()).await.unwrap();
        let lengths: Vec<_> = server.received().iter().map(|request| request.body).collect();
        if kind.may_repeat() {
            assert_eq!((answer.status, answer.attempts), (200, 3), "{which:?} {kind:?}");
            assert_eq!(lengths, [length]);
        } else {
            assert_eq!((answer.status, answer.attempts), (503, 1), "{which:?} {kind:?}");
            assert!(lengths.is_empty());
        }
    }
}

/// A response whose head has arrived is the caller's.
#[tokio::test]
async fn r6_request_of_a_truncated_response_is_not_resent() {
    let broken = |outcome: Result<Answer, BoxError>, received: Vec<Received>| {
        let answer = outcome.unwrap();
        assert_eq!((answer.status, answer.attempts), (200, 1));
        assert!(answer.body.is_err());
        assert_eq!(received.len(), 1);
    };
    for which in BOTH {
        let server = http1::Misbehaving::start([http1::Act::ResetInBody]).await;
        let (client, url) = (Setup::http1(which).client().0, server.listening().url("/"));
        let go_on = || server.go_on();
        let outcome = client.send_body(Kind::Get, &url, Bytes::new(), go_on).await;
        broken(outcome, server.received());

        let act = http2::Act::ResetInBody(Reason::INTERNAL_ERROR);
        let server = http2::Misbehaving::start([act]).await;
        let (client, url) = (Setup::http2(which).client().0, server.listening().url("/"));
        let go_on = || server.go_on();
        let outcome = client.send_body(Kind::Get, &url, Bytes::new(), go_on).await;
        broken(outcome, server.received());
    }
}

/// Each client with each kind of request.
fn pairs() -> impl Iterator<Item = (Which, Kind)> {
    BOTH.into_iter().flat_map(|which| KINDS.map(|kind| (which, kind)))
}
