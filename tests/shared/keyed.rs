//! A quota for each key.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    Rejected,
    keyed::{KeyedLimitLayer, WithoutKey},
    shared::{Away, SharedKeyedLimitLayer, SharedKeyedWindow, Store, StoreError},
};

use crate::{
    paused_runtime::run,
    shared_store::{
        fake::{FakeStore, Fault, Network, RealTime, Server},
        oracle::most_in_any_span,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// A request: its key, if it has one.
type Key = Option<u32>;

fn server() -> Server {
    Server::new(1, RealTime::of_runtime())
}

fn windows(store: impl Store) -> SharedKeyedWindow {
    SharedKeyedWindow::new(store, "api", 10, SECOND, Away::Closed)
}

fn layer(
    windows: SharedKeyedWindow,
) -> SharedKeyedLimitLayer<impl tower_floodgate::keyed::Key<Key> + Clone> {
    KeyedLimitLayer::shared(windows, |key: &Key| *key)
}

/// Responds at once.
fn inner() -> impl Service<Key, Response = (), Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|_: Key| async { Ok(()) })
}

fn reason(result: Result<(), BoxError>) -> Rejected {
    Rejected::find(&*result.unwrap_err()).unwrap().clone()
}

/// Three processes call for keys of three kinds, all they can.
#[test]
fn d1_d3_quota_of_a_key_holds_over_processes_and_is_used() {
    run(async {
        let real_time = RealTime::of_runtime();
        let server = Server::new(1, real_time.clone());
        let issues: Arc<[Mutex<Vec<u64>>; 4]> = Arc::default();
        let mut calls = Vec::new();
        for process in 0..3 {
            let (issues, real_time) = (Arc::clone(&issues), real_time.clone());
            let inner = service_fn(move |key: Key| {
                let at = u64::try_from(real_time.elapsed().as_nanos()).unwrap();
                issues[key.unwrap() as usize].lock().unwrap().push(at);
                async { Ok::<_, Infallible>(()) }
            });
            let service = layer(windows(server.store(process))).layer(inner);
            for key in 0..4 {
                for _ in 0..5 {
                    let service = service.clone();
                    calls.push(tokio::spawn(async move {
                        loop {
                            service.clone().oneshot(Some(key)).await.unwrap();
                            tokio::task::yield_now().await;
                        }
                    }));
                }
            }
        }
        sleep(SECOND * 10).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        for of_key in &*issues {
            let of_key = of_key.lock().unwrap();
            assert_eq!(most_in_any_span(&of_key, SECOND), 10);
            assert!(of_key.len() >= 98, "{} issued", of_key.len());
        }
        assert_eq!(server.most_in_flight(), 1);
    });
}

#[test]
fn d1_request_without_a_key_is_limited_exempt_or_rejected() {
    run(async {
        let server = server();
        let shared = layer(windows(server.store(0))).max_wait(Duration::ZERO);
        let service = shared.layer(inner());
        for _ in 0..10 {
            service.clone().oneshot(None).await.unwrap();
        }
        assert!(reason(service.clone().oneshot(None).await).is_rate_limited());
        service.oneshot(Some(1)).await.unwrap();

        let requests = server.requests();
        let exempt = shared.clone().without_key(WithoutKey::Exempt).layer(inner());
        for _ in 0..100 {
            exempt.clone().oneshot(None).await.unwrap();
        }
        let rejecting = shared.without_key(WithoutKey::Reject).layer(inner());
        assert!(reason(rejecting.oneshot(None).await).is_without_key());
        assert_eq!(server.requests(), requests);
    });
}

/// Of more keys than are kept, the idle ones go. Those with leases stay, and new ones are limited.
#[test]
fn d1_d13_keys_beyond_those_kept_are_limited_and_the_idle_ones_go() {
    run(async {
        let server = server();
        let layer = layer(windows(server.store(0)).keep(64)).max_wait(Duration::ZERO);
        let (service, handle) = (layer.layer(inner()), layer.handle());
        let call = |key| service.clone().oneshot(Some(key));
        for key in 0..1000 {
            call(key).await.unwrap();
        }
        assert!(handle.kept() <= 64, "{} kept", handle.kept());
        // Each request of a key that is not kept asks the store, which counts them.
        let unkept = (0..1000).find(|key| handle.of(key).is_none()).unwrap();
        for _ in 1..10 {
            call(unkept).await.unwrap();
        }
        assert!(reason(call(unkept).await).is_rate_limited());

        sleep(SECOND * 3).await; // all leases have lapsed, and count no more
        let before: Vec<_> = (0..1000).filter(|key| handle.of(key).is_some()).collect();
        for key in 1000..2000 {
            call(key).await.unwrap();
        }
        let kept = before.iter().filter(|key| handle.of(*key).is_some()).count();
        assert!(kept < before.len(), "{kept} of {} stay", before.len());
        assert!(handle.kept() <= 64, "{} kept", handle.kept());
    });
}

