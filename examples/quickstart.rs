//! The three layers in front of a service that fails now and then.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use futures::future::try_join_all;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::ServiceBuilderExt;

static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

/// Resets the connection at the first three attempts.
async fn fetch(page: u32) -> Result<String, io::Error> {
    if ATTEMPTS.fetch_add(1, Relaxed) < 3 {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(format!("page {page}"))
}

#[tokio::main]
async fn main() -> Result<(), io::Error> {
    let client = ServiceBuilder::new()
        .concurrency_backpressure(8) // at most 8 pages at a time
        .exponential_retry(3) // three attempts for each, up to 1 s and 2 s apart
        .window_rate_limit(10, Duration::from_millis(200)) // attempts in any 200 ms
        .service(service_fn(fetch));

    let pages = try_join_all((0..30).map(|page| client.clone().oneshot(page))).await?;
    let attempts = ATTEMPTS.load(Relaxed);
    println!("{} pages in {attempts} attempts", pages.len());

    assert_eq!((pages.len(), attempts), (30, 33), "three attempts failed");
    Ok(())
}
