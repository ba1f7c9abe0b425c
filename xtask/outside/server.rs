use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use tower::ServiceBuilder;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, InvalidSetting, WindowRateLimitLayer,
    config::{ClientIpConfig, ClientIpHeader},
    keyed::{BearerToken, ClientIp, Header, Host, Key, KeyedLimitLayer, Path, PeerAddr, Rule},
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
    let client = Rule::new("client", BearerToken).at_most(2, Duration::from_secs(1));
    let keyed = KeyedLimitLayer::new(client.max_in_flight(1)).reject_with(http_rejection);
    let stack = ServiceBuilder::new()
        .layer(keyed.rate_limit_headers().with_partition_keys())
        .layer(keyed.until_body_ends())
        .layer(in_flight.until_body_ends())
        .layer(RateLimitHeadersLayer::new("default", rate.handle()))
        .layer(rate)
        .service(Respond(Response::new(B::default())));
    shared::<Request<()>, _>(stack)
}

pub fn key<B>(mut request: Request<B>) -> Option<String> {
    request.extensions_mut().insert(PeerAddr::UNIX_SOCKET);
    let client = ClientIp::behind(["127.0.0.1"]).forwarded().ipv6_prefix(56);
    (client, (Header::named("x-tenant"), BearerToken), Host, Path).label(&request)
}

pub fn key_of_settings() -> Result<ClientIp, InvalidSetting> {
    let mut config = ClientIpConfig::new(["10.0.0.0/8"]);
    config.header = ClientIpHeader::Forwarded;
    config.try_key()
}
