//! The three layers in front of a service that fails now and then.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use futures::future::try_join_all;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{ExponentialRetry, ServiceBuilderExt, retry::Backoff};

static ATTEMPTS: [AtomicU32; 30] = [const { AtomicU32::new(0) }; 30];

/// Resets the connection at the first attempt of every fourth page.
async fn fetch(page: usize) -> Result<String, io::Error> {
    if ATTEMPTS[page].fetch_add(1, Relaxed) == 0 && page % 4 == 3 {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(format!("page {page}"))
}

#[tokio::main]
async fn main() -> Result<(), io::Error> {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let client = ServiceBuilder::new()
        .concurrency_backpressure(8) // at most 8 pages at a time
        .retry(ExponentialRetry::new(3).backoff(backoff)) // tower's `retry` with our policy
        .window_rate_limit(10, Duration::from_millis(200)) // attempts in any 200 ms
        .service(service_fn(fetch));

    let pages = try_join_all((0..30).map(|page| client.clone().oneshot(page))).await?;
    let attempts: u32 = ATTEMPTS.iter().map(|attempts| attempts.load(Relaxed)).sum();
    println!("{} pages in {attempts} attempts", pages.len());

    assert_eq!((pages.len(), attempts), (30, 30 + 7), "seven pages failed once");
    Ok(())
}
