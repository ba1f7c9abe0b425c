//! Shared limits of keys that are observed: all counts are those of the callers and of the store,
//! whichever keys are kept, and whichever went.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use fastrand::Rng;
use tokio::{task::JoinSet, time::sleep};
use tower::{BoxError, Layer, ServiceExt};
use tower_floodgate::{
    Rejected,
    keyed::{KeyedLimitLayer, WithoutKey},
    observe::{Limits, Snapshot},
    shared::{Away, SharedKeyedLimitLayer, SharedKeysSnapshot, SharedWindows},
};

use super::numbers;
use crate::{
    paused_runtime,
    paused_time::pass,
    small_store::SmallStore,
    support::{Probe, ms, secs},
};

/// A request of this number has no key. Any other one is its key.
const NO_KEY: u32 = u32::MAX;

type Layered = SharedKeyedLimitLayer<fn(&u32) -> Option<u32>>;

/// The limits of keys, and the service behind them.
struct Site {
    store: SmallStore,
    layer: Layered,
    probe: Probe,
}

/// The outcomes of calls, as their callers counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcomes {
    served: u64,
    unavailable: u64,
    queue_full: u64,
    wait_timeout: u64,
    no_key: u64,
}

impl Site {
    /// Keeps about as many keys as `keep`.
    fn new(limit: u32, away: Away, keep: usize) -> Self {
        let store = SmallStore::new();
        let windows = SharedWindows::new(store.clone(), "tenants", limit, secs(1), away).keep(keep);
        let layer = KeyedLimitLayer::shared(windows, key_of as fn(&u32) -> Option<u32>);
        Self { store, layer, probe: Probe::new() }
    }

    fn map(self, change: impl FnOnce(Layered) -> Layered) -> Self {
        Self { layer: change(self.layer), ..self }
    }

    fn snapshot(&self) -> SharedKeysSnapshot {
        self.layer.handle().snapshot()
    }

    fn calls(&self) -> u64 {
        self.probe.notes().calls().len() as u64
    }

    /// Sends a request of each key at once, and waits for all of them.
    async fn send(&self, keys: impl IntoIterator<Item = u32>) -> Outcomes {
        let service = self.layer.layer(self.probe.clone());
        let calls: JoinSet<_> = keys.into_iter().map(|key| service.clone().oneshot(key)).collect();
        let mut outcomes = Outcomes::default();
        calls.join_all().await.iter().for_each(|result| *outcomes.of(result) += 1);
        outcomes
    }

    /// Compares the counts of limits at rest with those of the callers and of the store.
    fn check(&self, outcomes: Outcomes) {
        let snapshot = self.snapshot();
        let fleet = snapshot.fleet;
        let Outcomes { served, unavailable, queue_full, wait_timeout, no_key } = outcomes;
        assert_eq!(served, self.calls());
        assert_eq!(fleet.unavailable, unavailable);
        let rejected = snapshot.rejected;
        assert_eq!(rejected, self.layer.handle().rejected());
        assert_eq!((rejected.queue_full, rejected.wait_timeout), (queue_full, wait_timeout));
        assert_eq!((rejected.closed, snapshot.no_key), (0, no_key));
        assert_eq!(fleet.used + fleet.issued_alone + fleet.issued_unlimited, served);
        let state = self.store.state();
        assert_eq!(fleet.store_requests, state.requests);
        assert_eq!(fleet.leased, state.leased);
        // The store may have forgotten a lease right before the process does.
        assert!(fleet.refunded >= state.refunded, "{snapshot:#?}");
        // Each permit was used, or has lapsed.
        assert_eq!(fleet.leased, fleet.used + fleet.lapsed, "{snapshot:#?}");
        assert_eq!((snapshot.queued, snapshot.pooled, snapshot.held), (0, 0, 0));
        assert_eq!((snapshot.queue_age, snapshot.away_keys), (None, 0));
        assert_eq!(snapshot.kept, self.layer.handle().kept() as u64);
        if let Some(counts) = snapshot.counts {
            assert_eq!(counts.admitted - counts.unused, served);
        }
    }
}