/// The pause of a key that nothing uses is kept, however many keys come.
#[test]
fn d1_d13_paused_key_stays() {
    run(async {
        let server = server();
        let layer = layer(windows(server.store(0)).keep(64));
        let (service, handle) = (layer.layer(inner()), layer.handle());
        let call = |key| service.clone().oneshot(Some(key));
        call(0).await.unwrap();
        handle.of(&0).unwrap().pause_for(SECOND * 60);
        sleep(SECOND * 3).await;
        for key in 1..1000 {
            call(key).await.unwrap();
        }
        let wait = handle.of(&0).expect("it is kept").estimated_wait();
        assert!(wait > SECOND * 50, "{wait:?}");
        sleep(SECOND * 60).await;
        for key in 1000..2000 {
            call(key).await.unwrap();
        }
        assert!(handle.of(&0).is_none(), "the pause is over");
    });
}

/// 500 keys, and a store that is away: few requests are sent, one at a time of each driver.
#[test]
fn d11_keys_of_one_driver_probe_the_store_together() {
    run(async {
        let server = server();
        let layer = layer(windows(server.store(0))).max_wait(SECOND * 3);
        let service = layer.layer(inner());
        join_all((0..500).map(|key| service.clone().oneshot(Some(key)))).await;
        server.set_fault(Some(Fault::Error("io")));
        let before = server.requests();
        let calls: Vec<_> = (0..500)
            .flat_map(|key| (0..20).map(move |_| key))
            .map(|key| tokio::spawn(service.clone().oneshot(Some(key))))
            .collect();
        sleep(SECOND * 2).await;
        let probes = server.requests() - before;
        // A request of each key at first, and then some probes of each of 16 drivers.
        assert!(probes < 500 + 16 * 30, "{probes} requests");
        let after = server.requests();
        server.set_fault(None);
        let results = join_all(calls).await;
        assert!(server.requests() > after, "recovery needs no caller");
        let admitted = results.iter().filter(|result| result.as_ref().unwrap().is_ok()).count();
        assert!(admitted >= 500 * 9, "{admitted} of 10,000 admitted");
        for result in results {
            if let Err(error) = result.unwrap() {
                let rejected = Rejected::find(&*error).unwrap();
                assert!(rejected.is_unavailable() || rejected.is_wait_timeout(), "{rejected}");
            }
        }
    });
}

