//! A gRPC server of tonic with limits, and a client that obeys them.
//!
//! ```text
//! cargo run --example tonic --features grpc
//! ```
//!
//! The server accepts three calls in a second. It rejects the others with `RESOURCE_EXHAUSTED` and
//! the time for a retry in `grpc-retry-pushback-ms`. The client retries then, and holds back its
//! other calls until then too.

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
    ConcurrencyBackpressureLayer, DeadlineLayer, ExponentialRetry, ExponentialRetryLayer,
    PauseOnHintLayer, WindowRateLimitLayer,
    client::{
        Attempts, ByReplay, GrpcClassifier, GrpcCode, GrpcHints, GrpcTrailersLayer, ReplayBody,
        ReplayLayer, send_grpc_timeout,
    },
    deadline::GrpcTimeout,
    server::grpc_rejection,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // A stream holds its permit until it ends or its client disconnects.
    let in_flight = ConcurrencyBackpressureLayer::new(2)
        .max_queue(10)
        .reject_with(grpc_rejection)
        .until_body_ends();
    let rate = WindowRateLimitLayer::new(3, SECOND).max_queue(0).reject_with(grpc_rejection);
    let (permits, quota) = (in_flight.handle(), rate.handle());
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(in_flight).layer(rate).add_service(health);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let url = format!("http://{}", incoming.local_addr()?);
    tokio::spawn(server.serve_with_incoming(incoming));

    // Repeating a health check does no harm. Whether that holds is for each client to decide.
    let policy = ExponentialRetry::new(5)
        .clone_with(ByReplay)
        .classify(GrpcClassifier::new().codes_with_pushback([GrpcCode::ResourceExhausted]));
    let own_rate = WindowRateLimitLayer::new(100, SECOND);
    let pause = PauseOnHintLayer::new(own_rate.handle(), GrpcHints);
    // A call ends within its `grpc-timeout`, or 30 s, with all its waits and attempts.
    let deadline = DeadlineLayer::from_request(GrpcTimeout)
        .at_most(Duration::from_secs(30))
        .reject_with(grpc_rejection);
    let channel = ServiceBuilder::new()
        .layer(deadline)
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy))
        .layer(own_rate)
        .layer(pause)
        .map_request(send_grpc_timeout)
        .layer(GrpcTrailersLayer::new())
        .map_request(|request: Request<ReplayBody<_>>| request.map(Body::new))
        .service(Channel::from_shared(url)?.connect().await?);
    let client = HealthClient::new(channel);

    println!("six calls of a server that takes three in a second:");
    let calls = (0..6).map(|_| {
        let mut client = client.clone();
        async move { client.check(HealthCheckRequest::default()).await }
    });
    let mut attempts = 0;
    for response in try_join_all(calls).await? {
        let took = Attempts::from_extensions(response.extensions()).get();
        println!("  status {} at attempt {took}", response.get_ref().status);
        attempts += u64::from(took);
    }
    println!("  {attempts} attempts, {} of them rejected", quota.rejected().queue_full);
    assert_eq!(attempts, 6 + quota.rejected().queue_full);

    println!("two streams, which use up the limit in flight:");
    let mut client = client;
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(client.watch(HealthCheckRequest::default()).await?.into_inner());
    }
    println!("  in flight: {}", permits.in_flight());
    assert_eq!(permits.in_flight(), 2);
    drop(streams);
    permits.drained().await;
    println!("  dropped, in flight: {}", permits.in_flight());
    Ok(())
}
