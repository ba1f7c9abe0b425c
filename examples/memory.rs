//! The memory that a missing bound costs.
//!
//! 100,000 tasks wait for a consumer that is slower than their producer. The memory is measured
//! without and with a layer between the two.
//!
//! ```text
//! cargo run --example memory
//! ```
//!
//! The bytes are real: the allocator of this program counts them. The time is not: the clock is
//! tokio's, paused, because the longest runs take 200 seconds.

use std::{convert::Infallible, pin::pin, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use futures::{Stream, StreamExt, stream};
use peak_alloc::PeakAlloc;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::ConcurrencyBackpressureLayer;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const BOUND: u32 = 100;
const FEW: usize = 10_000;
const MANY: usize = 100_000;
/// Readings of the memory in a run.
const READINGS: usize = 10;

const BODY: usize = 1024;
const PRODUCING: Duration = Duration::from_millis(1);
const CONSUMING: Duration = Duration::from_millis(2);

type Body = Vec<u8>;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Infallible> {
    println!(
        "{BODY} bytes a task; producing one takes {PRODUCING:?}, consuming it {CONSUMING:?}.\n"
    );
    let few = measure_both(FEW).await?;
    let many = measure_both(MANY).await?;

    let mut peaks = table(["tasks", "peak, no bound", "peak, at most 100"]);
    for (tasks, (unbounded, bounded)) in [(FEW, &few), (MANY, &many)] {
        peaks.add_row([tasks.to_string(), kib(unbounded.peak), kib(bounded.peak)]);
    }
    println!("{peaks}\n");

    let (unbounded, bounded) = &many;
    let mut course = table(["tasks done", "held, no bound", "held, at most 100"]);
    for (reading, (unbounded, bounded)) in unbounded.held.iter().zip(&bounded.held).enumerate() {
        let done = (reading + 1) * MANY / READINGS;
        course.add_row([done.to_string(), kib(*unbounded), kib(*bounded)]);
    }
    println!("{course}\n");
    println!(
        "The consumer sets the pace: without a bound it took {:.0} s, with one {:.0} s.",
        unbounded.took.as_secs_f64(),
        bounded.took.as_secs_f64(),
    );

    assert!(unbounded.peak > 9 * few.0.peak, "ten times the tasks, ten times the memory");
    assert!(bounded.peak < few.1.peak * 11 / 10, "ten times the tasks, the same memory");
    assert!(bounded.peak * 100 < unbounded.peak);
    assert!(bounded.took < unbounded.took * 101 / 100, "and no slower");
    Ok(())
}

/// Returns the run without a bound and the run with it.
async fn measure_both(tasks: usize) -> Result<(Run, Run), Infallible> {
    let layer = ConcurrencyBackpressureLayer::new(BOUND);
    let bounded = ServiceBuilder::new().layer(layer).service(consumer());
    Ok((measure(consumer(), tasks).await?, measure(bounded, tasks).await?))
}

/// Works on one task at a time. All others wait inside the service, with their bodies.
fn consumer() -> impl Service<Body, Response = (), Error = Infallible> {
    static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);
    service_fn(|body: Body| async move {
        let _permit = ONE_AT_A_TIME.acquire().await.expect("the semaphore is never closed");
        sleep(CONSUMING).await;
        drop(body);
        Ok(())
    })
}

/// Makes tasks one after the other, as fast as the service accepts them.
fn producer(tasks: usize) -> impl Stream<Item = Body> {
    stream::iter(0..tasks).then(|_| async {
        sleep(PRODUCING).await;
        vec![0; BODY]
    })
}

struct Run {
    peak: usize,
    /// The memory held, read each time that another tenth of the tasks was done.
    held: Vec<usize>,
    took: Duration,
}

/// Sends all tasks through `service`. The two services differ only in when they are ready.
async fn measure<S>(service: S, tasks: usize) -> Result<Run, S::Error>
where
    S: Service<Body, Response = ()>,
{
    let start = now();
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let held_now = || ALLOCATOR.current_usage().saturating_sub(before);

    let mut held = Vec::with_capacity(READINGS);
    let mut done = 0;
    let mut answers = pin!(service.call_all(producer(tasks)).unordered());
    while let Some(answer) = answers.next().await {
        answer?;
        done += 1;
        if done % (tasks / READINGS) == 0 {
            held.push(held_now());
        }
    }
    assert_eq!(done, tasks);
    Ok(Run { peak: ALLOCATOR.peak_usage() - before, held, took: start.elapsed() })
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn kib(bytes: usize) -> String {
    format!("{:.0} KiB", bytes as f64 / 1024.0)
}

#[allow(clippy::disallowed_methods, reason = "the run is timed")]
fn now() -> Instant {
    Instant::now()
}
