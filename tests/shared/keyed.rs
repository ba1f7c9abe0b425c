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
    shared::{Away, SharedKeyedLimitLayer, SharedWindows, Store, StoreError},
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

fn windows(store: FakeStore) -> SharedWindows {
    SharedWindows::new(store, "api", 10, SECOND, Away::Closed)
}

fn layer(
    windows: SharedWindows,
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
        let windows = SharedWindows::new(server.store(0), "api", 10_000, SECOND, Away::Closed);
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

/// A store that takes its time for one key.
struct SlowFor {
    store: FakeStore,
    key: Mutex<Option<String>>,
}

impl Store for SlowFor {
    async fn acquire(&self, key: &str, request: &[i64]) -> Result<Vec<i64>, StoreError> {
        let first = self.key.lock().unwrap().get_or_insert_with(|| key.to_owned()).clone();
        if first == key {
            sleep(Duration::from_millis(90)).await;
        }
        self.store.acquire(key, request).await
    }
}

#[test]
fn d3_key_whose_reply_is_late_delays_no_lease_of_another_one() {
    run(async {
        let server = server();
        let store = SlowFor { store: server.store(0), key: Mutex::default() };
        let windows = SharedWindows::new(store, "api", 10, SECOND, Away::Closed);
        let service = layer(windows).layer(inner());
        let real_time = RealTime::of_runtime();
        let calls = (0..200).map(|key| {
            let (call, real_time) = (service.clone().oneshot(Some(key)), real_time.clone());
            async move {
                call.await.unwrap();
                real_time.elapsed() > Duration::from_millis(20)
            }
        });
        let late = join_all(calls).await.into_iter().filter(|is_late| *is_late).count();
        assert_eq!(late, 1);
    });
}
