//! Storms of requests that wait for their keys, in several runtimes.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::join_all;
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::keyed::{KeyedLimitLayer, Rule};

use crate::support::{guarded, nanos, runtime, storm};

const KEYS: usize = 12;
const FLYING: usize = 2;
const QUOTA: usize = 30;
const WINDOW: Duration = Duration::from_millis(20);
const ALL: u32 = 5;
const TASKS: usize = 60;
const REQUESTS: usize = 150;

/// The requests of a key: in flight, and the times at which they were issued.
#[derive(Default)]
struct Key {
    in_flight: AtomicUsize,
    issues: Mutex<Vec<u64>>,
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Sixteen slots, of which the keys need twelve: some share an overflow at times.
#[test]
fn k1_k16_k17_requests_that_wait_are_served_or_gone() {
    storm("keyed_waiting", |seed, line| {
        let rules = (
            Rule::new("key", |key: &usize| Some(*key))
                .at_most(QUOTA as u32, WINDOW)
                .max_in_flight(FLYING as u32)
                .max_keys(1),
            Rule::global("all").max_in_flight(ALL),
        );
        let layer = KeyedLimitLayer::new(rules)
            .wait(Duration::from_secs(3600))
            .max_queue_per_key(10_000)
            .max_queue(100_000);
        let (key, all) = (layer.handle("key"), layer.handle("all"));
        let keys: Arc<Vec<Key>> = Arc::new((0..KEYS).map(|_| Key::default()).collect());
        let served = Arc::new(AtomicUsize::new(0));
        let (steps, of_keys) = (Arc::clone(&served), Arc::clone(&keys));
        let work = move || {
            let keys = of_keys;
            let service = layer.layer(service_fn(move |key: usize| {
                let keys = Arc::clone(&keys);
                // Before the permit is committed, and so before it expires.
                keys[key].issues.lock().unwrap().push(nanos());
                async move {
                    let inside = keys[key].in_flight.fetch_add(1, SeqCst) + 1;
                    let _leaves = Leaves(&keys[key].in_flight);
                    assert!(inside <= FLYING, "{inside} in flight");
                    for _ in 0..key % 4 {
                        yield_now().await;
                    }
                    Ok::<_, Infallible>(key)
                }
            }));
            let runtimes = [runtime(2), runtime(0), runtime(1)];
            let mut dropped = 0;
            std::thread::scope(|scope| {
                let work = runtimes.iter().enumerate().map(|(index, runtime)| {
                    let (service, served) = (service.clone(), Arc::clone(&served));
                    scope.spawn(move || {
                        let tasks = (0..TASKS).map(|task| {
                            let (service, served) = (service.clone(), Arc::clone(&served));
                            let mut random = Rng::with_seed(seed + (index * TASKS + task) as u64);
                            runtime.spawn(async move {
                                let mut dropped = 0;
                                for _ in 0..REQUESTS {
                                    let call = service.clone().oneshot(random.usize(..KEYS));
                                    if random.u8(..10) == 0 {
                                        let after = Duration::from_micros(random.u64(..2_000));
                                        dropped += usize::from(timeout(after, call).await.is_err());
                                    } else {
                                        call.await.unwrap();
                                    }
                                    served.fetch_add(1, SeqCst);
                                }
                                dropped
                            })
                        });
                        let tasks = join_all(tasks.collect::<Vec<_>>());
                        let dropped = runtime.block_on(tasks).into_iter().map(Result::unwrap);
                        dropped.sum::<usize>()
                    })
                });
                let work: Vec<_> = work.collect();
                dropped = work.into_iter().map(|thread| thread.join().unwrap()).sum();
            });
            dropped
        };
        let state = (key.clone(), all.clone());
        let dropped = guarded(state, move || steps.load(SeqCst), work);
        assert_eq!((key.queued(), all.queued()), (0, 0));
        assert_eq!(all.live_keys(), 0);
        runtime(0).block_on(async { sleep(2 * WINDOW).await });
        assert_eq!(key.live_keys(), 0);
        let mut issued = 0;
        for key in keys.iter() {
            assert_eq!(key.in_flight.load(SeqCst), 0);
            let issues = key.issues.lock().unwrap();
            issued += issues.len();
            // A thread may be slow between the recorded time and the commit, and a permit expires a
            // window after that: no span is too full.
            let most = issues.iter().map(|from| {
                issues
                    .iter()
                    .filter(|at| *at >= from && u128::from(**at - *from) < WINDOW.as_nanos())
                    .count()
            });
            assert!(most.max().unwrap_or(0) <= QUOTA);
        }
        line.count("issued", issued);
        line.count("dropped", dropped);
    });
}
