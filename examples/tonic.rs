//! A gRPC server with limits, and a client that obeys them: tonic's.
//!
//! ```text
//! cargo run --example tonic --features grpc
//! ```
//!
//! The server answers three calls in a second. The others it turns away with `RESOURCE_EXHAUSTED`, and says when to
//! come again in `grpc-retry-pushback-ms`. The client does, and holds back its other calls until then, too.

use std::{error::Error, time::Duration};

use futures::future::try_join_all;
use http::Request;
use tonic::{
    body::Body,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceBuilder;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{Attempts, ByReplay, GrpcClassifier, GrpcCode, GrpcHints, ReplayBody, ReplayLayer},
    server::grpc_rejection,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // A stream holds its place until it has ended, or the client has gone.
    let in_flight = ConcurrencyBackpressureLayer::new(2)
        .max_waiting(10)
        .respond(grpc_rejection)
        .until_body_ends();
    let rate = WindowRateLimitLayer::new(3, SECOND).max_waiting(0).respond(grpc_rejection);
    let (places, quota) = (in_flight.handle(), rate.handle());
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(in_flight).layer(rate).add_service(health);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let url = format!("http://{}", incoming.local_addr()?);
    tokio::spawn(server.serve_with_incoming(incoming));

    // Retries what has not been done: which calls may be done twice is for you to say.
    let policy = ExponentialRetry::new(5).clone_with(ByReplay).classify(
        GrpcClassifier::new().codes([GrpcCode::Unavailable, GrpcCode::ResourceExhausted]),
    );
    let own_rate = WindowRateLimitLayer::new(100, SECOND);
    let pause = PauseOnHintLayer::new(own_rate.handle(), GrpcHints);
    let channel = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy))
        .layer(own_rate)
        .layer(pause)
        .map_request(|request: Request<ReplayBody<_>>| request.map(Body::new))
        .service(Channel::from_shared(url)?.connect().await?);
    let client = HealthClient::new(channel);

    println!("six calls of a server that takes three in a second:");
    let calls = (0..6).map(|_| {
        let mut client = client.clone();
        async move { client.check(HealthCheckRequest::default()).await }
    });
    let mut attempts = 0;
    for answer in try_join_all(calls).await? {
        let took = Attempts::from_extensions(answer.extensions()).get();
        println!("  status {} at attempt {took}", answer.get_ref().status);
        attempts += u64::from(took);
    }
    println!("  {attempts} attempts, {} of them turned away", quota.rejected().queue_full);
    assert_eq!(attempts, 6 + quota.rejected().queue_full);

    println!("two streams, which are all that may be in flight:");
    let mut client = client;
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(client.watch(HealthCheckRequest::default()).await?.into_inner());
    }
    println!("  in flight: {}", places.in_flight());
    assert_eq!(places.in_flight(), 2);
    drop(streams);
    places.drained().await;
    println!("  dropped, in flight: {}", places.in_flight());
    Ok(())
}
