//! Whether a request reached the server, by errors as the libraries produce them.

use std::{error::Error, fmt, future::pending, io, io::ErrorKind};

use http::{Request, Response};
use tower::{BoxError, Layer, ServiceExt, service_fn, timeout::TimeoutLayer};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Rejected, WindowRateLimitLayer,
    client::{AsError, HttpClassifier},
    retry::{Classify, Verdict},
};

use crate::secs;

/// A classifier's reading of an error.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Taken {
    /// Retried for any request.
    NeverReached,
    /// Retried if the request is repeatable.
    MayHaveReached,
    /// Never retried.
    Other,
}
use Taken::{MayHaveReached, NeverReached, Other};

fn taken<E: AsError<M>, M>(error: E) -> Taken {
    taken_by(&HttpClassifier::new(), error)
}

fn taken_by<E: AsError<M>, M>(classify: &HttpClassifier<M>, error: E) -> Taken {
    let result = Err::<Response<()>, E>(error);
    let verdict_of =
        |method| classify.classify(&Request::builder().method(method).body(()).unwrap(), &result);
    match (verdict_of("GET"), verdict_of("POST")) {
        (Verdict::Retry, Verdict::Retry) => NeverReached,
        (Verdict::Retry, Verdict::Done) => MayHaveReached,
        (Verdict::Done, Verdict::Done) => Other,
        other => panic!("{other:?}"),
    }
}

/// An error with another as its source.
#[derive(Debug)]
struct Wrapped<E>(E);

impl<E> fmt::Display for Wrapped<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl<E: Error + 'static> Error for Wrapped<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn r6_connection_errors_tell_if_the_server_was_reached() {
    for (kind, reached) in [
        (ErrorKind::ConnectionRefused, NeverReached),
        (ErrorKind::ConnectionReset, MayHaveReached),
        (ErrorKind::ConnectionAborted, MayHaveReached),
        (ErrorKind::BrokenPipe, MayHaveReached),
        (ErrorKind::NotConnected, MayHaveReached),
        (ErrorKind::UnexpectedEof, MayHaveReached),
        (ErrorKind::TimedOut, MayHaveReached),
        (ErrorKind::HostUnreachable, MayHaveReached),
        (ErrorKind::NetworkUnreachable, MayHaveReached),
        (ErrorKind::NetworkDown, MayHaveReached),
        (ErrorKind::NotFound, Other),
        (ErrorKind::PermissionDenied, Other),
        (ErrorKind::InvalidData, Other),
        (ErrorKind::Other, Other),
    ] {
        let io = || io::Error::from(kind);
        assert_eq!(taken(io()), reached, "{kind}");
        assert_eq!(taken(BoxError::from(io())), reached, "{kind}");
        assert_eq!(taken(Wrapped(Wrapped(io()))), reached, "{kind}");
        assert_eq!(taken(BoxError::from(Wrapped(io()))), reached, "{kind}");
        assert_eq!(taken(io::Error::other(io::Error::other(Wrapped(io())))), reached, "{kind}");
        // Conclusive evidence counts anywhere in the chain.
        let certain = io::Error::new(kind, io::Error::from(ErrorKind::ConnectionRefused));
        assert_eq!(taken(certain), NeverReached, "{kind}");
    }
    assert_eq!(taken(Wrapped(fmt::Error)), Other);
    assert_eq!(taken(BoxError::from("something")), Other);
}

#[tokio::test(start_paused = true)]
async fn r6_timeouts_are_interruptions() {
    let error = tokio::time::timeout(secs(1), pending::<()>()).await.unwrap_err();
    assert_eq!(taken(Wrapped(error)), MayHaveReached);

    let client = service_fn(|(): ()| pending::<Result<(), io::Error>>());
    let error = TimeoutLayer::new(secs(1)).layer(client).oneshot(()).await.unwrap_err();
    assert_eq!(taken(error), MayHaveReached);
}

