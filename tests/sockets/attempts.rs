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
    use reqwest::{Body, retry};

    use super::*;

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
        let policy =
            policy().classify(HttpClassifier::new()).clone_with(reqwest::Request::try_clone);
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
}
