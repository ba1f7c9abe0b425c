use tower::ServiceBuilder;
use tower_floodgate::ConcurrencyBackpressureLayer;
use tower_service::Service;

use crate::{Respond, shared};

pub fn traced() -> impl Service<u32, Response = u32> {
    let limit = ConcurrencyBackpressureLayer::new(5).name("database");
    shared::<u32, _>(ServiceBuilder::new().layer(limit).service(Respond(1)))
}