/// Rejections of both limits, for any request.
#[tokio::test(start_paused = true)]
async fn r6_rejection_is_retried_after_its_time_unless_closed() {
    let post = || Request::post("/").body(()).unwrap();
    let client = || service_fn(|_: Request<()>| async { Ok::<_, io::Error>(Response::new(())) });
    let verdict_of = |error: BoxError| {
        assert!(Rejected::find(&*error).is_some());
        let wrapped = io::Error::other(Wrapped(io::Error::other(error)));
        HttpClassifier::new().classify(&post(), &Err::<Response<()>, _>(wrapped))
    };

    let rate = WindowRateLimitLayer::new(1, secs(7)).max_queue(0).layer(client());
    rate.clone().oneshot(post()).await.unwrap();
    let error = rate.oneshot(post()).await.unwrap_err();
    assert_eq!(verdict_of(error), Verdict::RetryAfter(secs(7)));

    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let (mut first, second) = (layer.layer(client()), layer.layer(client()));
    first.ready().await.unwrap();
    let error = second.clone().oneshot(post()).await.unwrap_err();
    assert_eq!(verdict_of(error), Verdict::Retry);

    layer.handle().close().unwrap();
    assert_eq!(verdict_of(second.oneshot(post()).await.unwrap_err()), Verdict::Never);
}

mod hyper_and_h2 {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use bytes::Bytes;
    use http::HeaderValue;
    use http_body_util::{Empty, StreamBody};
    use hyper::client::conn::{http1, http2};
    use hyper_util::{
        client::legacy::Client,
        rt::{TokioExecutor, TokioIo},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        net::TcpStream,
    };

    use super::*;

    fn post<B>(body: B) -> Request<B> {
        Request::post("http://test/").body(body).unwrap()
    }

    fn empty() -> Request<Empty<Bytes>> {
        post(Empty::new())
    }

