//! Tasks that compute for long without yielding, beside others that wait for a window.
//!
//! The order is judged: a computing task goes on until the others are served. It stops after a time
//! that is exceeded only by waiters that depend on it.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    hint,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
    thread,
    time::Duration,
};

use tokio::time::timeout;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_floodgate::WindowRateLimitLayer;

use crate::support::{guarded, nanos, runtime};

/// The longest time of a computation.
const PATIENCE: Duration = Duration::from_secs(20);
/// The worker that runs a woken task is random.
const ROUNDS: usize = 10;

type Limited = BoxCloneService<(), (), Infallible>;

fn window(limit: u32) -> Limited {
    let layer = WindowRateLimitLayer::new(limit, Duration::from_millis(20));
    BoxCloneService::new(layer.layer(service_fn(|()| ready(Ok(())))))
}

async fn issue(service: &mut Limited) {
    let Ok(()) = service.ready().await.unwrap().call(()).await;
}

/// Computes until `served` is set. Returns false after [`PATIENCE`].
fn compute(served: &AtomicBool) -> bool {
    let began = nanos();
    while !served.load(SeqCst) {
        if u128::from(nanos() - began) > PATIENCE.as_nanos() {
            return false;
        }
        hint::spin_loop();
    }
    true
}

/// Runs `scene` in runtimes with 2 and 4 workers, on a window without a free permit, with two
/// flags.
///
/// The scene sets the first flag to let another task make a request, and computes until the second
/// is set, when that request has been issued. The other task is spawned from outside of the
/// runtime, because a computing task delays the tasks that it wakes itself.
fn beside<S, T>(limit: u32, scene: S)
where
    S: Fn(Limited, Arc<AtomicBool>, Arc<AtomicBool>) -> T + Copy + Send + 'static,
    T: Future<Output = bool> + Send + 'static,
{
    for workers in [2, 4] {
        for round in 0..ROUNDS {
            let in_time = guarded(
                "busy",
                || 0,
                move || {
                    let runtime = runtime(workers);
                    let mut service = window(limit);
                    for _ in 0..limit {
                        runtime.block_on(issue(&mut service));
                    }
                    let [go, served] = [(); 2].map(|()| Arc::<AtomicBool>::default());
                    let computing =
                        runtime.spawn(scene(service.clone(), Arc::clone(&go), Arc::clone(&served)));
                    while !go.load(SeqCst) {
                        thread::yield_now();
                    }
                    let other = runtime.spawn(async move {
                        issue(&mut service).await;
                        served.store(true, SeqCst);
                    });
                    let in_time = runtime.block_on(computing).unwrap();
                    runtime.block_on(other).unwrap();
                    in_time
                },
            );
            assert!(in_time, "{workers} workers, round {round}: served after the computing task");
        }
    }
}

#[test]
fn c13_computing_task_that_waited_once_delays_no_waiter() {
    beside(4, |mut service, go, served| async move {
        poll_fn(|cx| Poll::Ready(service.poll_ready(cx).is_pending())).await;
        drop(service);
        go.store(true, SeqCst);
        compute(&served)
    });
}

#[test]
fn c13_computing_task_that_waited_for_a_while_delays_no_waiter() {
    beside(1, |service, go, served| async move {
        // A second waiter behind, so that this one is not granted the permit first.
        let mut waiters = [service.clone(), service];
        for service in &mut waiters {
            let _ = timeout(Duration::from_millis(3), service.ready()).await;
        }
        drop(waiters);
        go.store(true, SeqCst);
        compute(&served)
    });
}

#[test]
fn c13_task_that_waits_and_computes_in_one_poll_delays_no_waiter() {
    beside(10, |mut service, go, served| async move {
        let computing = async {
            go.store(true, SeqCst);
            compute(&served)
        };
        tokio::join!(service.ready(), computing).1
    });
}

#[test]
fn c13_computing_task_that_was_granted_a_permit_delays_no_waiter() {
    beside(1, |mut service, go, served| async move {
        poll_fn(|cx| Poll::Ready(service.poll_ready(cx).is_pending())).await;
        go.store(true, SeqCst);
        issue(&mut service).await;
        compute(&served)
    });
}
