use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use tower::ServiceBuilder;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, DeadlineLayer, ExponentialRetry, ExponentialRetryLayer,
    PauseOnHintLayer, WindowRateLimitLayer,
    client::{GrpcClassifier, GrpcCode, GrpcHints, GrpcTrailersLayer, send_grpc_timeout},
    deadline::GrpcTimeout,
    server::grpc_rejection,
};
use tower_service::Service;

use crate::{Respond, shared};

pub fn client<B>() -> impl Service<Request<()>>
where
    B: Body<Data: Send> + Clone + Default + Unpin + Send + Sync + 'static,
{
    let classify = GrpcClassifier::new().codes_with_pushback([GrpcCode::ResourceExhausted]);
    let deadline = DeadlineLayer::from_request(GrpcTimeout).reject_with(grpc_rejection);
    let rate = WindowRateLimitLayer::new(2, Duration::from_secs(1));
    let pause = PauseOnHintLayer::new(rate.handle(), GrpcHints);
    let stack = ServiceBuilder::new()
        .layer(deadline)
        .layer(ExponentialRetryLayer::new(ExponentialRetry::new(3).classify(classify)))
        .layer(rate)
        .layer(pause)
        .map_request(send_grpc_timeout)
        .layer(GrpcTrailersLayer::new())
        .service(Respond(Response::new(B::default())));
    shared::<Request<()>, _>(stack)
}

pub fn server<B>() -> impl Service<Request<()>>
where
    B: Body + Clone + Default + Send + Sync + 'static,
{
    let in_flight = ConcurrencyBackpressureLayer::new(5).max_queue(3).reject_with(grpc_rejection);
    let stack = ServiceBuilder::new()
        .layer(in_flight.until_body_ends())
        .service(Respond(Response::new(B::default())));
    shared::<Request<()>, _>(stack)
}