fn key_of(request: &u32) -> Option<u32> {
    (*request != NO_KEY).then_some(*request)
}

impl Outcomes {
    fn of(&mut self, result: &Result<u32, BoxError>) -> &mut u64 {
        let Err(error) = result else { return &mut self.served };
        match Rejected::find(&**error).expect("a rejection") {
            rejected if rejected.is_unavailable() => &mut self.unavailable,
            rejected if rejected.is_queue_full() => &mut self.queue_full,
            rejected if rejected.is_wait_timeout() => &mut self.wait_timeout,
            rejected if rejected.is_without_key() => &mut self.no_key,
            other => panic!("{other}"),
        }
    }

    fn add(&mut self, of: Self) {
        self.served += of.served;
        self.unavailable += of.unavailable;
        self.queue_full += of.queue_full;
        self.wait_timeout += of.wait_timeout;
        self.no_key += of.no_key;
    }
}

#[tokio::test(start_paused = true)]
async fn d2_o1_counts_of_keys_that_went_or_were_never_kept_stay() {
    let site = Site::new(2, Away::Closed, 64).map(|layer| layer.name("tenants").max_wait(ms(1)));
    let mut outcomes = Outcomes::default();
    for round in 0..4 {
        // Three requests of each of 300 keys, of which most find no room.
        outcomes.add(site.send((0..900).map(|n| round * 300 + n % 300)).await);
        let snapshot = site.snapshot();
        assert!(snapshot.kept <= 64 && snapshot.held > 0, "{snapshot:#?}");
        sleep(secs(3)).await; // all leases have lapsed
        site.check(outcomes);
        let fleet = site.snapshot().fleet;
        assert_eq!(fleet.refunded, site.store.state().refunded);
        assert_eq!(fleet.leased, fleet.used + fleet.lapsed);
    }
    assert_eq!((outcomes.served, outcomes.wait_timeout), (4 * 600, 4 * 300));
    let [admitted, unused, _, cancelled, ..] = numbers(site.snapshot().counts.unwrap());
    assert_eq!((admitted, unused, cancelled), (outcomes.served, 0, 0));
    // Those of the first round went for those of later ones.
    assert!((0..300).all(|key| site.layer.handle().of(&key).is_none()));
}

#[tokio::test(start_paused = true)]
async fn d11_o1_requests_of_keys_without_a_store_are_counted_by_their_fate() {
    for away in [Away::Closed, Away::Open, Away::Share { processes: 2 }] {
        let site = Site::new(2, away, 64).map(|layer| layer.max_wait(ms(50)));
        site.store.state().error = Some(("io", "connection refused"));
        let outcomes = site.send((0..300).map(|n| n % 150)).await;
        let snapshot = site.snapshot();
        assert!(snapshot.away_keys > 0 && snapshot.away_for.is_some(), "{away:?}");
        assert_eq!(snapshot.counts, None, "it has no name");
        site.store.state().error = None;
        sleep(secs(5)).await;
        site.check(outcomes);
        let fleet = site.snapshot().fleet;
        let without = [fleet.issued_alone > 0, fleet.issued_unlimited > 0];
        assert_eq!(without, [away == Away::Share { processes: 2 }, away == Away::Open]);
    }
}

