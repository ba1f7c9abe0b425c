//! A limit that finds itself, for requests with terms that are read in the call.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer,
    backpressure::{Adaptive, ConcurrencyBackpressureHandle, Judge, Outcome, Terms},
};

const SECOND: Duration = Duration::from_secs(1);

/// Lets 60 callers call `server` again and again for a time, and drop a request that takes longer
/// than some time up to `patience`.
async fn run<S, J>(
    server: S,
    adaptive: Adaptive<J>,
    patience: Duration,
    time: Duration,
) -> ConcurrencyBackpressureHandle
where
    S: Service<Rng, Response = (), Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    J: Judge<(), Infallible> + Clone + Send + Sync + 'static,
{
    let layer = ConcurrencyBackpressureLayer::adaptive(adaptive);
    let handle = layer.handle();
    let layer = layer.by_request(|_: &Rng| Terms::new());
    let service = layer.reject_with(|rejected| unreachable!("{rejected}")).layer(server);
    let mut callers = JoinSet::new();
    for seed in 0..60 {
        let (service, mut rng) = (service.clone(), Rng::with_seed(seed));
        callers.spawn(async move {
            loop {
                let called = service.clone().oneshot(rng.fork());
                let _ = timeout(patience.mul_f64(0.5 + rng.f64() / 2.0), called).await;
            }
        });
    }
    sleep(time).await;
    handle
}

/// A server of ten requests at a time.
fn of_ten() -> impl Service<Rng, Response = (), Error = Infallible, Future: Send> + Clone + Send {
    let permits = Arc::new(Semaphore::new(10));
    service_fn(move |mut rng: Rng| {
        let permits = Arc::clone(&permits);
        async move {
            let _permit = permits.acquire().await.expect("the semaphore is never closed");
            sleep(SECOND.mul_f64(2.0 * rng.f64())).await;
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a1_by_request_finds_the_limit_of_its_server() {
    for start in [3, 30] {
        let adaptive = Adaptive::new().start_at(start);
        let handle = run(of_ten(), adaptive, SECOND * 3600, SECOND * 1000).await;
        let (limit, rounds) = (handle.limit(), handle.rounds());
        println!("from {start}: limit {limit} after {rounds} rounds");
        assert!((8..=14).contains(&limit), "from {start}: limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a4_by_request_measures_no_result_that_its_judge_ignores() {
    let judge = |_: &Result<(), Infallible>| Outcome::Ignored;
    let adaptive = Adaptive::new().start_at(3).judge(judge);
    let handle = run(of_ten(), adaptive, SECOND * 3600, SECOND * 1000).await;
    assert_eq!(handle.rounds(), 0);
}

#[tokio::test(start_paused = true)]
async fn a5_by_request_lowers_the_limit_when_callers_abandon_requests() {
    let silent = service_fn(|_: Rng| pending::<Result<(), Infallible>>());
    let handle = run(silent, Adaptive::new().start_at(20), SECOND, SECOND * 100).await;
    // It settles where the requests have a half of the longest time left when their turn comes.
    assert!(handle.limit() < 10, "{handle:?}");
}
