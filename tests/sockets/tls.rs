//! Connections that fail alike at each attempt, and those that may not: handshakes of TLS, schemes,
//! names, and a proxy.
//!
//! A permanent cause is known by its text, so a new version of a client with other texts must fail
//! a test.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    client::{Attempts, HttpClassifier},
    retry::{Backoff, Jitter},
};

use crate::peer::{
    Log, soon,
    tls::{Act, Handshaking},
};

const ATTEMPTS: u32 = 3;

/// Handshakes that end alike at each attempt.
const VERDICTS: [Act; 6] = [
    Act::OtherName,
    Act::Expired,
    Act::Plain,
    Act::Alert(40),  // handshake_failure
    Act::Alert(70),  // protocol_version
    Act::Alert(116), // certificate_required
];

/// Handshakes that may succeed at the next attempt.
const ACCIDENTS: [Act; 4] = [
    Act::Close,
    Act::Reset,
    Act::Alert(80), // internal_error
    Act::Alert(90), // user_canceled
];

type Secure = HttpsConnector<HttpConnector>;

fn secure(trusted: Option<&CertificateDer<'static>>) -> Client<Secure, Full<Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.cloned());
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Client::builder(TokioExecutor::new()).build(connector.enable_http1().build())
}

fn policy() -> ExponentialRetry {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    ExponentialRetry::new(ATTEMPTS).backoff(backoff.jitter(Jitter::None))
}

/// Sends a POST, which is retried only if it never reached the server. Returns the attempts made,
/// and whether the last one succeeded.
async fn send<S, B>(client: S, url: &str) -> (u32, bool)
where
    S: Service<Request<Full<Bytes>>, Response = http::Response<B>> + Clone,
    S::Error: Into<BoxError>,
{
    let attempts = Log::new();
    let log = attempts.clone();
    let counted = service_fn(move |request| {
        log.note(());
        client.clone().oneshot(request)
    });
    let policy = policy().classify(HttpClassifier::new());
    let service = ExponentialRetryLayer::new(policy).layer(counted.map_err(Into::<BoxError>::into));
    let request = Request::post(url).body(Full::from("abc")).unwrap();
    let result = soon(service.oneshot(request)).await;
    let made = u32::try_from(attempts.read().len()).unwrap();
    let told = match &result {
        Ok(response) => Attempts::from_response(response),
        Err(error) => Attempts::from_error(&**error),
    };
    assert_eq!(told.get(), made, "{:?}", result.err());
    (made, result.is_ok())
}

#[tokio::test]
async fn r6_tls_verdict_is_not_retried() {
    for act in VERDICTS {
        let server = Handshaking::start(act).await;
        assert_eq!(
            send(secure(Some(server.certificate())), &server.url()).await,
            (1, false),
            "{act:?}"
        );
        assert_eq!(server.connections(), 1, "{act:?}");
    }
    let server = Handshaking::start(Act::Valid).await;
    assert_eq!(send(secure(None), &server.url()).await, (1, false), "an untrusted certificate");
    assert_eq!(send(secure(Some(server.certificate())), &server.url()).await, (1, true));
}

#[tokio::test]
async fn r6_broken_tls_handshake_is_retried() {
    for act in ACCIDENTS {
        let server = Handshaking::start(act).await;
        let sent = send(secure(Some(server.certificate())), &server.url()).await;
        assert_eq!(sent, (ATTEMPTS, false), "{act:?}");
        assert_eq!(server.connections(), ATTEMPTS as usize, "{act:?}");
    }
}

#[tokio::test]
async fn r6_uri_for_another_connector_is_not_retried() {
    let plain = || Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    for url in ["https://127.0.0.1:1/", "ftp://127.0.0.1:1/", "/path"] {
        assert_eq!(send(plain(), url).await, (1, false), "{url}");
    }
    for url in ["ftp://127.0.0.1:1/", "https://-/", "/path"] {
        assert_eq!(send(secure(None), url).await, (1, false), "{url}");
    }
    for url in ["http://127.0.0.1:1/", "https://127.0.0.1:1/"] {
        assert_eq!(send(secure(None), url).await, (ATTEMPTS, false), "{url}: the port is closed");
    }
}

/// A name that glibc refuses without asking a server.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test]
async fn r6_name_that_cannot_exist_is_not_retried() {
    let plain = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    assert_eq!(send(plain, "http://a..b/").await, (1, false));
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use reqwest::{Certificate, Proxy, redirect, retry};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::peer::Listening;

    fn client() -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder().no_proxy().retry(retry::never());
        builder.redirect(redirect::Policy::none())
    }

    fn trusting(server: &Handshaking) -> reqwest::ClientBuilder {
        client().tls_certs_only([Certificate::from_der(server.certificate()).unwrap()])
    }

    async fn send(client: reqwest::ClientBuilder, url: &str) -> (u32, bool) {
        let client = client.build().unwrap();
        let request = client.post(url).body("abc").build().unwrap();
        let policy = policy()
            .classify(HttpClassifier::new().assume_no_redirects())
            .clone_with(reqwest::Request::try_clone);
        let service = ExponentialRetryLayer::new(policy).layer(client.map_err(BoxError::from));
        match soon(service.oneshot(request)).await {
            Ok(response) => (Attempts::from_response(&response).get(), true),
            Err(error) => (Attempts::from_error(&*error).get(), false),
        }
    }

    #[tokio::test]
    async fn r6_reqwest_tls_verdict_is_not_retried() {
        for (acts, attempts) in [(&VERDICTS[..], 1), (&ACCIDENTS[..], ATTEMPTS)] {
            for &act in acts {
                let server = Handshaking::start(act).await;
                let sent = send(trusting(&server), &server.url()).await;
                assert_eq!(sent, (attempts, false), "{act:?}");
                assert_eq!(server.connections(), attempts as usize, "{act:?}");
            }
        }
        let server = Handshaking::start(Act::Valid).await;
        assert_eq!(send(trusting(&server), &server.url()).await, (1, true));
        let other = Handshaking::start(Act::Valid).await;
        assert_eq!(send(trusting(&other), &server.url()).await, (1, false), "untrusted");
    }

    /// A proxy that lacks the credentials, and one that can't connect for now.
    #[tokio::test]
    async fn r6_proxy_that_demands_credentials_is_not_retried() {
        for (status, attempts) in [("407 Demanded", 1), ("503 Busy", ATTEMPTS)] {
            let response = Arc::<str>::from(format!("HTTP/1.1 {status}\r\n\r\n"));
            let proxy = Listening::start(move |mut stream: TcpStream| {
                let response = Arc::clone(&response);
                async move {
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream.write_all(response.as_bytes()).await;
                }
            });
            let proxy = proxy.await;
            let through = client().proxy(Proxy::all(proxy.url("/")).unwrap());
            assert_eq!(send(through, "https://127.0.0.1:1/").await, (attempts, false), "{status}");
        }
    }
}
