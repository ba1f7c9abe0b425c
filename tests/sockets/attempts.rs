//! The number of attempts, told by the errors of real clients, and to the hook.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpSocket;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    client::{Attempts, HttpClassifier},
    retry::Backoff,
};

use crate::peer::soon;

const ATTEMPTS: u32 = 3;

fn policy() -> ExponentialRetry {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    ExponentialRetry::new(ATTEMPTS).backoff(backoff)
}

/// A port that stays bound without a listener, and its address.
fn closed() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    (socket, url)
}

#[tokio::test]
async fn r8_error_of_hyper_util_tells_its_attempts() {
    let (_kept, url) = closed();
    let client = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy().classify(HttpClassifier::new())))
        .map_err(BoxError::from)
        .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
    let request = Request::post(&url).body(Full::from("abc")).unwrap();
    let error = soon(client.oneshot(request)).await.unwrap_err();
    assert_eq!(Attempts::from_error(&*error).get(), ATTEMPTS);
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn r8_status_of_tonic_tells_its_attempts() {
    use tonic::{Code, body::Body, transport::Endpoint};
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tower_floodgate::client::{ByReplay, GrpcClassifier, ReplayBody, ReplayLayer};

    let (_kept, url) = closed();
    let policy = policy().classify(GrpcClassifier::new()).clone_with(ByReplay);
    let channel = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy))
        .map_request(|request: Request<ReplayBody<_>>| request.map(Body::new))
        .map_err(BoxError::from)
        .service(Endpoint::from_shared(url).unwrap().connect_lazy());
    let mut client = HealthClient::new(channel);
    let status = soon(client.check(HealthCheckRequest::default())).await.unwrap_err();
    assert_eq!(Attempts::from_error(&status).get(), ATTEMPTS);
    assert_eq!(status.code(), Code::Unavailable);
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use reqwest::{Body, Method, retry};
    use tower::Layer;
    use tower_floodgate::{
        client::ByTryClone,
        retry::{CloneRequest, Decision, StopReason},
    };

    use super::*;
    use crate::peer::{Log, misbehaving::http1};

    fn client() -> reqwest::Client {
        reqwest::Client::builder().no_proxy().retry(retry::never()).build().unwrap()
    }

    fn streamed() -> Body {
        let parts = [vec![7; 10], vec![7; 20]].map(Ok::<_, std::io::Error>);
        Body::wrap_stream(futures::stream::iter(parts))
    }

    #[tokio::test]
    async fn r8_error_of_reqwest_tells_its_attempts() {
        let (_kept, url) = closed();
        let policy = policy().classify(HttpClassifier::new()).clone_with(ByTryClone);
        let service = ServiceBuilder::new()
            .layer(ExponentialRetryLayer::new(policy))
            .map_err(BoxError::from)
            .service(client());
        for (request, attempts) in [
            (client().put(&url).body("abc"), ATTEMPTS),
            (client().get(&url), ATTEMPTS),
            (client().put(&url).body(streamed()), 1),
        ] {
            let request = request.build().unwrap();
            let error = soon(service.clone().oneshot(request)).await.unwrap_err();
            assert_eq!(Attempts::from_error(&*error).get(), attempts);
        }
    }

    /// The server responds with 503 before it is asked again.
    #[tokio::test]
    async fn r7_r8_streamed_body_of_reqwest_is_told_to_the_hook() {
        for (body, attempts, told) in [
            (streamed as fn() -> Body, 1, vec![Err(StopReason::NotReplayable)]),
            (|| Body::from(vec![7; 30]), 2, vec![Ok(())]),
        ] {
            let busy = http1::Act::Unavailable(b"Server: busy");
            let server = http1::Misbehaving::start([busy]).await;
            let decisions = Log::new();
            let log = decisions.clone();
            let policy =
                policy().classify(HttpClassifier::new()).clone_with(ByTryClone).on_decision_with(
                    move |decision: &Decision,
                          request: &reqwest::Request,
                          result: &Result<reqwest::Response, reqwest::Error>| {
                        assert_eq!(
                            (request.method(), request.url().path()),
                            (&Method::PUT, "/there")
                        );
                        assert_eq!(request.headers()["a"], "b");
                        assert_eq!(result.as_ref().unwrap().status(), 503);
                        log.note(decision.retry_in().map(drop));
                    },
                );
            let service = ExponentialRetryLayer::new(policy).layer(client());
            let request =
                client().put(server.listening().url("/there")).header("a", "b").body(body());
            let response = soon(service.oneshot(request.build().unwrap())).await.unwrap();
            assert_eq!(Attempts::from_response(&response).get(), attempts);
            let received: Vec<_> = server.received().iter().map(|request| request.body).collect();
            assert_eq!(received, vec![30; attempts as usize]);
            assert_eq!(decisions.read(), told);
        }
    }

    #[tokio::test]
    async fn r7_copy_of_a_streamed_body_of_reqwest_fails_when_sent() {
        let server = http1::Misbehaving::start([]).await;
        let request = client().put(server.listening().url("/")).body(streamed()).build().unwrap();
        let copy = ByTryClone.clone_request(&request).unwrap();
        assert!(!ByTryClone.can_send(&copy));
        assert!(!ByTryClone.can_send(&ByTryClone.clone_request(&copy).unwrap()));
        soon(client().execute(copy)).await.unwrap_err();
        assert!(server.received().is_empty());
        assert_eq!(soon(client().execute(request)).await.unwrap().status(), 200);
    }
}
