//! The server: an axum router behind a limit, on a socket.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tower::BoxError;

use super::bottleneck::Bottleneck;

/// The routes, without a limit.
pub(crate) fn routes(bottleneck: Arc<Bottleneck>) -> Router {
    Router::new().route("/", get(handle)).with_state(bottleneck)
}

async fn handle(State(bottleneck): State<Arc<Bottleneck>>) -> (StatusCode, &'static str) {
    if bottleneck.work().await {
        (StatusCode::OK, "done")
    } else {
        (StatusCode::BAD_GATEWAY, "lost")
    }
}

/// Serves the routes on a free port, until the task is aborted.
pub(crate) async fn serve(app: Router) -> Result<(SocketAddr, JoinHandle<()>), BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    // `axum::serve` bounds the requests of a connection, and closes one with many dropped requests.
    // Nothing but the limit of the candidate should hold back the load.
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.max_concurrent_streams(None)
        .max_pending_accept_reset_streams(usize::MAX)
        .max_local_error_reset_streams(None);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Without it, small responses wait for one another.
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(app.clone());
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok((address, task))
}