#[tokio::test(start_paused = true)]
async fn d1_o1_missing_keys_are_counted_if_they_are_rejected_and_exempt_requests_are_not() {
    let site = Site::new(2, Away::Closed, 64).map(|layer| layer.name("tenants"));
    let rejecting = site.map(|layer| layer.without_key(WithoutKey::Reject));
    let mut outcomes = rejecting.send([NO_KEY, 1, NO_KEY, NO_KEY]).await;
    assert_eq!((outcomes.served, outcomes.no_key), (1, 3));
    assert_eq!(rejecting.snapshot().no_key, 3);
    let exempt = rejecting.map(|layer| layer.without_key(WithoutKey::Exempt));
    assert_eq!(exempt.send([NO_KEY; 5]).await.served, 5);
    let calls = exempt.layer.layer(exempt.probe.clone());
    drop(calls.oneshot(NO_KEY));
    sleep(secs(3)).await;
    let snapshot = exempt.snapshot();
    assert_eq!(exempt.calls(), 1 + 5);
    assert_eq!((snapshot.no_key, snapshot.fleet.used), (3, 1));
    assert_eq!(numbers(snapshot.counts.unwrap())[..2], [1, 0]);
    // With a quota of their own, they are counted as those of a key.
    let sharing = exempt.map(|layer| layer.without_key(WithoutKey::Share));
    outcomes = sharing.send([NO_KEY; 2]).await;
    assert_eq!(outcomes.served, 2);
    assert_eq!(numbers(sharing.snapshot().counts.unwrap())[..2], [3, 0]);
}

#[tokio::test(start_paused = true)]
async fn o1_handle_of_a_key_counts_its_own_rejections_and_has_no_name() {
    let site =
        Site::new(1, Away::Closed, 10_000).map(|layer| layer.name("tenants").max_wait(ms(1)));
    let outcomes = site.send([1, 1, 1, 2, 2, 3]).await;
    assert_eq!((outcomes.served, outcomes.wait_timeout), (3, 3));
    let handle = site.layer.handle();
    let of = |key: u32| handle.of(&key).unwrap();
    assert_eq!([1, 2, 3].map(|key| of(key).rejected().wait_timeout), [2, 1, 0]);
    assert_eq!([1, 2, 3].map(|key| of(key).snapshot().fleet.used), [1, 1, 1]);
    assert_eq!((of(1).name(), of(1).snapshot().name, of(1).snapshot().counts), (None, None, None));
    // Its events are those of all keys.
    of(1).pause_for(secs(1));
    of(2).pause_for(secs(1));
    assert_eq!(handle.snapshot().counts.unwrap().pauses, 2);
}

#[test]
fn o3_shared_limits_of_keys_have_one_name() {
    paused_runtime::run(async {
        let site = Site::new(10, Away::Closed, 100);
        let before = site.layer.handle();
        assert_eq!((before.name(), before.snapshot().name), (None, None));
        let layer = site.layer.name("tenants");
        assert_eq!(before.name(), Some("tenants"));
        let invalid = layer.clone().try_name("other").unwrap_err();
        let text = "name is \"other\": it must be \"tenants\", as the limit is named already";
        assert_eq!(invalid.to_string(), text);
        assert!(layer.try_name("").is_err());
        let Snapshot::SharedKeys(of) = Limits::from_iter([before]).snapshots().remove(0) else {
            panic!("another kind")
        };
        assert_eq!((of.limit, of.window, &*of.quota), (10, secs(1), "tenants"));
        assert_eq!((of.keep, of.kept, of.max_queue), (100, 0, Some(100)));
        assert_eq!(of.max_wait, Some(secs(30)));
        let snapshot = Snapshot::from(of);
        assert_eq!(snapshot.kind(), "shared_keys");
        assert_eq!(snapshot.name().map(|name| &**name), Some("tenants"));
    });
}

type Call = Pin<Box<dyn Future<Output = Result<u32, BoxError>>>>;

/// The calls that wait, and the counts of those that have ended.
#[derive(Default)]
struct Callers {
    waiting: Vec<Call>,
    outcomes: Outcomes,
    waited: u64,
    cancelled: u64,
}

impl Callers {
    fn begin(&mut self, mut call: Call) {
        if !self.poll(&mut call) {
            self.waited += 1;
            self.waiting.push(call);
        }
    }

    /// Polls a call, and counts it if it ends.
    fn poll(&mut self, call: &mut Call) -> bool {
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(result) = &polled {
            *self.outcomes.of(result) += 1;
        }
        polled.is_ready()
    }

    fn poll_all(&mut self) {
        for mut call in std::mem::take(&mut self.waiting) {
            if !self.poll(&mut call) {
                self.waiting.push(call);
            }
        }
    }
}

