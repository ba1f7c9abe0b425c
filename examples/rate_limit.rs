//! Two in a second, whatever the tasks take; and what the two kinds of window do at a boundary.
//!
//! ```text
//! cargo run --example rate_limit
//! ```
//!
//! The clock is tokio's, paused (with its feature `test-util`): the times are exact, and nobody has to
//! wait for them.

use std::{convert::Infallible, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::WindowRateLimitLayer;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Infallible> {
    // A concurrency limit of two with tasks of a second would look the same in the middle row, and in
    // no other.
    println!("5 tasks at 2 per second:");
    for task in [Duration::from_millis(1), SECOND, Duration::from_secs(5)] {
        let started = five_tasks(task).await?;
        println!("  each takes {:<4} started at {started:?}", format!("{task:?}"));
        assert_eq!(started, [0, 0, 1, 1, 2].map(Duration::from_secs));
    }

    println!("\n10 per second; 10 requests come just before a boundary, 10 right after it:");
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

/// When each of five tasks started.
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
    // The producer is as fast as it is let.
    service.call_all(stream::iter([(); 5])).try_collect().await
}

/// When each of 20 requests was issued: they come from 0.9 s on, one in 10 ms.
///
/// The grid of a fixed window begins when the layer is made, which is now: a boundary is at 1 s.
async fn boundary(layer: WindowRateLimitLayer) -> Result<Vec<Duration>, Infallible> {
    let start = now();
    let come = stream::iter(0..20).then(|n| sleep_until(start + (90 + n) * SECOND / 100));
    let service = ServiceBuilder::new()
        .layer(layer)
        .service(service_fn(|()| async move { Ok(start.elapsed()) }));
    service.call_all(come).try_collect().await
}

/// The most that was issued in any half-open span as long as `window`.
///
/// Of the spans that hold a given set of issues one begins with an issue: no others need counting.
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
