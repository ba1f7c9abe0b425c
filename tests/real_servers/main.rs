//! A client with this crate's layers beside real servers of other hands that count by themselves,
//! and a server with limits of each client behind them.
//!
//! ```text
//! cargo test --all-features --test real_servers
//! ```
//!
//! Not part of a bare `cargo test`: it needs nginx, HAProxy and Python, installs them where
//! possible, and takes a minute of real time. No verdict depends on the speed of the machine: the
//! used share of a quota is printed, not judged.

#![allow(clippy::unwrap_used, reason = "a scene that panics has failed")]

mod haproxy;
#[path = "../support/install.rs"]
mod install;
mod nginx;
mod obeying;
mod overrunning;
mod per_client;
mod program;
mod reverse_proxies;
mod same_arrivals;
mod slowapi;

use std::{process::ExitCode, time::Duration};

/// The servers' rate: requests per second in the long run.
const RATE: u32 = 100;

/// Far more than needed to use up a window.
const CALLERS: u32 = 10;

/// Long enough for any machine. A scene that has not ended by then is stuck.
const STUCK: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> ExitCode {
    match tokio::time::timeout(STUCK, scenes()).await.expect("a scene is stuck") {
        Ok(()) => {
            println!("\nall scenes passed");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn scenes() -> Result<(), String> {
    reverse_proxies::scene().await?;
    same_arrivals::scene().await?;

    let server = nginx::start(&[nginx::OBEYING, nginx::HINTING, nginx::SILENT]).await?;
    // The first window begins at once, so the last begins after 30 seconds.
    obeying::scene("nginx", &server.url(nginx::OBEYING.name), 31).await;
    for zone in [nginx::HINTING, nginx::SILENT] {
        let name = format!("nginx, {}", zone.name);
        overrunning::scene(&name, &server.url(zone.name), zone.status).await;
    }
    drop(server);

    let server = haproxy::start().await?;
    obeying::scene("HAProxy", &server.url("obeying"), 6).await;
    overrunning::scene("HAProxy", &server.url("overrunning"), 429).await;
    drop(server);

    let server = slowapi::start().await?;
    obeying::scene("slowapi", &server.url("obeying"), 6).await;
    overrunning::scene("slowapi", &server.url("overrunning"), 429).await;
    Ok(())
}

/// Returns the output of `scene` and its duration.
async fn timed<T>(scene: impl Future<Output = T>) -> (T, Duration) {
    #[allow(clippy::disallowed_methods, reason = "scenes take real time")]
    let began = tokio::time::Instant::now();
    let result = scene.await;
    (result, began.elapsed())
}