/// Random calls of more keys than are kept, drops and faults. No count ever falls.
async fn scene(site: &Site, random: &mut Rng) -> Callers {
    let service = site.layer.layer(site.probe.clone());
    let mut callers = Callers::default();
    let mut before = [0; 6];
    for _ in 0..200 {
        match random.u32(0..20) {
            0..10 => {
                for _ in 0..random.u32(1..20) {
                    let key = if random.u32(0..20) == 0 { NO_KEY } else { random.u32(0..200) };
                    callers.begin(Box::pin(service.clone().oneshot(key)));
                }
            }
            10..12 if !callers.waiting.is_empty() => {
                drop(callers.waiting.swap_remove(random.usize(..callers.waiting.len())));
                callers.cancelled += 1;
            }
            12..17 => {
                pass(ms(random.u64(1..80))).await;
                callers.poll_all();
            }
            17 => {
                for _ in 0..random.u32(10..40) {
                    pass(ms(50)).await;
                }
            }
            18 => {
                let mut state = site.store.state();
                state.is_silent = random.u32(0..3) == 0;
                state.error = (random.u32(0..3) == 0).then_some(("io", "broken pipe"));
            }
            _ => site.store.state().epoch += i64::from(random.u32(0..4) == 0),
        }
        let SharedKeysSnapshot { fleet, rejected, .. } = site.snapshot();
        let counts = [
            fleet.store_requests,
            fleet.leased,
            fleet.lapsed,
            fleet.refunded,
            fleet.unavailable,
            rejected.total(),
        ];
        assert!(before.iter().zip(counts).all(|(before, now)| *before <= now), "{fleet:?}");
        before = counts;
    }
    {
        let mut state = site.store.state();
        (state.is_silent, state.error) = (false, None);
    }
    for _ in 0..500 {
        pass(ms(10)).await;
        callers.poll_all();
    }
    callers
}

#[test]
fn d11_o1_counts_of_random_schedules_of_keys_are_those_of_the_callers() {
    let fleet = [Away::Closed, Away::Open, Away::Share { processes: 2 }];
    let mut seen = [false; 6];
    for seed in 0..9 {
        let mut random = Rng::with_seed(seed);
        let of = paused_runtime::run(async {
            let site = Site::new(4, fleet[seed as usize % 3], 64).map(|layer| {
                let layer = layer.name("tenants").max_wait(ms(300)).max_queue(2);
                layer.without_key(WithoutKey::Reject)
            });
            let callers = scene(&site, &mut random).await;
            assert_eq!(callers.waiting.len(), 0, "no request hangs");
            site.check(callers.outcomes);
            let snapshot = site.snapshot();
            let [_, _, waited, cancelled, ..] = numbers(snapshot.counts.unwrap());
            assert_eq!((waited, cancelled), (callers.waited, callers.cancelled));
            let (fleet, rejected) = (snapshot.fleet, snapshot.rejected);
            [
                fleet.issued_alone,
                fleet.issued_unlimited,
                fleet.lapsed,
                fleet.unavailable,
                rejected.queue_full,
                snapshot.no_key,
            ]
            .map(|count| count > 0)
        });
        seen.iter_mut().zip(of).for_each(|(seen, of)| *seen |= of);
    }
    assert_eq!(seen, [true; 6], "some scenes show each fate");
}

#[cfg(feature = "metrics")]
mod metrics {
    use super::*;
    use crate::observed::recorded::TestRecorder;

    fn key(metric: &str, label: &str) -> String {
        format!("floodgate_{metric}{{limiter=\"fleet\",kind=\"shared_keys\"{label}}}")
    }

    /// Those of a shared limit that tell of one quota.
    const NOT_OF_KEYS: [&str; 3] = ["paused_seconds", "permits_free", "remaining"];