/// The state in the store has no part of a key, and is the same for all processes.
#[test]
fn d13_key_in_the_store_is_a_hash_that_all_processes_share() {
    run(async {
        let server = server();
        server.set_network(Network::GOOD);
        let key = |secret: &&'static str| Some(*secret);
        for process in 0..2 {
            let windows = windows(server.store(process));
            let service = KeyedLimitLayer::shared(windows, key)
                .layer(service_fn(|_: &'static str| async { Ok::<_, Infallible>(()) }));
            service.oneshot("sk_live_4eC39HqLyjWDarjtT1zdp7dc").await.unwrap();
        }
        let keys: Vec<_> = server.copy().into_keys().collect();
        let [key] = &*keys else { panic!("{keys:?}") };
        let hash = key.strip_prefix("api:").unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    });
}

/// A call that finds a permit of its key ends with its first poll, without an allocation, as a call
/// of a single quota does.
#[test]
fn d5_call_with_a_leased_permit_of_a_kept_key_allocates_nothing() {
    run(async {
        let server = server();
        let windows = SharedKeyedWindow::new(server.store(0), "api", 10_000, SECOND, Away::Closed);
        let layer = layer(windows);
        let inner = service_fn(|_: Key| std::future::ready(Ok::<_, Infallible>(())));
        let mut service = layer.clone().layer(inner);
        for call in 0..3000 {
            let _ = service.call(Some(call % 2)).await;
            sleep(Duration::from_millis(1)).await;
        }
        let of = |key: u32| layer.handle().of(&key).unwrap().snapshot().pooled;
        let (pooled, requests) = (of(0).min(of(1)), server.requests());
        assert!(pooled > 2, "{pooled} at hand");
        let allocated = allocation_counter::measure(|| {
            for call in 0..2 * (pooled - 1) {
                let response = service.call(Some(call % 2)).now_or_never();
                assert!(response.is_some_and(|response| response.is_ok()));
            }
        });
        assert_eq!((allocated.count_total, server.requests()), (0, requests));
    });
}

/// A store that fails for some of the keys, which are numbered in the order of their first request.
#[derive(Clone)]
struct FailsFor {
    store: FakeStore,
    names: Arc<Mutex<Vec<String>>>,
    fault: fn(usize) -> Option<Fault>,
    /// The numbers of the keys that asked.
    asked: Arc<Mutex<Vec<usize>>>,
}

impl FailsFor {
    fn new(store: FakeStore, fault: fn(usize) -> Option<Fault>) -> Self {
        Self { store, names: Arc::default(), fault, asked: Arc::default() }
    }
}

impl Store for FailsFor {
    async fn acquire(&self, key: &str, request: &[i64]) -> Result<Vec<i64>, StoreError> {
        let number = {
            let mut names = self.names.lock().unwrap();
            names.iter().position(|name| name == key).unwrap_or_else(|| {
                names.push(key.to_owned());
                names.len() - 1
            })
        };
        self.asked.lock().unwrap().push(number);
        match (self.fault)(number) {
            Some(Fault::Error(code)) => Err(StoreError::new(code)),
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::Stopped) => {
                sleep(Duration::from_millis(90)).await;
                self.store.acquire(key, request).await
            }
            None => self.store.acquire(key, request).await,
        }
    }
}

/// Calls for 200 keys at once, and returns the times of those that are issued.
async fn times_of(
    service: impl Service<Key, Error = BoxError, Future: Send> + Clone,
) -> Vec<Duration> {
    let real_time = RealTime::of_runtime();
    let calls = (0..200).map(|key| {
        let (call, real_time) = (service.clone().oneshot(Some(key)), real_time.clone());
        async move { call.await.ok().map(|_| real_time.elapsed()) }
    });
    join_all(calls).await.into_iter().flatten().collect()
}

const SOON: Duration = Duration::from_millis(20);

#[test]
fn d3_key_whose_reply_is_late_delays_no_lease_of_another_one() {
    run(async {
        let server = server();
        let late = |number| (number == 0).then_some(Fault::Stopped);
        let service = layer(windows(FailsFor::new(server.store(0), late))).layer(inner());
        let late = times_of(service).await.into_iter().filter(|time| *time > SOON).count();
        assert_eq!(late, 1);
    });
}

/// The second request of each key leaves while that of one key is still in flight.
#[test]
fn d3_key_without_a_reply_delays_no_request_of_another_one() {
    run(async {
        let server = server();
        let lost = |number| (number == 0).then_some(Fault::Silent);
        let service = layer(windows(FailsFor::new(server.store(0), lost))).layer(inner());
        let silent = tokio::spawn(service.clone().oneshot(Some(1000)));
        sleep(Duration::from_millis(10)).await;
        let times = times_of(service).await;
        assert_eq!((times.len(), times.iter().filter(|time| **time > SOON).count()), (200, 0));
        assert!(!silent.is_finished());
    });
}

/// One key fails alone, as often as it likes. All others have a service.
#[test]
fn d11_key_that_fails_alone_takes_the_store_from_no_other_one() {
    run(async {
        let server = server();
        let broken = |number| (number == 0).then_some(Fault::Error("oom"));
        let layer = layer(windows(FailsFor::new(server.store(0), broken)));
        let service = layer.max_wait(Duration::from_millis(50)).layer(inner());
        for _ in 0..20 {
            service.clone().oneshot(Some(1000)).await.unwrap_err();
            sleep(Duration::from_millis(10)).await;
        }
        let times = times_of(service).await;
        assert_eq!((times.len(), times.iter().filter(|time| **time > SOON).count()), (200, 0));
    });
}

/// Of a cluster, a node is gone, and with it the keys with odd numbers. Each driver takes the store
/// to be gone from time to time, and soon finds that it is not.
#[test]
fn d11_keys_of_a_node_that_is_gone_take_the_store_from_the_others_for_moments_only() {
    run(async {
        let server = server();
        let odd = |number: usize| (number % 2 == 1).then_some(Fault::Error("io"));
        let store = FailsFor::new(server.store(0), odd);
        let layer = layer(windows(store.clone())).max_wait(Duration::ZERO);
        let service = layer.layer(inner());
        let (mut issued, mut failed) = (0, 0);
        for _ in 0..20 {
            let calls = (0..200).map(|key| service.clone().oneshot(Some(key)));
            for result in join_all(calls).await {
                *if result.is_ok() { &mut issued } else { &mut failed } += 1;
            }
            sleep(Duration::from_millis(250)).await;
        }
        // 100 healthy keys in 20 rounds, of which each has a lease for up to two.
        assert!(issued >= 1800, "{issued} issued, {failed} not");
        // Each that fails probes about twice a second, and is asked for some times at first.
        let asked = store.asked.lock().unwrap();
        let odd = asked.iter().filter(|number| **number % 2 == 1).count();
        assert!(odd < 100 * 15, "{odd} requests");
    });
}

/// A store that is away for good.
struct Gone;

impl Store for Gone {
    async fn acquire(&self, _: &str, _: &[i64]) -> Result<Vec<i64>, StoreError> {
        Err(StoreError::new("io"))
    }
}

/// While the store is away, requests of keys that are not kept leave nothing behind.
#[test]
fn d11_d13_requests_of_unkept_keys_take_no_memory_in_an_outage() {
    for away in [Away::Open, Away::Share { processes: 1 }, Away::Closed] {
        let peak = |keys| {
            let scene = async {
                let windows = SharedKeyedWindow::new(Gone, "api", 10, SECOND, away).keep(1);
                let layer = layer(windows).max_wait(Duration::ZERO);
                let service = layer.layer(inner());
                for key in 0..keys {
                    let result = service.clone().oneshot(Some(key)).await;
                    assert!(away != Away::Open || result.is_ok(), "{result:?}");
                }
            };
            allocation_counter::measure(|| run(scene)).bytes_max
        };
        let (few, many) = (peak(500), peak(3000));
        assert!(many < few * 3 / 2, "{away:?}: {few} and {many} bytes");
    }
}

/// The keys that are not kept have no limit of this process: none can remember them.
#[test]
fn d11_unkept_key_has_no_share_while_the_store_is_away() {
    run(async {
        let server = server();
        let share = Away::Share { processes: 1 };
        let windows = SharedKeyedWindow::new(server.store(0), "api", 10, SECOND, share).keep(1);
        let layer = layer(windows).max_wait(Duration::from_millis(100));
        let (service, handle) = (layer.layer(inner()), layer.handle());
        // All parts of the map are taken by keys with leases.
        join_all((0..1000).map(|key| service.clone().oneshot(Some(key)))).await;
        server.set_fault(Some(Fault::Error("io")));
        let unkept = (0..1000).find(|key| handle.of(key).is_none()).unwrap();
        let mut issued = 0;
        for _ in 0..100 {
            let result = service.clone().oneshot(Some(unkept)).await;
            // Once the leases of others have lapsed, the key is kept, and has its share.
            let is_kept = handle.of(&unkept).is_some();
            match result {
                Ok(()) => issued += 1,
                Err(error) => assert!(reason(Err(error)).is_unavailable() || is_kept),
            }
            assert!(issued == 0 || is_kept);
        }
        assert!(issued <= 10, "{issued} issued");
    });
}

/// The store is back: keys that never failed themselves ask without a probe, the others probe at
/// random times.
#[test]
fn d11_keys_come_back_from_an_outage_without_a_burst_of_probes() {
    run(async {
        let server = server();
        let layer = layer(windows(server.store(0))).max_wait(SECOND * 10);
        let (service, handle) = (layer.layer(inner()), layer.handle());
        server.set_fault(Some(Fault::Error("io")));
        let calls: Vec<_> =
            (0..500).map(|key| tokio::spawn(service.clone().oneshot(Some(key)))).collect();
        sleep(SECOND * 2).await;
        let keys = handle.snapshot().away_keys;
        assert_eq!(keys, 500);
        server.set_fault(None);
        let back = server.requests();
        let results = join_all(calls).await;
        assert!(results.into_iter().all(|result| result.unwrap().is_ok()));
        // Each asks once, for its request; a prober of a driver may ask twice.
        let asked = server.requests() - back;
        assert!(asked <= 500 + 16, "{asked} requests");
        let mut sent: Vec<_> = server.sent()[back..].iter().map(|sent| sent.at).collect();
        sent.sort();
        let most = (0..sent.len())
            .map(|n| {
                sent[n..].iter().take_while(|at| **at < sent[n] + Duration::from_millis(5)).count()
            })
            .max();
        assert!(most.unwrap() < 250, "{most:?} in 5 ms");
    });
}
