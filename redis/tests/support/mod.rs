//! Real servers, clusters of them, and networks that fail, for tests.

pub(crate) mod cluster;
#[path = "../../../tests/support/install.rs"]
pub(crate) mod install;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod stub;

use std::time::Duration;

/// Waits until `condition` holds. No test depends on how soon.
///
/// # Panics
///
/// After 30 seconds.
pub(crate) async fn until(event: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {event}");
}