    #[tokio::test(start_paused = true)]
    async fn o3_o4_metrics_of_keys_are_sums_over_all_of_them() {
        let recorder = TestRecorder::new();
        let _guard = recorder.install();
        let site = Site::new(2, Away::Closed, 64)
            .map(|layer| layer.name("fleet").max_wait(ms(1)).without_key(WithoutKey::Reject));
        let sent = site.send((0..900).map(|n| if n < 7 { NO_KEY } else { n % 300 })).await;
        sleep(secs(3)).await;
        // One key: of two in the same part of the map, one is not kept, and counted at its end.
        let held = site.send([1_000]).await;
        Limits::from_iter([site.layer.handle()]).record_metrics();
        let recorded = recorder.read();
        let snapshot = site.snapshot();

        let counter = |metric: &str, label: &str| recorded.counter(&key(metric, label));
        let rejected =
            |reason: &str| counter("requests_rejected_total", &format!(",reason={reason:?}"));
        assert_eq!((rejected("no_key"), sent.no_key), (7, 7));
        assert_eq!(rejected("wait_timeout"), sent.wait_timeout);
        let total = |metric| recorded.counter(&key(metric, ""));
        assert_eq!(total("requests_admitted_total"), sent.served + held.served);
        assert_eq!(total("requests_issued_total"), site.calls());
        assert_eq!(total("permits_leased_total"), site.store.state().leased);
        assert_eq!(total("permits_lapsed_total"), snapshot.fleet.lapsed);
        let requests = counter("store_requests_total", ",code=\"ok\"");
        assert_eq!(requests, site.store.state().requests);

        let gauge = |metric| recorded.gauge(&key(metric, ""));
        assert_eq!(gauge("kept_keys"), snapshot.kept as f64);
        assert_eq!(gauge("permits_held"), snapshot.held as f64);
        assert_eq!(gauge("permits_pooled"), snapshot.pooled as f64);
        let settings = ["max_keys", "limit", "window_seconds", "store_away"].map(gauge);
        assert_eq!(settings, [64.0, 2.0, 1.0, 0.0]);

        let page = include_str!("../../../src/observe/mod.rs");
        for (name, _) in recorded.descriptions() {
            assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
        }
        let keys = recorded.keys();
        assert!(keys.iter().all(|key| key.contains("limiter=\"fleet\",kind=\"shared_keys\"")));
        for metric in NOT_OF_KEYS {
            let is_of = |of: &&&str| **of == key(metric, "");
            assert_eq!(keys.iter().filter(is_of).count(), 0, "{metric}");
        }
    }

    /// Most outages begin because the store does not reply to other keys.
    #[tokio::test(start_paused = true)]
    async fn o3_d11_outages_that_begin_without_a_request_are_counted() {
        let recorder = TestRecorder::new();
        let _guard = recorder.install();
        let site = Site::new(2, Away::Open, 10_000).map(|layer| layer.name("fleet"));
        site.store.state().is_silent = true;
        assert_eq!(site.send(0..400).await.served, 400);
        let before = site.snapshot().fleet.store_requests;
        assert_eq!(site.send(400..1400).await.served, 1000);
        let snapshot = site.snapshot();
        let asked = snapshot.fleet.store_requests - before;
        assert!(asked < 200, "{asked} requests of 1000 keys");
        let outages = recorder.read().counter(&key("store_outages_total", ""));
        assert_eq!((outages, snapshot.away_keys), (1400, 1400));
    }
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn o2_events_of_keys_have_the_name_and_the_kind_of_all() {
    let trace = super::traced::Trace::start();
    let site = Site::new(1, Away::Closed, 64)
        .map(|layer| layer.name("fleet").max_wait(ms(1)).without_key(WithoutKey::Reject));
    site.send([1, 1, NO_KEY]).await;
    let events = trace.take();
    assert!(events.iter().all(|event| event.field("limiter") == Some("\"fleet\"")));
    assert!(events.iter().all(|event| event.field("kind") == Some("\"shared_keys\"")));
    let rejected = events.iter().filter(|event| event.message() == "rejected");
    let mut reasons: Vec<_> = rejected.filter_map(|event| event.field("reason")).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["\"no_key\"", "\"wait_timeout\""]);
}
