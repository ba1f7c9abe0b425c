//! A fast producer, a slow consumer, and at most 3 (then 5) tasks between them.
//!
//! ```text
//! cargo run --example backpressure
//! ```
//!
//! The producer runs ahead until the capacity is used up. From then on the service isn't ready until
//! the consumer is done with a task, so the producer moves at the consumer's pace. It does nothing for
//! that: no counting, no sleeping, only what every caller of a `Service` does.
//!
//! The clock is tokio's, paused (with its feature `test-util`): the times are exact, and nobody has to
//! wait for them.

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
    who_cannot_wait().await;
    Ok(())
}

struct Task {
    number: usize,
    made_at: Instant,
}

/// What the consumer saw when it was handed a task.
struct HandOver {
    at: Instant,
    in_flight: usize,
}

async fn produce_and_consume(
    capacity: usize,
    produce: Duration,
    consume: Duration,
) -> Result<(), BoxError> {
    println!("capacity {capacity}: producing takes {produce:?}, consuming {consume:?}");
    let start = now();
    let print = move |what: String| println!("{:>7.2} s  {what}", start.elapsed().as_secs_f64());

    let layer = ConcurrencyBackpressureLayer::new(capacity);
    let handle = layer.handle();
    // Has one pair of hands, however many tasks it is given: the lock is fair.
    let hands = Arc::new(Mutex::new(()));
    let consumer = service_fn(|Task { number, made_at }| {
        let seen = HandOver { at: now(), in_flight: handle.in_flight() };
        let in_flight = seen.in_flight;
        let held_up = match seen.at - made_at {
            Duration::ZERO => String::new(),
            wait => format!(", after the producer was held up for {wait:?}"),
        };
        print(format!("task {number:>2} handed over, in flight: {in_flight}{held_up}"));
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
    // Asks the producer for the next task when the service has taken the last one.
    let seen: Vec<HandOver> = service.call_all(producer).try_collect().await?;

    // All answers are here, so this is settled already; after a shutdown it is what to wait for.
    handle.drained().await;
    println!("  drained: in flight {}, waiting {}", handle.in_flight(), handle.waiting());
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));

    let most = seen.iter().map(|seen| seen.in_flight).max();
    assert_eq!(most, Some(capacity), "used up, and never exceeded");
    let paces: Vec<_> = seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    let (ahead, rest) = paces.split_at(capacity - 1);
    assert!(ahead.iter().all(|&pace| pace == produce), "{ahead:?}: the producer's pace at first");
    // The next one was handed over when the first was done, which is where the paces change.
    assert!(rest[1..].iter().all(|&pace| pace == consume), "{rest:?}: then the consumer's");
    println!("  the first {capacity} came {produce:?} apart, the last ones {consume:?}\n");
    Ok(())
}

/// A caller that can't be made to wait, such as a client of a server, is better told so at once. The
/// line gets a bound, too.
async fn who_cannot_wait() {
    println!("8 callers at once, 3 in flight, 2 may wait:");
    let layer = ConcurrencyBackpressureLayer::new(3).max_waiting(2);
    let handle = layer.handle();
    let service = ServiceBuilder::new().layer(layer).service(service_fn(|caller| async move {
        sleep(Duration::from_millis(500)).await;
        Ok::<u32, Infallible>(caller)
    }));

    let callers = (1..=8).map(|caller| service.clone().oneshot(caller));
    let mut served = Vec::new();
    for answer in join_all(callers).await {
        match answer {
            Ok(caller) => {
                println!("  served caller {caller}");
                served.push(caller);
            }
            Err(error) => {
                let rejected = Rejected::find(&*error).expect("the service itself never fails");
                assert!(rejected.is_queue_full());
                println!("  turned one away: {rejected}");
            }
        }
    }
    assert_eq!(served, [1, 2, 3, 4, 5], "first come, first served");
    assert_eq!(handle.rejected().queue_full, 3);
}

#[allow(clippy::disallowed_methods, reason = "the demonstration shows times")]
fn now() -> Instant {
    Instant::now()
}
