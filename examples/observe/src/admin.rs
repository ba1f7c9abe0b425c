//! The admin server: for Prometheus, and for a look at the limits.

use std::{future::ready, net::SocketAddr};

use axum::{Router, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tower_floodgate::observe::Limits;

/// Starts the server at `address`. Returns the address that it has.
pub(crate) async fn start(
    address: SocketAddr,
    limits: Limits,
    metrics: PrometheusHandle,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let scrape = move || {
        limits.record_metrics();
        ready(metrics.render())
    };
    // The page of the limits is mounted here: `.nest("/limits", ...)`.
    let admin = Router::new().route("/metrics", get(scrape));
    tokio::spawn(async { axum::serve(listener, admin).await });
    Ok(address)
}
