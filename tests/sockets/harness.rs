//! Tests of the servers that the other tests use.

use std::{
    collections::HashSet,
    io::ErrorKind,
    time::{Duration, SystemTime},
};

use futures::future::join_all;
use h2::Reason;
use http::{Method, Version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::peer::{
    date,
    misbehaving::{
        goaway::{Going, GoingAway},
        http1::{self, GARBAGE_HINTS},
        http2,
    },
    now,
    quota::{Answer, Quota, QuotaServer, RetryAfter, Tells},
    soon,
};

const WINDOW: Duration = Duration::from_secs(1);

/// Long enough that no second window begins during a test.
const LONG: Duration = Duration::from_secs(3600);

fn quota(window: Duration, tells: Tells, retry_after: RetryAfter) -> Quota {
    Quota { quota: 2, window, tells, retry_after }
}

async fn get(client: &reqwest::Client, url: &str) -> reqwest::Response {
    soon(client.get(url).send()).await.unwrap()
}

/// A header's value; empty if there is none.
fn header(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn r4_peer_quota_is_enforced_and_logs_arrivals() {
    let (http1, http2) = (
        reqwest::Client::new(),
        reqwest::Client::builder().http2_prior_knowledge().build().unwrap(),
    );
    let mut window = WINDOW;
    let server = loop {
        let quota = quota(window, Tells::Nothing, RetryAfter::Seconds);
        let server = QuotaServer::start(quota).await;
        for client in [&http1, &http2, &http1] {
            get(client, &server.url()).await;
        }
        if server.after_refusal().is_some() {
            break server;
        }
        // On a slow machine a window may pass with only two requests.
        window *= 2;
    };
    let (until, _) = server.after_refusal().unwrap();
    tokio::time::sleep_until(until.into()).await;
    assert_eq!(get(&http1, &server.url()).await.status(), 200, "at the time that was named");

    let (_, after) = server.after_refusal().unwrap();
    let last = after.last().unwrap();
    assert!(last.at >= until && last.answer == Answer::Granted);
    let arrivals = server.arrivals();
    assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
    let versions: HashSet<_> = arrivals.iter().map(|arrival| arrival.version).collect();
    assert_eq!(versions, [Version::HTTP_11, Version::HTTP_2].into());
}

#[tokio::test]
async fn r4_peer_quota_holds_in_every_window() {
    let window = Duration::from_millis(100);
    let server = QuotaServer::start(quota(window, Tells::Nothing, RetryAfter::Seconds)).await;
    let client = reqwest::Client::new();
    let mut granted = Vec::new();
    while granted.len() < 9 {
        let response = get(&client, &server.url()).await;
        let arrival = *server.arrivals().last().unwrap();
        assert_eq!(response.status() == 200, arrival.answer == Answer::Granted);
        if arrival.answer == Answer::Granted {
            granted.push(arrival.at);
        }
    }
    // Two in each window, so the fifth is not in the window after the first one's.
    assert!(granted.windows(5).all(|five| five[4] > five[0] + window));
}

#[tokio::test]
async fn r4_peer_quota_reports_in_the_chosen_headers() {
    let client = reqwest::Client::new();
    let seconds = LONG.as_secs();
    for (tells, names) in [
        (Tells::Nothing, None),
        (Tells::RateLimit, None),
        (Tells::Separately, Some(["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"])),
        (
            Tells::XSeconds,
            Some(["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]),
        ),
        (
            Tells::XUnixTime,
            Some(["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]),
        ),
    ] {
        let began = now();
        let server = QuotaServer::start(quota(LONG, tells, RetryAfter::Seconds)).await;
        for remaining in [1, 0, 0] {
            let response = get(&client, &server.url()).await;
            // The rest of the window, rounded up.
            let least = (LONG - (now() - began)).as_secs();
            let reset = names.map(|[limit, left, reset]| {
                assert_eq!(header(&response, limit), "2");
                assert_eq!(header(&response, left), remaining.to_string());
                header(&response, reset).parse::<u64>().unwrap()
            });
            match tells {
                Tells::Nothing => assert!(
                    !response.headers().keys().any(|name| name.as_str().contains("ratelimit"))
                ),
                Tells::RateLimit => {
                    let told = header(&response, "ratelimit");
                    let time = told.strip_prefix(&format!("\"quota\";r={remaining};t="));
                    let time: u64 = time.unwrap().parse().unwrap();
                    assert!((least..=seconds).contains(&time), "{told}");
                    assert_eq!(header(&response, "ratelimit-policy"), "\"quota\";q=2;w=3600");
                }
                Tells::Separately | Tells::XSeconds => {
                    assert!(reset.is_some_and(|reset| (least..=seconds).contains(&reset)));
                }
                Tells::XUnixTime => {
                    let now = date().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
                    let left = reset.unwrap() - now;
                    assert!((least..=seconds + 1).contains(&left), "{left}");
                }
            }
        }
    }
}

#[tokio::test]
async fn r4_peer_quota_names_no_time_before_the_next_permit() {
    let client = reqwest::Client::new();
    for retry_after in [RetryAfter::Seconds, RetryAfter::Date] {
        let began = now();
        let server = QuotaServer::start(quota(LONG, Tells::Nothing, retry_after)).await;
        let started = now();
        let mut refused = get(&client, &server.url()).await;
        while refused.status() == 200 {
            refused = get(&client, &server.url()).await;
        }
        assert_eq!((refused.status().as_u16(), server.arrivals().len()), (429, 3));
        let (until, after) = server.after_refusal().unwrap();
        assert!(after.is_empty());
        // Rounded up to a second.
        assert!(until >= began + LONG && until <= started + LONG + Duration::from_secs(1));

        let value = header(&refused, "retry-after");
        let wait = match retry_after {
            RetryAfter::Seconds => Duration::from_secs(value.parse().unwrap()),
            RetryAfter::Date => {
                httpdate::parse_http_date(&value).unwrap().duration_since(date()).unwrap()
            }
        };
        assert!(wait <= LONG + Duration::from_secs(1), "{value}");
        assert!(wait >= LONG - (now() - began), "{value}");
    }
}

#[tokio::test]
async fn r6_peer_is_gone_when_dropped() {
    let server = http1::Misbehaving::start([]).await;
    let address = server.listening().address();
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    open.read_exact(&mut [0; 15]).await.unwrap();

    drop(server);
    let mut rest = Vec::new();
    soon(open.read_to_end(&mut rest)).await.unwrap(); // ends
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn r6_peer_logs_requests_received_to_their_end() {
    let h1 = http1::Misbehaving::start([]).await;
    let h2 = http2::Misbehaving::start([]).await;
    let client = reqwest::Client::new();
    let prior = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for (client, listening) in [(client, h1.listening()), (prior, h2.listening())] {
        // Bodies with a length, in chunks, and none.
        let bodies = [
            Some(reqwest::Body::from(vec![7; 1000])),
            Some(reqwest::Body::wrap_stream(futures::stream::iter(
                [vec![7; 10], vec![7; 20]].map(Ok::<_, std::io::Error>),
            ))),
            None,
        ];
        for body in bodies {
            let method = if body.is_some() { Method::POST } else { Method::GET };
            let mut request = client.request(method, listening.url("/a?b")).header("attempt", "3");
            if let Some(body) = body {
                request = request.body(body);
            }
            let response = soon(request.send()).await.unwrap();
            assert_eq!(soon(response.text()).await.unwrap(), "hello");
        }
    }
    for received in [h1.received(), h2.received()] {
        let lengths: Vec<_> = received.iter().map(|request| request.body).collect();
        assert_eq!(lengths, [1000, 30, 0]);
        assert_eq!(received[0].method, Method::POST);
        assert_eq!(received[2].method, Method::GET);
        assert!(received.iter().all(|request| request.path.starts_with("/a")));
        assert!(received.iter().all(|request| request.headers["attempt"] == "3"));
    }
}

/// The events after the response.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    End,
    Reset,
}

async fn then(stream: &mut TcpStream) -> Then {
    // `Nothing` takes some time; bytes that are late on a slow machine give another `Then`.
    match timeout(Duration::from_millis(50), stream.read(&mut [0])).await {
        Err(_) => Then::Nothing,
        Ok(Ok(0)) => Then::End,
        Ok(Ok(_)) => panic!("it says more"),
        Ok(Err(error)) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            Then::Reset
        }
    }
}

#[tokio::test]
async fn r6_peer_http1_misbehaves_as_configured() {
    use http1::Act;

    const POST: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    // The bytes sent, the response, the events after it, and whether a request was received.
    let head_only = &POST[..POST.len() - 3];
    let busy: &[u8] = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n";
    for (act, sent, answer, end, received) in [
        (Act::Answer, POST, HELLO, Then::Nothing, 1),
        (Act::AnswerAndClose, POST, HELLO, Then::End, 1),
        (Act::Close, POST, b"", Then::End, 1),
        (Act::Reset, POST, b"", Then::Reset, 1),
        (Act::GarbageStatus, POST, b"HTTP/1.1 2OO FINE\r\n\r\n", Then::End, 1),
        (Act::HalfHead, POST, b"HTTP/1.1 200 OK\r\nContent-Le", Then::Nothing, 1),
        (Act::Silence, POST, b"", Then::Nothing, 1),
        (
            Act::UnavailableBeforeBody,
            head_only,
            &[busy, b"Connection: close\r\n\r\n"].concat(),
            Then::End,
            0,
        ),
    ] {
        let server = http1::Misbehaving::start([act]).await;
        let mut stream = TcpStream::connect(server.listening().address()).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut read = vec![0; answer.len()];
        soon(stream.read_exact(&mut read)).await.unwrap();
        assert_eq!(read, answer, "{act:?}");
        match end {
            Then::Nothing => assert_eq!(then(&mut stream).await, Then::Nothing, "{act:?}"),
            _ => soon(async { while then(&mut stream).await != end {} }).await,
        }
        assert_eq!(server.received().len(), received, "{act:?}");
    }

    // The line is sent byte for byte, and the connection stays.
    let server = http1::Misbehaving::start(GARBAGE_HINTS.map(Act::Unavailable)).await;
    let mut stream = TcpStream::connect(server.listening().address()).await.unwrap();
    for hint in GARBAGE_HINTS {
        stream.write_all(POST).await.unwrap();
        let expected = [busy, hint, b"\r\n\r\n"].concat();
        let mut read = vec![0; expected.len()];
        soon(stream.read_exact(&mut read)).await.unwrap();
        assert_eq!(read, expected);
    }

    // A reset within the body, when the test goes on.
    let server = http1::Misbehaving::start([Act::ResetInBody]).await;
    let mut stream = TcpStream::connect(server.listening().address()).await.unwrap();
    stream.write_all(POST).await.unwrap();
    let expected = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe";
    let mut read = vec![0; expected.len()];
    soon(stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, expected);
    server.go_on();
    let error = soon(stream.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn r6_peer_http2_resets_streams_as_configured() {
    use http2::Act;

    let acts = [
        Act::Reset(Reason::REFUSED_STREAM),
        Act::Answer,
        Act::ResetInBody(Reason::CANCEL),
        Act::ResetInBody(Reason::INTERNAL_ERROR),
    ];
    let server = http2::Misbehaving::start(acts).await;
    let stream = TcpStream::connect(server.listening().address()).await.unwrap();
    let (client, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    for act in acts {
        let mut client = soon(client.clone().ready()).await.unwrap();
        let request = http::Request::get(server.listening().url("/")).body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let (reset, reason) = match (act, soon(response).await) {
            (Act::Answer, Ok(response)) => {
                let mut body = response.into_body();
                let part = soon(body.data()).await.unwrap().unwrap();
                assert_eq!(part, "hello");
                continue;
            }
            (Act::Reset(reason), Err(error)) => (error, reason),
            (Act::ResetInBody(reason), Ok(response)) => {
                server.go_on();
                let mut body = response.into_body();
                loop {
                    match soon(body.data()).await.unwrap() {
                        Ok(part) => assert_eq!(part, "he"),
                        Err(error) => break (error, reason),
                    }
                }
            }
            (act, answer) => panic!("{act:?}: {answer:?}"),
        };
        assert!(reset.is_reset() && reset.is_remote());
        assert_eq!(reset.reason(), Some(reason));
    }
    assert_eq!(server.received().len(), 3, "a stream that is refused is not received");
}

#[tokio::test]
async fn r6_peer_goaway_omits_streams_above_the_last() {
    let server =
        GoingAway::start(Going { requests: 3, last: 3, reason: Reason::NO_ERROR, responds: true })
            .await;
    let address = server.listening().address();
    let connect = || async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (client, connection) = soon(h2::client::handshake(stream)).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let request = || http::Request::get(server.listening().url("/")).body(()).unwrap();

    let client = connect().await;
    let mut responses = Vec::new();
    for _ in 0..3 {
        let mut client = soon(client.clone().ready()).await.unwrap();
        responses.push(client.send_request(request(), true).unwrap().0);
    }
    let outcomes: Vec<_> = soon(join_all(responses)).await;
    let [Ok(first), Ok(second), Err(left_out)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    assert!(left_out.is_go_away() && left_out.is_remote());
    assert_eq!(left_out.reason(), Some(Reason::NO_ERROR));
    assert_eq!(server.processed(), [1, 3]);

    // The next connection works normally.
    let mut client = soon(connect().await.ready()).await.unwrap();
    let (response, _) = client.send_request(request(), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    assert_eq!(server.processed(), [1, 3, 1]);
}
