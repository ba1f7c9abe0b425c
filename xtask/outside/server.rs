use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use tower::ServiceBuilder;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, WindowRateLimitLayer,
    server::{RateLimitHeadersLayer, http_rejection},
};
use tower_service::Service;

use crate::{Respond, shared};

pub fn limited<B>() -> impl Service<Request<()>>
where
    B: Body + Clone + Default + Send + Sync + 'static,
{
    let in_flight = ConcurrencyBackpressureLayer::new(5).max_queue(3).reject_with(http_rejection);
    let rate = WindowRateLimitLayer::new(2, Duration::from_secs(1))
        .max_queue(3)
        .reject_with(http_rejection);
    let stack = ServiceBuilder::new()
        .layer(in_flight.until_body_ends())
        .layer(RateLimitHeadersLayer::new("default", rate.handle()))
        .layer(rate)
        .service(Respond(Response::new(B::default())));
    shared::<Request<()>, _>(stack)
}
