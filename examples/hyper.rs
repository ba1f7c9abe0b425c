//! A hyper server with limits, and a hyper client that obeys them.
//!
//! ```text
//! cargo run --example hyper
//! ```
//!
//! The server accepts three requests in a second, and rejects the others. The client sends streamed
//! bodies, and sends them again after a rejection. Then the server is stopped.

use std::{convert::Infallible, error::Error, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::try_join_all, stream};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, WindowRateLimitLayer,
    client::{Attempts, HttpClassifier, HttpRetryLayer},
    retry::Backoff,
    server::{RateLimitHeadersLayer, http_rejection},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let mut server = JoinSet::new();
    server.spawn(serve(listener));

    // The usual order: a task holds a permit in flight, and each attempt takes one of the window.
    let policy = ExponentialRetry::new(10)
        .classify(HttpClassifier::new().any_method()) // repeating an echo does no harm
        .backoff(Backoff::new(SECOND / 20, SECOND / 5));
    let client = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(4))
        .layer(HttpRetryLayer::new(policy))
        .layer(WindowRateLimitLayer::new(20, SECOND))
        .service(Client::builder(TokioExecutor::new()).build_http());

    println!("six bodies, four at a time, to a server that takes three in a second:");
    let responses = (1..=6).map(|number| {
        let request = Request::post(&url).body(parts(number));
        async { Ok::<_, Box<dyn Error + Send + Sync>>(client.clone().oneshot(request?).await?) }
    });
    let mut attempts = 0;
    for response in try_join_all(responses).await? {
        let (status, took) = (response.status(), Attempts::from_response(&response).get());
        let body = response.into_body().collect().await?.to_bytes();
        println!("  {status} at attempt {took}: {}", String::from_utf8_lossy(&body));
        assert_eq!(status, StatusCode::OK);
        assert!(body.ends_with(b"part 1, part 2, part 3"), "the body arrived whole");
        attempts += took;
    }
    println!("  {attempts} attempts in all");

    println!("and when the server is stopped:");
    server.shutdown().await;
    let result = client.oneshot(Request::post(&url).body(parts(7))?).await;
    let error = result.expect_err("the server is stopped");
    // These limits reject nothing, so the error type is the client's own.
    println!("  {error}: {:?}", error.source().map(ToString::to_string));
    assert!(error.is_connect());
    Ok(())
}

/// Serves connections until the future is dropped.
async fn serve(listener: TcpListener) {
    let in_flight =
        ConcurrencyBackpressureLayer::new(100).max_queue(100).reject_with(http_rejection);
    let rate = WindowRateLimitLayer::new(3, SECOND).max_queue(0).reject_with(http_rejection);
    let service = ServiceBuilder::new()
        .layer(in_flight.until_body_ends())
        .layer(RateLimitHeadersLayer::new("echo", rate.handle()))
        .layer(rate)
        .service(service_fn(echo));

    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // A clone for each connection: clones share the limits.
        let service = TowerToHyperService::new(service.clone());
        connections.spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                println!("  a connection failed: {error}");
            }
        });
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?;
    Ok(Response::new(Full::new(body.to_bytes())))
}

/// A body that is produced while it is sent, and can't be cloned.
fn parts(number: u32) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
    let parts = [format!("{number}: part 1, "), "part 2, ".to_owned(), "part 3".to_owned()];
    let parts = stream::iter(parts).then(|part| async {
        sleep(SECOND / 100).await;
        Ok(Frame::data(Bytes::from(part)))
    });
    StreamBody::new(Box::pin(parts))
}
