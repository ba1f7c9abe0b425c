//! A fast producer and a slow consumer, with at most 3 (then 5) tasks between them.
//!
//! ```text
//! cargo run --example backpressure
//! ```
//!
//! The producer runs ahead until all permits are taken. From then on the service is ready only when
//! the consumer has finished a task, so the producer moves at the consumer's pace. The producer
//! neither counts nor sleeps for that: like every caller of a `Service`, it waits for readiness.
//!
//! The clock is tokio's, paused (with its feature `test-util`): the times are exact and pass at
//! once.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected};

const TASKS: usize = 12;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    produce_and_consume(3, Duration::from_millis(100), Duration::from_millis(500)).await?;
    produce_and_consume(5, Duration::from_millis(20), Duration::from_millis(200)).await?;
    reject_beyond_the_queue().await;
    Ok(())
}

struct Task {
    number: usize,
    made_at: Instant,
}

/// The time and the tasks in flight when the consumer was called with a task.
struct Sent {
    at: Instant,
    in_flight: u32,
}

async fn produce_and_consume(
    capacity: u32,
    produce: Duration,
    consume: Duration,
) -> Result<(), BoxError> {
    println!("capacity {capacity}: producing takes {produce:?}, consuming {consume:?}");
    let start = now();
    let print = move |event: String| println!("{:>7.2} s  {event}", start.elapsed().as_secs_f64());

    let layer = ConcurrencyBackpressureLayer::new(capacity);
    let handle = layer.handle();
    // Makes the consumer work on one task at a time, in order: the lock is fair.
    let hands = Arc::new(Mutex::new(()));
    let consumer = service_fn(|Task { number, made_at }| {
        let seen = Sent { at: now(), in_flight: handle.in_flight() };
        let in_flight = seen.in_flight;
        let held_up = match seen.at - made_at {
            Duration::ZERO => String::new(),
            wait => format!(", after the producer was held up for {wait:?}"),
        };
        print(format!("task {number:>2} sent, in flight: {in_flight}{held_up}"));
        let hands = Arc::clone(&hands);
        async move {
            let _hands = hands.lock().await;
            sleep(consume).await;
            print(format!("task {number:>2} done"));
            Ok::<_, Infallible>(seen)
        }
    });
    let service = ServiceBuilder::new().layer(layer).service(consumer);

    let producer = stream::iter(1..=TASKS).then(|number| async move {
        sleep(produce).await;
        Task { number, made_at: now() }
    });
    // Polls the producer for the next task when the service has accepted the one before.
    let seen: Vec<Sent> = service.call_all(producer).try_collect().await?;

    // Ready at once, because all responses have arrived. A shutdown waits here for the rest.
    handle.drained().await;
    println!("  drained: in flight {}, queued {}", handle.in_flight(), handle.queued());
    assert_eq!((handle.in_flight(), handle.queued()), (0, 0));

    let most = seen.iter().map(|seen| seen.in_flight).max();
    assert_eq!(most, Some(capacity), "the limit is reached, and never exceeded");
    let paces: Vec<_> = seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    let (ahead, rest) = paces.split_at(capacity as usize - 1);
    assert!(ahead.iter().all(|&pace| pace == produce), "{ahead:?}: the producer's pace at first");
    // The next task was sent when the first had ended: there the pace changes.
    assert!(rest[1..].iter().all(|&pace| pace == consume), "{rest:?}: then the consumer's");
    println!("  the first {capacity} were sent {produce:?} apart, the last ones {consume:?}\n");
    Ok(())
}

/// Bounds the queue, too: callers that cannot be made to wait, such as the clients of a server, are
/// better rejected at once.
async fn reject_beyond_the_queue() {
    println!("8 callers at once, 3 in flight, 2 may wait:");
    let layer = ConcurrencyBackpressureLayer::new(3).max_queue(2);
    let handle = layer.handle();
    let service = ServiceBuilder::new().layer(layer).service(service_fn(|caller| async move {
        sleep(Duration::from_millis(500)).await;
        Ok::<u32, Infallible>(caller)
    }));

    let callers = (1..=8).map(|caller| service.clone().oneshot(caller));
    let mut served = Vec::new();
    for result in join_all(callers).await {
        match result {
            Ok(caller) => {
                println!("  served caller {caller}");
                served.push(caller);
            }
            Err(error) => {
                let rejected = Rejected::find(&*error).expect("the service itself never fails");
                assert!(rejected.is_queue_full());
                println!("  rejected: {rejected}");
            }
        }
    }
    assert_eq!(served, [1, 2, 3, 4, 5], "in order of arrival");
    assert_eq!(handle.rejected().queue_full, 3);
}

#[allow(clippy::disallowed_methods, reason = "the demonstration shows times")]
fn now() -> Instant {
    Instant::now()
}