    #[tokio::test(start_paused = true)]
    async fn r6_hyper_errors_tell_if_the_request_was_written() {
        // The server reads the request, then closes.
        let (ours, mut theirs) = duplex(1024);
        let (mut client, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let answer = client.send_request(empty());
        let server = async {
            assert_ne!(theirs.read(&mut [0; 1024]).await.unwrap(), 0);
            drop(theirs);
        };
        let error = tokio::join!(answer, server).0.unwrap_err();
        assert!(error.is_incomplete_message());
        assert_eq!(taken(error), MayHaveReached);

        // The server had closed before.
        let error = client.ready().await.unwrap_err();
        assert!(error.is_closed());
        assert_eq!(taken(error), NeverReached);
        let error = client.send_request(empty()).await.unwrap_err();
        assert!(error.is_canceled());
        assert_eq!(taken(error), NeverReached);

        // The response is not HTTP.
        let (ours, mut theirs) = duplex(1024);
        let (mut client, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let answer = client.send_request(empty());
        let server = async {
            assert_ne!(theirs.read(&mut [0; 1024]).await.unwrap(), 0);
            theirs.write_all(b"220 mail.test ESMTP\r\n\r\n").await.unwrap();
        };
        let error = tokio::join!(answer, server).0.unwrap_err();
        assert!(error.is_parse());
        assert_eq!(taken(error), Other);
    }

    /// One kind of error stands for several reasons.
    #[tokio::test(start_paused = true)]
    async fn r6_canceled_hyper_request_was_not_written_unless_an_upgrade() {
        // Queued for a connection that is dropped, or that fails.
        for fails in [false, true] {
            let (ours, mut theirs) = duplex(1024);
            let (mut client, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
            let answer = client.send_request(empty());
            if fails {
                theirs.write_all(b"220 mail.test ESMTP\r\n\r\n").await.unwrap();
                connection.await.unwrap(); // the request got the error
            } else {
                drop(connection);
            }
            let error = answer.await.unwrap_err();
            assert!(error.is_canceled(), "{error:?}");
            assert_eq!(taken(error), NeverReached);
        }

        // The server has agreed to an upgrade, and the connection closes before the body is sent.
        let (ours, mut theirs) = duplex(1024);
        let (mut client, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        let connection = tokio::spawn(connection.with_upgrades());
        let body = StreamBody::new(futures::stream::pending::<
            Result<http_body::Frame<Bytes>, Infallible>,
        >());
        let mut request = post(body);
        request.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
        request.headers_mut().insert("upgrade", HeaderValue::from_static("tcp"));
        let answer = client.send_request(request);
        let server = async {
            assert_ne!(theirs.read(&mut [0; 1024]).await.unwrap(), 0);
            let agreed = b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\n";
            theirs.write_all(agreed).await.unwrap();
        };
        let response = tokio::join!(answer, server).0.unwrap();
        assert_eq!(response.status(), 101);
        connection.abort();
        let error = hyper::upgrade::on(response).await.unwrap_err();
        assert!(error.is_canceled(), "{error:?}");
        assert_eq!(taken(error), MayHaveReached);
    }

    /// A body's error is about the body's own source.
    #[tokio::test(start_paused = true)]
    async fn r6_error_of_the_request_body_is_not_retried() {
        let (ours, _theirs) = duplex(1024);
        let (mut client, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let refused =
            Err::<http_body::Frame<Bytes>, _>(io::Error::from(ErrorKind::ConnectionRefused));
        let body = StreamBody::new(futures::stream::iter([refused]));
        let error = client.send_request(post(body)).await.unwrap_err();
        assert!(tower_floodgate::find_cause::<io::Error>(&error).is_some());
        assert_eq!(taken(error), Other);
    }

    #[tokio::test(start_paused = true)]
    async fn r6_hyper_util_errors_tell_if_the_connection_failed() {
        let connector = service_fn(|_| {
            std::future::ready(Err::<TokioIo<TcpStream>, _>(io::Error::from(ErrorKind::TimedOut)))
        });
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let error = client.request(empty()).await.unwrap_err();
        assert!(error.is_connect());
        assert_eq!(taken(error), NeverReached);
    }

    /// The reading of an error of the connector.
    async fn connecting_fails(error: impl Into<BoxError>) -> Taken {
        let error = Arc::new(Mutex::new(Some(error.into())));
        let connector = service_fn(move |_| {
            let error = error.lock().unwrap().take().unwrap();
            std::future::ready(Err::<TokioIo<TcpStream>, _>(error))
        });
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let error = client.request(empty()).await.unwrap_err();
        assert!(error.is_connect());
        taken(error)
    }

    const NO_SUCH_NAME: [&str; 4] = [
        "Name or service not known",
        "nodename nor servname provided, or not known",
        "hostname nor servname provided, or not known",
        "Name does not resolve",
    ];

    /// The texts are those of `getaddrinfo` on several systems; the numbers are those of Windows.
    #[tokio::test(start_paused = true)]
    async fn r6_name_that_does_not_exist_is_not_retried() {
        let of = |reason| format!("failed to lookup address information: {reason}");
        for reason in NO_SUCH_NAME {
            let lookup = || io::Error::other(of(reason));
            assert_eq!(connecting_fails(lookup()).await, Other, "{reason}");
            assert_eq!(connecting_fails(Wrapped(Wrapped(lookup()))).await, Other, "{reason}");
            assert_eq!(taken(lookup()), Other, "{reason}");
        }
        let windows = || io::Error::from_raw_os_error(11_001);
        assert_eq!(connecting_fails(Wrapped(windows())).await, Other);
        assert_eq!(taken(windows()), Other);
    }

    #[tokio::test(start_paused = true)]
    async fn r6_name_that_can_not_be_looked_up_now_is_retried() {
        for reason in [
            "Temporary failure in name resolution",
            "Try again",
            "Non-recoverable failure in name resolution",
            "No address associated with hostname",
            "Name or service not known, for now",
        ] {
            let text = format!("failed to lookup address information: {reason}");
            let lookup = || io::Error::other(text.clone());
            assert_eq!(connecting_fails(lookup()).await, NeverReached, "{reason}");
            // As tonic reports it.
            assert_eq!(taken(Wrapped(lookup())), NeverReached, "{reason}");
        }
        for number in 11_002..=11_004 {
            let lookup = || io::Error::from_raw_os_error(number);
            assert_eq!(connecting_fails(lookup()).await, NeverReached, "{number}");
            assert_eq!(taken(Wrapped(lookup())), NeverReached, "{number}");
        }
    }

    /// Texts of OpenSSL 3.0 behind native-tls, of BoringSSL, and of rustls where no server of the
    /// tests on sockets provokes them.
    #[tokio::test(start_paused = true)]
    async fn r6_tls_verdict_is_told_from_an_accident() {
        for (text, reached) in [
            (
                "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify \
                 failed:../ssl/statem/statem_clnt.c:1889: (self-signed certificate)",
                Other,
            ),
            (
                "error:0A00010B:SSL routines:ssl3_get_record:wrong version \
                 number:../ssl/record/ssl3_record.c:350:",
                Other,
            ),
            (
                "error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol \
                 version:../ssl/record/rec_layer_s3.c:1601:SSL alert number 70",
                Other,
            ),
            (
                "error:0A000458:SSL routines:ssl3_read_bytes:tlsv1 unrecognized \
                 name:../ssl/record/rec_layer_s3.c:1601:SSL alert number 112",
                Other,
            ),
            (
                "error:0A000438:SSL routines:ssl3_read_bytes:tlsv1 alert internal \
                 error:../ssl/record/rec_layer_s3.c:1601:SSL alert number 80",
                NeverReached,
            ),
            (
                "error:0A000126:SSL routines:ssl3_read_n:unexpected eof while \
                 reading:../ssl/record/rec_layer_s3.c:303:",
                NeverReached,
            ),
            ("unexpected EOF", NeverReached),
            (
                "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:handshake.cc:393:",
                Other,
            ),
            ("https required but URI was not https", Other),
            ("invalid peer certificate: BadSignature", Other),
            ("invalid peer certificate: UnknownRevocationStatus", NeverReached),
            ("invalid peer certificate: certificate revocation list expired: ...", NeverReached),
            ("invalid peer certificate: Other(OtherError(\"keychain\"))", NeverReached),
            ("received fatal alert: UnknownCA", Other),
            ("received fatal alert: DecryptError", NeverReached),
            ("received fatal alert: Unknown(200)", NeverReached),
            ("cannot decrypt peer's message", NeverReached),
            ("tls handshake eof", NeverReached),
            ("tunnel error: unsuccessful", NeverReached),
            ("something else", NeverReached),
        ] {
            assert_eq!(connecting_fails(text).await, reached, "{text}");
            let io = || io::Error::new(ErrorKind::InvalidData, Wrapped(io::Error::other(text)));
            assert_eq!(connecting_fails(io()).await, reached, "{text}");
            // Not of a connector: about a connection that was in use, or unknown.
            assert_eq!(taken(io()), Other, "{text}");
        }
    }

    const SETTINGS: u8 = 4;
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    const HEADERS: u8 = 1;

    /// RFC 9113, 4.1.
    fn frame(kind: u8, stream: u32, payload: &[u32]) -> Vec<u8> {
        let length = u8::try_from(payload.len() * 4).unwrap();
        let mut frame = vec![0, 0, length, kind, 0];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload.iter().flat_map(|number| number.to_be_bytes()));
        frame
    }

    /// The error of a request after `frames` and the end of the connection.
    async fn answered_with(frames: &[Vec<u8>]) -> hyper::Error {
        let (ours, mut theirs) = duplex(4096);
        let executor = TokioExecutor::new();
        let server = async {
            theirs.write_all(&frame(SETTINGS, 0, &[])).await.unwrap();
            theirs.read_exact(&mut [0; 24]).await.unwrap();
            while read_frame(&mut theirs).await != HEADERS {}
            theirs.write_all(&frames.concat()).await.unwrap();
            drop(theirs);
        };
        let client = async {
            let (mut client, connection) =
                http2::handshake(executor, TokioIo::new(ours)).await.unwrap();
            tokio::spawn(connection);
            client.send_request(empty()).await.unwrap_err()
        };
        tokio::join!(client, server).0
    }

    async fn read_frame(from: &mut DuplexStream) -> u8 {
        let mut head = [0; 9];
        from.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        from.read_exact(&mut payload).await.unwrap();
        head[3]
    }

    /// The request is on stream 1. A `GOAWAY` names the last stream that may have been processed,
    /// but its error doesn't tell whether the request is above it.
    #[tokio::test(start_paused = true)]
    async fn r6_http2_errors_tell_if_the_stream_was_processed() {
        let reset = |reason: h2::Reason| frame(RST_STREAM, 1, &[reason.into()]);
        let go_away = |last, reason: h2::Reason| frame(GOAWAY, 0, &[last, reason.into()]);
        for (frames, reached) in [
            (vec![reset(h2::Reason::REFUSED_STREAM)], NeverReached),
            (vec![reset(h2::Reason::INTERNAL_ERROR)], MayHaveReached),
            (vec![reset(h2::Reason::ENHANCE_YOUR_CALM)], MayHaveReached),
            (vec![reset(h2::Reason::CANCEL)], Other),
            (vec![reset(h2::Reason::PROTOCOL_ERROR)], Other),
            (vec![reset(h2::Reason::HTTP_1_1_REQUIRED)], Other),
            (vec![go_away(0, h2::Reason::NO_ERROR)], MayHaveReached),
            (vec![go_away(0, h2::Reason::ENHANCE_YOUR_CALM)], MayHaveReached),
            (vec![go_away(1, h2::Reason::NO_ERROR)], MayHaveReached),
            (vec![go_away(1, h2::Reason::ENHANCE_YOUR_CALM)], MayHaveReached),
            (
                vec![go_away(1, h2::Reason::NO_ERROR), go_away(0, h2::Reason::NO_ERROR)],
                MayHaveReached,
            ),
            (vec![], MayHaveReached),
        ] {
            let error = answered_with(&frames).await;
            let said = format!("{frames:?}: {error:?}");
            assert_eq!(taken(Wrapped(error)), reached, "{said}");
        }
    }

    /// A local failure tells nothing of the server.
    #[test]
    fn r6_local_h2_errors_are_not_retried() {
        assert_eq!(taken(h2::Error::from(h2::Reason::REFUSED_STREAM)), Other);
        assert_eq!(taken(h2::Error::from(h2::Reason::INTERNAL_ERROR)), Other);
    }
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use std::{net::SocketAddr, sync::Arc};

    use reqwest::{Client, dns};

    use super::*;

    /// A resolver that fails, or never responds.
    struct Resolver {
        fails: bool,
    }

    impl dns::Resolve for Resolver {
        fn resolve(&self, _: dns::Name) -> dns::Resolving {
            let fails = self.fails;
            Box::pin(async move {
                if !fails {
                    pending::<()>().await;
                }
                Err::<Box<dyn Iterator<Item = SocketAddr> + Send>, _>("no such name".into())
            })
        }
    }

    fn client(fails: bool) -> reqwest::ClientBuilder {
        Client::builder().no_proxy().dns_resolver(Arc::new(Resolver { fails }))
    }

    async fn fail(client: reqwest::ClientBuilder) -> reqwest::Error {
        client.build().unwrap().post("http://unknown.test/").send().await.unwrap_err()
    }

    /// A failure to connect tells nothing of an earlier request that a redirect answered.
    #[tokio::test(start_paused = true)]
    async fn r6_reqwest_connect_errors_are_retried_without_redirects() {
        let assume_no_redirects = HttpClassifier::new().assume_no_redirects();
        for client in [|| client(true), || client(false).connect_timeout(secs(1))] {
            assert!(fail(client()).await.is_connect());
            assert_eq!(taken(fail(client()).await), MayHaveReached);
            assert_eq!(taken_by(&assume_no_redirects, fail(client()).await), NeverReached);
        }

        let error = fail(client(false).timeout(secs(1))).await;
        assert!(error.is_timeout() && !error.is_connect());
        assert_eq!(taken_by(&assume_no_redirects, error), MayHaveReached);

        let error = Client::new().post("not a url").send().await.unwrap_err();
        assert!(error.is_builder());
        assert_eq!(taken_by(&assume_no_redirects, error), Other);

        let answer = reqwest::Response::from(Response::builder().status(503).body("").unwrap());
        assert_eq!(taken_by(&assume_no_redirects, answer.error_for_status().unwrap_err()), Other);
    }
}
