//! Steps in a runtime with a paused clock.

use std::time::Duration;

use tokio::{task::yield_now, time::advance};

/// Lets time pass, and every timer that is due fire.
pub(crate) async fn pass(time: Duration) {
    advance(time).await;
    yield_now().await;
}

/// Lets every task run until it is pending, without letting time pass.
pub(crate) async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}
