//! A server of axum that can be stopped while pages are open, and started again on its port.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tower_floodgate::observe::{Limits, page::LimitsPage};

/// The page is at this path.
const PATH: &str = "/ops/limits";

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves the page of `limits`, on any port.
    pub(crate) async fn start(limits: &Limits) -> Self {
        Self::start_on(&LOCAL.parse().unwrap(), limits).await
    }

    /// Serves the page of `limits` on a port that is free again.
    pub(crate) async fn start_on(address: &SocketAddr, limits: &Limits) -> Self {
        let limits = limits.clone();
        Self::serve(address, |stopped| {
            let page = LimitsPage::new(limits).interval(INTERVAL);
            let page = page.end_streams_when(move || is_set(stopped.clone()));
            Router::new().nest(PATH, page.into_router())
        })
        .await
    }

    /// Serves a router, on a port that is free again or on any.
    pub(crate) async fn serve(
        address: &SocketAddr,
        router: impl FnOnce(watch::Receiver<bool>) -> Router,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let router = router(stopped.clone());
        let task = tokio::spawn(async move {
            let serve = axum::serve(listener, router).with_graceful_shutdown(is_set(stopped));
            serve.await.unwrap();
        });
        Self { address, stop, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Stops gracefully: the streams of open pages end.
    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

pub(crate) const LOCAL: &str = "127.0.0.1:0";

/// Shorter than by default, so that the scenes are.
pub(crate) const INTERVAL: Duration = Duration::from_millis(200);

async fn is_set(mut signal: watch::Receiver<bool>) {
    // An error tells that the sender is gone.
    let _ = signal.wait_for(|is_set| *is_set).await;
}
