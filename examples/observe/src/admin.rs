//! The admin server: for Prometheus, and for a look at the limits.

use std::{future::ready, net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::watch, time};
use tower_floodgate::observe::{Limits, page::LimitsPage};

const UPKEEP: Duration = Duration::from_secs(5);

/// Starts the server at `address`. Returns the address that it has, and the number of scrapes.
pub(crate) async fn start(
    address: SocketAddr,
    limits: Limits,
    metrics: PrometheusHandle,
) -> std::io::Result<(SocketAddr, watch::Receiver<u64>)> {
    let with_address = |error| std::io::Error::other(format!("{address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(with_address)?;
    let address = listener.local_addr()?;
    // Histograms keep each value until they are read, by a scrape or here.
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    let scraped = limits.clone();
    let (scrapes, count) = watch::channel(0);
    let scrape = move || {
        scrapes.send_modify(|scrapes| *scrapes += 1);
        scraped.record_metrics();
        ready(metrics.render())
    };
    let page = LimitsPage::new(limits).into_router();
    let admin = Router::new().route("/metrics", get(scrape)).nest("/limits", page);
    tokio::spawn(async { axum::serve(listener, admin).await });
    Ok((address, count))
}
