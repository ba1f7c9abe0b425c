use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use tower::{BoxError, ServiceBuilder};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer, WindowRateLimitLayer,
    client::{Attempts, BoxedError, ByReplay, HttpClassifier, HttpHints, ReplayBody, ReplayLayer},
};
use tower_service::Service;

use crate::{Respond, shared};

pub fn replayed<B>() -> impl Service<Request<B>, Response = Response<()>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    let policy = ExponentialRetry::new(3).classify(HttpClassifier::new()).clone_with(ByReplay);
    let rate = WindowRateLimitLayer::new(2, Duration::from_secs(1));
    let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
    let stack = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy))
        .layer(rate)
        .layer(pause)
        .service(Respond(Response::new(())));
    shared::<Request<B>, _>(stack)
}

pub fn boxed_errors() -> ExponentialRetry<HttpClassifier<BoxedError>> {
    ExponentialRetry::new(3).classify(HttpClassifier::new())
}

pub fn attempts<B>(response: &Response<B>) -> u32 {
    Attempts::from_response(response).get()
}

pub fn hint(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    HttpHints::new().read(status, headers, SystemTime::now)
}

pub fn length<B>(body: &ReplayBody<B>) -> Option<u64>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    body.size_hint().exact()
}
