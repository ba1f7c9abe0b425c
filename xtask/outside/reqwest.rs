use reqwest::{Client, Error, Request, RequestBuilder, Response};
use tower::{BoxError, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer,
    client::{CollectLayer, HttpClassifier, HttpRetryLayer, RequestBuilderExt},
    keyed::{Host, Key, Path},
};
use tower_service::Service;

use crate::shared;

pub fn client(client: Client) -> impl Service<Request, Response = Response, Error = Error> {
    let policy = ExponentialRetry::new(3)
        .classify(HttpClassifier::new().assume_no_redirects())
        .clone_with(Request::try_clone);
    let stack = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(5))
        .layer(ExponentialRetryLayer::new(policy))
        .service(client);
    shared::<Request, _>(stack)
}

pub async fn send(client: Client, request: RequestBuilder) -> Result<Response, BoxError> {
    let policy = ExponentialRetry::new(3).classify(HttpClassifier::new());
    let stack = ServiceBuilder::new()
        .layer(HttpRetryLayer::new(policy))
        .layer(CollectLayer::new())
        .service(client);
    request.send_through(&stack).await
}

pub fn key(request: &Request) -> Option<String> {
    (Host, Path).label(request)
}
