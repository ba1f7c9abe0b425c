use std::time::Duration;

use tower::BoxError;
use tower_floodgate::{
    keyed::KeyedLimitLayer,
    shared::{Away, SharedKeyedWindow, Store, StoreError},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Respond, shared};

struct NoStore;

impl Store for NoStore {
    async fn acquire(&self, _: &str, _: &[i64]) -> Result<Vec<i64>, StoreError> {
        Err(StoreError::new("io"))
    }
}

pub fn limited() -> impl Service<u32, Response = u32, Error = BoxError> {
    let windows = SharedKeyedWindow::new(NoStore, "api", 9, Duration::from_secs(1), Away::Open);
    let layer = KeyedLimitLayer::shared(windows, |request: &u32| Some(request % 3));
    shared::<u32, _>(layer.layer(Respond(1)))
}
