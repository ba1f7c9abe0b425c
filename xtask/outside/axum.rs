use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::Request, response::Response};
use http::StatusCode;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, DeadlineLayer,
    keyed::{ClientIp, Key, MatchedPath},
    observe::{Limits, page::LimitsPage},
    server::{into_response, problem_rejection},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::shared;

pub fn limited() -> impl Service<Request, Response = Response> {
    let in_flight = ConcurrencyBackpressureLayer::new(5)
        .max_queue(3)
        .reject_with(into_response(|_| (StatusCode::SERVICE_UNAVAILABLE, "later")));
    let deadline = DeadlineLayer::new(Duration::from_secs(1)).reject_with(problem_rejection);
    shared::<Request, _>(deadline.layer(in_flight.layer(Empty)))
}

pub fn admin(limits: Limits) -> Router {
    let page = LimitsPage::new(limits).interval(Duration::from_secs(2));
    Router::new().nest("/limits", page.end_streams_when(std::future::pending).into_router())
}

pub fn key(request: &Request) -> Option<String> {
    (ClientIp::peer(), MatchedPath::new().with_method()).label(request)
}

/// Responds with an empty response. One of axum is not `Clone`.
#[derive(Clone)]
struct Empty;

impl Service<Request> for Empty {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok(Response::default()))
    }
}
