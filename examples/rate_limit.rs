//! Two requests a second, for short and long tasks; fixed and sliding windows at a boundary.
//!
//! ```text
//! cargo run --example rate_limit
//! ```
//!
//! The clock is tokio's, paused (with its feature `test-util`): the times are exact and pass at
//! once.

use std::{convert::Infallible, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::WindowRateLimitLayer;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Infallible> {
    // A concurrency limit of two would have the same times in the middle row, where a task takes a
    // second, and in no other.
    println!("5 tasks at 2 per second:");
    for task in [Duration::from_millis(1), SECOND, Duration::from_secs(5)] {
        let started = five_tasks(task).await?;
        println!("  each takes {:<4} started at {started:?}", format!("{task:?}"));
        assert_eq!(started, [0, 0, 1, 1, 2].map(Duration::from_secs));
    }

    println!("\n10 per second; 10 requests arrive just before a boundary, 10 right after it:");
    let fixed = boundary(WindowRateLimitLayer::fixed(10, SECOND)).await?;
    let sliding = boundary(WindowRateLimitLayer::new(10, SECOND)).await?;
    println!("  issued                     fixed  sliding");
    for tenth in 9..20 {
        let issued = |times: &[Duration]| {
            times.iter().filter(|time| time.as_millis() / 100 == tenth).count()
        };
        let (fixed, sliding) = (issued(&fixed), issued(&sliding));
        if fixed + sliding > 0 {
            let tenth = tenth as f64 / 10.0;
            let span = format!("from {tenth:.1} s on");
            println!("  {span:<24}{fixed:>8}{sliding:>9}");
        }
    }
    let most = (busiest(&fixed, SECOND), busiest(&sliding, SECOND));
    println!("  {:<24}{:>8}{:>9}", "in the busiest second", most.0, most.1);
    println!(
        "  The fixed window issued all 20 within {:?}, the sliding one within {:?}.",
        fixed[19] - fixed[0],
        sliding[19] - sliding[0]
    );
    assert_eq!(most, (20, 10), "twice the limit, and the limit");
    assert!(fixed[19] - fixed[0] < SECOND / 5 && sliding[19] - sliding[0] > SECOND);
    Ok(())
}

/// Returns when each of five tasks started.
async fn five_tasks(takes: Duration) -> Result<Vec<Duration>, Infallible> {
    let start = now();
    let service = ServiceBuilder::new().layer(WindowRateLimitLayer::new(2, SECOND)).service(
        service_fn(|()| {
            let started = start.elapsed();
            async move {
                sleep(takes).await;
                Ok(started)
            }
        }),
    );
    // All five tasks exist from the start: only the limit spreads them.
    service.call_all(stream::iter([(); 5])).try_collect().await
}

/// Returns when each of 20 requests was issued that arrive from 0.9 s on, one every 10 ms.
///
/// The grid of a fixed window begins when its layer is made, just before: a boundary is at 1 s.
async fn boundary(layer: WindowRateLimitLayer) -> Result<Vec<Duration>, Infallible> {
    let start = now();
    let requests = stream::iter(0..20).then(|n| sleep_until(start + (90 + n) * SECOND / 100));
    let service = ServiceBuilder::new()
        .layer(layer)
        .service(service_fn(|()| async move { Ok(start.elapsed()) }));
    service.call_all(requests).try_collect().await
}

/// Returns the most requests issued in any half-open span as long as `window`.
///
/// A span with the most requests can be moved until it begins with one of them, so no other spans
/// are counted.
fn busiest(issued: &[Duration], window: Duration) -> usize {
    let from = |first: &Duration| {
        issued.iter().filter(|&time| (*first..*first + window).contains(time)).count()
    };
    issued.iter().map(from).max().unwrap_or(0)
}

#[allow(clippy::disallowed_methods, reason = "the demonstration shows times")]
fn now() -> Instant {
    Instant::now()
}
