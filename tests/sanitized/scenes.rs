//! Small scenes for miri, each through many states of a limiter: under paused time, on one thread.

use std::{convert::Infallible, future::ready, time::Duration};

use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn c4_concurrency_limit_is_idle_after_waits_that_end_in_every_way() {
    let layer = ConcurrencyBackpressureLayer::new(2).max_queue(5).max_wait(ms(50));
    let handle = layer.handle();
    let service = layer.layer(service_fn(|n: u64| async move {
        sleep(ms(n)).await;
        Ok::<_, Infallible>(n)
    }));
    let tasks: Vec<_> = (0..9).map(|n| tokio::spawn(service.clone().oneshot(10 + 7 * n))).collect();
    tokio::task::yield_now().await; // they are in flight, in the queue, and rejected
    let mut abandoned = service.clone();
    assert!(timeout(ms(5), abandoned.ready()).await.is_ok(), "rejected at once: the queue is full");
    drop(service);
    let mut served = 0;
    for task in tasks {
        served += usize::from(task.await.unwrap().is_ok());
    }
    sleep(ms(500)).await;
    handle.set_limit(1).unwrap();
    assert_eq!(abandoned.ready().await.unwrap().call(1).await.unwrap(), 1);
    handle.drained().await;
    handle.close().unwrap();
    abandoned.ready().await.unwrap().call(1).await.unwrap_err();
    assert!((2..9).contains(&served), "{served}");
    assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn c4_window_is_whole_after_waits_that_end_in_every_way() {
    let layer = WindowRateLimitLayer::new(2, ms(20));
    let handle = layer.handle();
    let service = layer.layer(service_fn(|n: u32| ready(Ok::<_, Infallible>(n))));
    let tasks: Vec<_> = (0..5).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    tokio::task::yield_now().await;
    let mut cancelled = service.clone();
    timeout(ms(5), cancelled.ready()).await.unwrap_err();
    drop(cancelled);
    handle.pause_for(ms(30));
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for limit in [300, 1, 600, 2] {
        handle.set_limit(limit).unwrap();
        service.clone().oneshot(limit).await.unwrap();
        sleep(ms(3)).await;
    }
    sleep(ms(50)).await;
    assert_eq!((handle.remaining(), handle.queued()), (2, 0));
}
